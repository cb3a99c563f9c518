"""Files of nothing but coded frames, without a start by which ffmpeg would know them: GSM 06.10, and Bluetooth's SBC.

Every frame begins with the same bits, and says or has a known length, so a file is recognised when all of its first
frames are where they must be.
"""

from __future__ import annotations

import os
from typing import IO

_READ_BYTES = 16_384
_FRAMES = 16  # that must be there; by chance one in 2^64 files, or fewer, has them

_GSM_BYTES, _GSM_START = 33, 0xD  # the start is half a byte
_SBC_START, _MSBC_START, _MSBC_BYTES = 0x9C, 0xAD, 57
_MONO, _DUAL, _JOINT = 0, 1, 3


def raw_format(file: IO[bytes]) -> str | None:
    """ffmpeg's name of the format of such a file; None of any other, which ffmpeg can tell by itself."""
    data = os.pread(file.fileno(), _READ_BYTES, 0)
    if _is_gsm(data):
        return "gsm"
    return "sbc" if _is_sbc(data) else None


def _is_gsm(data: bytes) -> bool:
    starts = data[: len(data) // _GSM_BYTES * _GSM_BYTES : _GSM_BYTES]
    return len(starts) >= _FRAMES and all(start >> 4 == _GSM_START for start in starts)


def _is_sbc(data: bytes) -> bool:
    position = 0
    for _ in range(_FRAMES):
        length = _sbc_frame_bytes(data[position : position + 3])
        if length == 0:
            return False
        position += length
    return position <= len(data)


def _sbc_frame_bytes(head: bytes) -> int:
    """0 for what is no frame. By the A2DP specification, section 12.9; mSBC by the Hands-Free Profile's."""
    if len(head) < 3 or head[0] not in (_SBC_START, _MSBC_START):
        return 0
    if head[0] == _MSBC_START:
        return _MSBC_BYTES if head[1:3] == b"\0\0" else 0
    blocks, mode = ((head[1] >> 4 & 3) + 1) * 4, head[1] >> 2 & 3
    subbands, bitpool = (8 if head[1] & 1 else 4), head[2]
    channels = 1 if mode == _MONO else 2
    if not 2 <= bitpool <= (16 if mode in (_MONO, _DUAL) else 32) * subbands:
        return 0
    bits = blocks * bitpool * (channels if mode in (_MONO, _DUAL) else 1) + (subbands if mode == _JOINT else 0)
    return 4 + subbands * channels // 2 + -(-bits // 8)
