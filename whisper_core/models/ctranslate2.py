"""Reads CTranslate2's model file into openai-whisper's state dict. The tensors are the same fp16 numbers.

The file (binary version 6, little-endian): uint32 version; a string (uint16 length, the bytes, of which the last is 0)
"WhisperSpec"; uint32 revision; uint32 count of variables; each variable: its name, uint8 rank, uint32 per dimension,
uint8 type, uint32 byte count, bytes; then uint32 count of aliases, two strings each. Query, key and value are stacked
in one matrix (key and value in cross-attention), and so are their biases. The keys of openai-whisper have no bias, so
theirs must be zero.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from errors import WeightsDamagedError
from whisper_core.formats.dimensions import ModelDimensions

BINARY_VERSION = 6
SPECIFICATION = "WhisperSpec"
FLOAT16 = 4
STORED_TYPES = {0: 4, 1: 1, 2: 2, 3: 4, FLOAT16: 2}  # bytes each: f32, i8, i16, i32, f16

StateDict = dict[str, torch.Tensor]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class StackedPart:
    """One variable of the file, and the tensors of openai-whisper that are stacked in it."""

    shape: Shape  # in the file
    names: tuple[str | None, ...]  # None: the bias of the keys, which openai-whisper does not have


def read_state_dict(path: Path, dims: ModelDimensions) -> StateDict:
    """Every tensor of a Whisper with these dimensions, fp16 on the CPU.

    The tensors own their memory. Raises WeightsDamagedError unless the file has exactly the expected names and shapes.
    """
    variables = _read_variables(path)
    expected = expected_variables(dims)
    surplus = sorted(set(variables) - set(expected))
    missing = sorted(set(expected) - set(variables))
    if surplus or missing:
        difference = f"without {missing[:3]}, with {surplus[:3]}"
        raise WeightsDamagedError(f"The weights are not those of this model: {difference}.")
    state: StateDict = {}
    for name, part in expected.items():
        state.update(_unstack(name, variables[name], part))
    return state


def expected_variables(dims: ModelDimensions) -> dict[str, StackedPart]:
    """What the file must contain, by the names in the file."""
    parts: dict[str, StackedPart] = {}

    def add(name: str, shape: Shape, *targets: str | None) -> None:
        parts[name] = StackedPart(shape, targets)

    audio, text = dims.n_audio_state, dims.n_text_state
    add("encoder/conv1/weight", (audio, dims.n_mels, 3), "encoder.conv1.weight")
    add("encoder/conv1/bias", (audio,), "encoder.conv1.bias")
    add("encoder/conv2/weight", (audio, audio, 3), "encoder.conv2.weight")
    add("encoder/conv2/bias", (audio,), "encoder.conv2.bias")
    add("encoder/position_encodings/encodings", (dims.n_audio_ctx, audio), "encoder.positional_embedding")
    add("decoder/embeddings/weight", (dims.n_vocab, text), "decoder.token_embedding.weight")
    add("decoder/position_encodings/encodings", (dims.n_text_ctx, text), "decoder.positional_embedding")
    parts.update(_norm("encoder/layer_norm", "encoder.ln_post", audio))
    parts.update(_norm("decoder/layer_norm", "decoder.ln", text))
    for layer in range(dims.n_audio_layer):
        parts.update(_block(f"encoder/layer_{layer}", f"encoder.blocks.{layer}", audio))
    for layer in range(dims.n_text_layer):
        parts.update(_block(f"decoder/layer_{layer}", f"decoder.blocks.{layer}", text))
        parts.update(_cross_attention(f"decoder/layer_{layer}/attention", f"decoder.blocks.{layer}", text))
    return parts


def _block(source: str, target: str, state: int) -> dict[str, StackedPart]:
    attention, feed_forward = f"{source}/self_attention", f"{source}/ffn"
    stacked = [f"{target}.attn.{name}" for name in ("query", "key", "value")]
    return {
        **_norm(f"{attention}/layer_norm", f"{target}.attn_ln", state),
        **_projections(f"{attention}/linear_0", stacked, state),
        **_linear(f"{attention}/linear_1", f"{target}.attn.out", state, state),
        **_norm(f"{feed_forward}/layer_norm", f"{target}.mlp_ln", state),
        **_linear(f"{feed_forward}/linear_0", f"{target}.mlp.0", 4 * state, state),
        **_linear(f"{feed_forward}/linear_1", f"{target}.mlp.2", state, 4 * state),
    }


def _cross_attention(source: str, target: str, state: int) -> dict[str, StackedPart]:
    attention = f"{target}.cross_attn"
    return {
        **_norm(f"{source}/layer_norm", f"{target}.cross_attn_ln", state),
        **_linear(f"{source}/linear_0", f"{attention}.query", state, state),
        **_projections(f"{source}/linear_1", [f"{attention}.key", f"{attention}.value"], state),
        **_linear(f"{source}/linear_2", f"{attention}.out", state, state),
    }


def _norm(source: str, target: str, state: int) -> dict[str, StackedPart]:
    return {
        f"{source}/gamma": StackedPart((state,), (f"{target}.weight",)),
        f"{source}/beta": StackedPart((state,), (f"{target}.bias",)),
    }


def _linear(source: str, target: str, outputs: int, inputs: int) -> dict[str, StackedPart]:
    return {
        f"{source}/weight": StackedPart((outputs, inputs), (f"{target}.weight",)),
        f"{source}/bias": StackedPart((outputs,), (f"{target}.bias",)),
    }


def _projections(source: str, targets: list[str], state: int) -> dict[str, StackedPart]:
    biases = tuple(None if target.endswith(".key") else f"{target}.bias" for target in targets)
    return {
        f"{source}/weight": StackedPart((len(targets) * state, state), tuple(f"{target}.weight" for target in targets)),
        f"{source}/bias": StackedPart((len(targets) * state,), biases),
    }


def _unstack(name: str, stacked: torch.Tensor, part: StackedPart) -> Iterator[tuple[str, torch.Tensor]]:
    if tuple(stacked.shape) != part.shape:
        raise WeightsDamagedError(f"The weights are not those of this model: {name} is {tuple(stacked.shape)}.")
    for target, tensor in zip(part.names, stacked.chunk(len(part.names)), strict=True):
        if target is not None:
            yield target, tensor
        elif tensor.any():
            raise WeightsDamagedError(f"The weights are not those of this model: {name} holds a bias for keys.")


class _Reader:
    """Reads values one after the other from a mapped file. Raises WeightsDamagedError at a premature end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._offset = 0

    def number(self, kind: str) -> int:
        return int(struct.unpack("<" + kind, self.read_bytes(struct.calcsize(kind)))[0])

    def string(self) -> str:
        return self.read_bytes(self.number("H")).rstrip(b"\0").decode("utf-8", "replace")

    def read_bytes(self, count: int) -> bytes:
        """A copy of the next bytes, because the tensors outlive the mapping."""
        taken = self._data[self._offset : self._offset + count]
        if len(taken) != count:
            raise WeightsDamagedError("The weights' file ends too early.")
        self._offset += count
        return taken


