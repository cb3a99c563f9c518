"""Bare samples, as some clients send them, become a wav file on their way to an upload: everything can read that.

They are little-endian; 16 bits, mono, 16 kHz unless their client says otherwise.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Protocol

from whisper_core.common.units import SAMPLE_RATE

_RIFF, _WAVE = b"RIFF", b"WAVE"
_KIND_BYTES = 12  # of the start, where a wav says that it is one
_UNKNOWN = 0xFFFFFFFF  # as ffmpeg writes it into a pipe: the sound goes on to the file's end
_PCM = 1


class File(Protocol):
    def write(self, data: bytes, /) -> int: ...

    def seek(self, offset: int, whence: int = ..., /) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class SoundFormat:
    rate: int = SAMPLE_RATE
    width: int = 2  # bytes of a sample
    channels: int = 1


def wav_header(sound_bytes: int | None = None, sound_format: SoundFormat | None = None) -> bytes:
    """sound_bytes: how many follow; None: not known yet."""
    kind = sound_format or SoundFormat()
    frame = kind.width * kind.channels
    sound = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, _PCM, kind.channels, kind.rate, kind.rate * frame, frame, 8 * kind.width
    )
    length = _UNKNOWN if sound_bytes is None else sound_bytes
    whole = _UNKNOWN if sound_bytes is None else len(_WAVE) + len(sound) + 8 + sound_bytes
    return struct.pack("<4sI4s", _RIFF, whole, _WAVE) + sound + struct.pack("<4sI", b"data", length)


class AsWav:
    """Puts a header in front of what is written. A wav keeps its own: its client only said that it has no need to be
    converted. Nothing stays nothing."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._start: bytes | None = b""  # until it is known what begins there

    def write(self, data: bytes, /) -> int:
        if self._start is None:
            return self._file.write(data)
        self._start += bytes(data)
        if len(self._start) >= _KIND_BYTES:
            self._begin(self._start)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """The form's parser rewinds a file that is whole."""
        if self._start:
            self._begin(self._start)
        return self._file.seek(offset, whence)

    def close(self) -> None:
        self._file.close()

    def _begin(self, start: bytes) -> None:
        self._start = None
        is_wav = start[:4] == _RIFF and start[8:_KIND_BYTES] == _WAVE
        self._file.write(start if is_wav else wav_header() + start)
