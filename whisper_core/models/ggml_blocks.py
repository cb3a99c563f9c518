"""Numbers that ggml has quantised in blocks of 32, turned back. One fp16 number, or two, scales each block.

Source: dequantize_row_q* in whisper.cpp's ggml/src/ggml-quants.c.
"""

from __future__ import annotations

import numpy as np
import torch

from whisper_core.formats.brought_model import BLOCKS

_HALF = 16  # of a block: its low nibbles come first, then its high ones


def dequantised(data: bytearray, kind: str) -> torch.Tensor:
    """data: whole blocks of that type. Returns float32, in one dimension."""
    blocks = np.frombuffer(data, np.uint8).reshape(-1, BLOCKS[kind][1])
    heads = 2 if kind in ("Q4_1", "Q5_1") else 1
    scales = blocks[:, : 2 * heads].copy().view("<f2").astype(np.float32)
    rest = blocks[:, 2 * heads :]
    if kind == "Q8_0":
        return _flat(rest.view(np.int8).astype(np.float32) * scales)
    nibbles = rest[:, -_HALF:]
    numbers = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32)
    if kind.startswith("Q5"):
        numbers += 16 * np.unpackbits(rest[:, :4], axis=1, bitorder="little")
    if heads == 2:
        return _flat(numbers * scales[:, :1] + scales[:, 1:])
    return _flat((numbers - (16 if kind == "Q5_0" else 8)) * scales)


def _flat(numbers: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.float32).reshape(-1))
