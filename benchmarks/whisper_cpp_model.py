"""A model file that whisper.cpp can load, made from this project's weights and openai-whisper's vocabulary.

whisper.cpp would fetch such files from a model hub. The file is what its own conversion and its `quantize … q8_0`
write: matrices in blocks of 32 numbers, each with a scale of its own; convolutions in fp16; everything else in fp32.
All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from whisper.audio import mel_filters
from whisper.model import Whisper

from benchmarks.faster_whisper_model import tokenizer_of
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.models.catalogue import model_info
from whisper_core.models.load import load_model

MAGIC = 0x67676D6C
MOSTLY_Q8_0 = 2 * 1000 + 7  # version 2 of the quantised formats, and the format's number for a whole file
FP32, FP16, Q8_0 = 0, 1, 8  # numbers of a tensor's format
BLOCK = 32  # numbers with a common scale
LARGEST = 127
CONVOLUTION_BIASES = ("encoder.conv1.bias", "encoder.conv2.bias")
BLOCK_TYPE = np.dtype([("scale", "<f2"), ("numbers", "i1", BLOCK)])


def make_file(model: str, models_dir: Path, folder: Path) -> Path:
    """`folder`/ggml-`model`-q8_0.bin. Raises what load_model raises."""
    info = model_info(model)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"ggml-{model}-q8_0.bin"
    weights = load_model(model, models_dir, "cpu")
    tokens = tokenizer_of(info).encoding._mergeable_ranks
    with path.open("wb") as file:
        file.write(header(info.dimensions))
        _write_filters(file, info.dimensions.n_mels)
        file.write(struct.pack("<i", len(tokens)))
        for token in sorted(tokens, key=tokens.__getitem__):
            file.write(struct.pack("<i", len(token)) + token)
        for name, values in tensors(weights):
            file.write(tensor_bytes(name, values))
    return path


def header(dims: ModelDimensions) -> bytes:
    return struct.pack(
        "<12i",
        MAGIC, dims.n_vocab, dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer,
        dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer, dims.n_mels, MOSTLY_Q8_0,
    )  # fmt: skip


def tensors(model: Whisper) -> Iterator[tuple[str, np.ndarray]]:
    """By openai-whisper's names. A convolution's bias is a column, to be added to every frame."""
    for name, tensor in model.state_dict().items():
        values = tensor.to(torch.float32).numpy()
        yield name, values[:, None] if name in CONVOLUTION_BIASES else values


def tensor_bytes(name: str, values: np.ndarray) -> bytes:
    """One tensor with its own header; its dimensions are told from the innermost one on."""
    number, data = _encoded(name, values)
    encoded_name = name.encode()
    head = struct.pack("<3i", values.ndim, len(encoded_name), number)
    return head + struct.pack(f"<{values.ndim}i", *reversed(values.shape)) + encoded_name + data


def quantised(values: np.ndarray) -> np.ndarray:
    """Blocks of 32 along the last dimension: the largest of a block becomes 127. Its length divides by 32."""
    blocks = values.reshape(-1, BLOCK)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(LARGEST)
    numbers = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales > 0)
    found = np.empty(len(blocks), BLOCK_TYPE)
    found["scale"] = scales[:, 0]
    found["numbers"] = np.rint(numbers)
    return found


def _encoded(name: str, values: np.ndarray) -> tuple[int, bytes]:
    """(number of the format, the numbers in it)"""
    if values.ndim == 3:
        return FP16, values.astype("<f2").tobytes()
    if values.ndim == 2 and name.endswith(".weight"):
        return Q8_0, quantised(values).tobytes()
    return FP32, values.astype("<f4").tobytes()


def _write_filters(file: BinaryIO, n_mels: int) -> None:
    filters = mel_filters("cpu", n_mels).numpy()
    file.write(struct.pack("<2i", *filters.shape) + filters.astype("<f4").tobytes())
