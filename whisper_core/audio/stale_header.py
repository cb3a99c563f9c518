"""A wav whose header does not tell how much sound follows: the recorder crashed, several files were joined by `cat`,
or it was written into a pipe, where its length was not known yet."""

from __future__ import annotations

import os
import struct
from typing import IO

_PADDING = 4096  # bytes that may follow the last chunk
_UNKNOWN = 0xFFFFFFFF  # the length that ffmpeg writes into a pipe
_TAGS = (b"ID3", b"TAG", b"APE")  # may follow it, too


def has_stale_header(file: IO[bytes]) -> bool:
    """Whether sound follows on what the header of this wav calls its sound, or it does not say. False for other files.

    What is behind it is no sound when it is another chunk that fits the file.
    """
    size = os.fstat(file.fileno()).st_size
    start = os.pread(file.fileno(), 12, 0)
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
        return False
    position, has_sound = 12, False
    for _ in range(1000):
        name, length = _chunk(file, position)
        if (has_sound and name == b"RIFF") or (name == b"data" and length == _UNKNOWN):
            return True
        if os.pread(file.fileno(), 3, position) in _TAGS:
            return False
        if name is None or length > size - position - 8:
            return has_sound and size - position > _PADDING
        has_sound = has_sound or (name == b"data" and length > 0)
        position += 8 + length + length % 2
    return False


def _chunk(file: IO[bytes], position: int) -> tuple[bytes | None, int]:
    """Its name and length; no name when there is none."""
    head = os.pread(file.fileno(), 8, position)
    if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
        return None, 0
    return head[:4], struct.unpack("<I", head[4:])[0]
