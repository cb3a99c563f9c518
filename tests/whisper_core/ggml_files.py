"""Files as whisper.cpp's converters and its `quantize` write them, with the toy's random weights."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

from tests.whisper_core.toy_model import toy_dimensions, toy_model
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.formats.vocabulary import base_tokens

KINDS = ("F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
MAGIC = 0x67676D6C


def quantised(values: np.ndarray, kind: str) -> np.ndarray:
    """By the gguf library, which is whisper.cpp's authors'. Bytes, or numbers for F32 and F16."""
    return gguf.quantize(values.astype(np.float32), gguf.GGMLQuantizationType[kind])


def tensor_bytes(name: str, values: np.ndarray, kind: str) -> bytes:
    sizes = values.shape[::-1]
    head = struct.pack("<3i", len(sizes), len(name), gguf.GGMLQuantizationType[kind].value)
    return head + struct.pack(f"<{len(sizes)}i", *sizes) + name.encode() + quantised(values, kind).tobytes()


def header(
    dims: ModelDimensions, tokens: Sequence[bytes] | None = None, filters: tuple[int, int] | None = None
) -> bytes:
    """Up to the first tensor."""
    tokens = base_tokens(dims.n_vocab >= 51_865) if tokens is None else tokens
    rows, columns = filters or (dims.n_mels, 201)
    numbers = struct.pack(
        "<12i",
        MAGIC, dims.n_vocab, dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer,
        dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer, dims.n_mels, 1,
    )  # fmt: skip
    words = b"".join(struct.pack("<i", len(token)) + token for token in tokens)
    return (
        numbers + struct.pack("<2i", rows, columns) + bytes(4 * rows * columns) + struct.pack("<i", len(tokens)) + words
    )


def write_ggml(path: Path, of: ModelDimensions | None = None, kind: str = "F16") -> Path:
    """of: the toy's dimensions, instead of its usual ones.

    kind: of the matrices; convolutions are fp16 and everything else fp32, as whisper.cpp has it.
    """
    dims = of or toy_dimensions()
    parts = [header(dims)]
    for name, tensor in toy_model(dims=dims).state_dict().items():
        values = tensor.numpy()
        is_matrix = values.ndim == 2 and not name.endswith("positional_embedding")
        if name.endswith(("conv1.bias", "conv2.bias")):
            values = values[:, None]
        parts.append(tensor_bytes(name, values, kind if is_matrix else "F16" if values.ndim == 3 else "F32"))
    path.write_bytes(b"".join(parts))
    return path