def _read_variables(path: Path) -> dict[str, torch.Tensor]:
    """The file's fp16 tensors by name, without its settings, which are values without a dimension."""
    if path.stat().st_size == 0:
        raise WeightsDamagedError("The weights' file is empty.")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        version, specification, _revision = reader.number("I"), reader.string(), reader.number("I")
        if (version, specification) != (BINARY_VERSION, SPECIFICATION):
            raise WeightsDamagedError(f"The weights' file is of an unknown kind ({version}).")
        variables = (_read_variable(reader) for _ in range(reader.number("I")))
        return {name: tensor for name, tensor in variables if tensor is not None}


def _read_variable(reader: _Reader) -> tuple[str, torch.Tensor | None]:
    name = reader.string()
    shape = tuple(reader.number("I") for _ in range(reader.number("B")))
    kind, size = reader.number("B"), reader.number("I")
    data = reader.read_bytes(size)
    if kind not in STORED_TYPES or size != math.prod(shape) * STORED_TYPES[kind]:
        raise WeightsDamagedError(f"The weights' file is damaged at {name}.")
    if not shape:
        return name, None
    if kind != FLOAT16:
        raise WeightsDamagedError(f"The weights' file does not hold fp16 numbers at {name}.")
    return name, torch.from_numpy(np.frombuffer(bytearray(data), dtype="<f2").reshape(shape))
