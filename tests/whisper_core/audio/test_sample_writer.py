"""Samples are written completely or not at all, and only as long as they may be kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import DiskFullError
from tests.whisper_core.audio.media_corpus import MediaCorpus
from whisper_core.audio.decode import AudioDecoder, SlowDecodeError
from whisper_core.audio.sample_writer import SampleWriter


def test_what_is_published_has_its_name_and_all_its_bytes(destination: Path) -> None:
    with SampleWriter(destination) as writer:
        for part in (b"ab", b"cd"):
            writer.write(part)
        assert not destination.exists()
        writer.publish()
    assert (destination.read_bytes(), writer.is_kept, writer.nbytes) == (b"abcd", True, 4)


def test_nothing_stays_of_what_is_not_published(destination: Path) -> None:
    with SampleWriter(destination) as writer:
        writer.write(b"ab")
    assert list(destination.parent.iterdir()) == []


def test_samples_that_may_not_be_kept_leave_the_disk_at_once_and_are_counted(destination: Path) -> None:
    with SampleWriter(destination, lambda nbytes: nbytes <= 4) as writer:
        writer.write(b"abcd")
        assert list(destination.parent.iterdir()) != []
        writer.write(b"ef")
        assert list(destination.parent.iterdir()) == []
        writer.write(b"gh")
        writer.publish()
    assert (writer.nbytes, writer.is_kept) == (8, False)
    assert list(destination.parent.iterdir()) == []


def test_a_rule_that_raises_ends_the_decode_and_leaves_nothing(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    def refuse(nbytes: int) -> bool:
        raise DiskFullError()

    with pytest.raises(DiskFullError):
        decoder.decode(corpus.tone(), destination, may_keep=refuse)
    assert list(destination.parent.iterdir()) == []


def test_a_recording_that_may_not_be_kept_is_measured(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    kept = decoder.decode(corpus.tone(), destination)
    destination.unlink()
    measured = decoder.decode(corpus.tone(), destination, may_keep=lambda nbytes: False)
    assert (measured.seconds, measured.is_kept, kept.is_kept) == (kept.seconds, False, True)
    assert list(destination.parent.iterdir()) == []


def test_a_decode_that_takes_longer_than_it_may_is_given_up(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    source = corpus.silence(hours=1)
    with pytest.raises(SlowDecodeError):
        decoder.decode(source, destination, give_up_after_s=0.001)
    assert list(destination.parent.iterdir()) == []
