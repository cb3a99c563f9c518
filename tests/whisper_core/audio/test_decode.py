"""Decoding any file: good ones completely, bad ones with the right error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from errors import (
    AudioTooLongError,
    DiskFullError,
    EmptyFileError,
    NoAudioStreamError,
    SourceMissingError,
    UnsupportedMediaError,
)
from tests.whisper_core.audio.decoding import assert_refused
from tests.whisper_core.audio.media_corpus import GOOD_FORMATS, TONE_SECONDS, MediaCorpus
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg


@pytest.mark.parametrize("extension", GOOD_FORMATS)
def test_every_usual_format_is_decoded_in_full(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, extension: str
) -> None:
    decoded = decoder.decode(corpus.tone(extension), destination)

    assert decoded.seconds == pytest.approx(TONE_SECONDS, abs=0.2)
    assert not decoded.is_truncated
    assert destination.stat().st_size == 2 * decoded.sample_count
    assert list(destination.parent.iterdir()) == [destination]


def test_samples_are_those_that_openai_whisper_reads(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whisper.audio import load_audio

    (tmp_path / "ffmpeg").symlink_to(find_ffmpeg())
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    source = corpus.tone("mp3")

    decoder.decode(source, destination)

    np.testing.assert_array_equal(np.fromfile(destination, dtype="<i2") / np.float32(32768), load_audio(str(source)))


def test_a_video_gives_its_sound(corpus: MediaCorpus, decoder: AudioDecoder, destination: Path) -> None:
    assert decoder.decode(corpus.video_with_sound(), destination).seconds == pytest.approx(TONE_SECONDS, abs=0.2)


@pytest.mark.parametrize("extension", ["mp4", "png", "m3u8", "txt"])
def test_content_decides_and_the_name_does_not(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, extension: str
) -> None:
    source = corpus.renamed(corpus.tone("wav"), extension)
    assert decoder.decode(source, destination).seconds == pytest.approx(TONE_SECONDS)


def test_a_name_that_looks_like_an_option_or_a_protocol_is_only_a_name(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    for name in ("-i", "concat:a|b", "a%03d.wav"):
        source = corpus.write(name, corpus.tone().read_bytes())
        assert decoder.decode(source, destination).seconds == pytest.approx(TONE_SECONDS)


def test_an_empty_file_and_a_missing_file_are_told_apart(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    assert_refused(decoder, corpus.write("empty", b""), destination, EmptyFileError)
    assert_refused(decoder, corpus.folder / "not-there", destination, SourceMissingError)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("extension", ["bin", "mp3", "wav"])
def test_random_bytes_are_not_media(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, seed: int, extension: str
) -> None:
    source = corpus.random_bytes(size=20_000 + 90_000 * seed, seed=seed, extension=extension)
    assert_refused(decoder, source, destination, UnsupportedMediaError)


def test_other_files_under_a_sound_name_are_not_media(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    programme = corpus.write("programme.wav", Path("/bin/sh").read_bytes()[:60_000])
    for source in (corpus.text_named_mp3(), programme, corpus.write("zeros.mp3", bytes(80_000))):
        assert_refused(decoder, source, destination, UnsupportedMediaError)


def test_a_film_or_a_picture_without_sound_says_so(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    images = [corpus.image(extension) for extension in ("png", "jpg", "gif", "webp", "bmp", "tiff")]
    for source in (corpus.video_without_sound(), corpus.empty_wav(), *images):
        assert_refused(decoder, source, destination, NoAudioStreamError)


@pytest.mark.parametrize("percent", [10, 50, 90])
@pytest.mark.parametrize("extension", ["wav", "mp3", "webm", "flac"])
def test_a_cut_recording_gives_its_readable_part_and_says_that_it_is_cut(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, extension: str, percent: int
) -> None:
    whole = corpus.tone(extension, 20)

    decoded = decoder.decode(corpus.cut(whole, percent), destination)

    assert decoded.is_truncated
    assert 0 < decoded.seconds <= 20 * percent / 100 + 0.5


@pytest.mark.parametrize("percent", [10, 50, 90])
def test_a_cut_mp4_is_readable_only_when_its_index_was_at_the_start(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, percent: int
) -> None:
    assert_refused(decoder, corpus.cut(corpus.tone("m4a"), percent), destination, UnsupportedMediaError)
    assert decoder.decode(corpus.cut(corpus.fast_start_mp4(), max(percent, 50)), destination).is_truncated


def test_length_is_counted_and_not_taken_from_the_header(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    decoded = decoder.decode(corpus.lying_wav(), destination)
    assert (decoded.sample_count, decoded.is_truncated) == (16000, True)


def test_the_limit_of_length_is_exact(corpus: MediaCorpus, destination: Path) -> None:
    source = corpus.tone("wav", 2)
    exactly = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=2, timeout_s=60))
    too_short = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=1.9999, timeout_s=60))

    assert exactly.decode(source, destination).sample_count == 32000
    destination.unlink()
    assert_refused(too_short, source, destination, AudioTooLongError)


def test_a_full_disk_is_reported_and_leaves_nothing(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    destination.with_name("task.pcm.tmp").symlink_to("/dev/full")
    assert_refused(decoder, corpus.tone("wav", 20), destination, DiskFullError)
