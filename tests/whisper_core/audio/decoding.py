"""A decoder's limits in most tests, and what a refusal must look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import TranscriptionServerError
from whisper_core.audio.decode import AudioDecoder, DecodeLimits

GENEROUS = DecodeLimits(max_seconds=12 * 3600.0, timeout_s=60.0)


def assert_refused(
    decoder: AudioDecoder, source: Path, destination: Path, error_class: type[TranscriptionServerError]
) -> None:
    """Decoding raises exactly that, without words of ffmpeg's or paths of the machine, and leaves nothing behind."""
    with pytest.raises(error_class) as caught:
        decoder.decode(source, destination)
    assert type(caught.value) is error_class
    assert str(source.parent) not in caught.value.message
    assert list(destination.parent.iterdir()) == []
