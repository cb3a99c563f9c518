"""Files of bare frames are recognised, and nothing else is taken for one."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tests.paths import DATA
from tests.whisper_core.audio.media_corpus import GOOD_FORMATS, MediaCorpus
from whisper_core.audio.decode import AudioDecoder
from whisper_core.audio.raw_frames import raw_format

FRAMES = 150  # of GSM: three seconds


def gsm(frames: int = FRAMES) -> bytes:
    """Noise: any bits are a frame behind its first four."""
    chance = random.Random(1)
    return b"".join(bytes([0xD0 | chance.getrandbits(4)]) + chance.randbytes(32) for _ in range(frames))


def recognised(path: Path) -> str | None:
    with path.open("rb") as file:
        return raw_format(file)


def test_gsm_is_decoded(corpus: MediaCorpus, decoder: AudioDecoder, destination: Path) -> None:
    decoded = decoder.decode(corpus.write("voicemail.gsm", gsm()), destination)
    assert (decoded.seconds, decoded.tracks[0].codec) == (pytest.approx(3, abs=0.05), "gsm")
    assert np.any(np.fromfile(destination, "<i2"))


@pytest.mark.parametrize(
    "options", [("-ac", "1", "-msbc", "1"), ("-ac", "2", "-ar", "44100"), ("-ac", "1", "-ar", "32000")]
)
def test_sbc_is_decoded(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, options: tuple[str, ...]
) -> None:
    source = corpus.sbc(*options)
    assert recognised(source) == "sbc"
    assert decoder.decode(source, destination).seconds == pytest.approx(3, abs=0.05)


def test_other_files_are_not_taken_for_bare_frames(corpus: MediaCorpus) -> None:
    paths = [corpus.tone(extension) for extension in GOOD_FORMATS[:6]] + sorted((DATA / "cases").iterdir())
    assert [path.name for path in paths if recognised(path)] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xd5",
        gsm(15),
        gsm(20)[33:] + bytes(33),
        b"\x9c",
        b"\x9c\x31\x00" * 99,
        b"\x9c\x31\xff" * 99,
        b"\xad\x01\0" * 900,
    ],
)
def test_what_is_short_or_broken_is_not_recognised(corpus: MediaCorpus, data: bytes) -> None:
    assert recognised(corpus.write("broken", data)) is None
