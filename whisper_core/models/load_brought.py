"""Loads the tensors of a model that somebody brought. Imports torch: for device workers only.

They are read with plain reads and not mapped: a file that is overwritten meanwhile ends this load, not the worker.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import torch
import whisper
from whisper.model import Whisper, sinusoids

from errors import UnusableModelError
from whisper_core.formats.brought_model import QUANTISED, BroughtModel, StoredTensor
from whisper_core.formats.dimensions import EMBEDDING_TENSOR, ENCODER_POSITIONS
from whisper_core.models.catalogue import MODELS
from whisper_core.models.ggml_blocks import dequantised

StateDict = dict[str, torch.Tensor]

LARGEST_FP16 = 65_504.0  # GPUs and int8 models compute in fp16
_TYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "I8": torch.int8,
    "I16": torch.int16,
}
_LOOKALIKES = tuple(reversed(list(MODELS.values())))  # of large-v1 and large-v2, which are equally large, the newer


def read_brought_state(model: BroughtModel, *, keeps_fp16: bool) -> StateDict:
    """Every tensor, on the CPU: fp32, or with `keeps_fp16` fp16. Raises UnusableModelError."""
    with ExitStack() as stack:
        files: dict[Path, BinaryIO] = {}
        for tensor in (*model.tensors.values(), *model.zeros):
            if tensor.path not in files:
                files[tensor.path] = stack.enter_context(_open(tensor.path))
        dtype = torch.float16 if keeps_fp16 else torch.float32
        state = {name: _read(files[tensor.path], name, tensor).to(dtype) for name, tensor in model.tensors.items()}
        if any(_read(files[zero.path], "bias of the keys", zero).any() for zero in model.zeros):
            raise UnusableModelError.because(
                "network", "it has a bias for keys, which openai-whisper's models do not have"
            )
        if model.projection is not None:
            with _open(model.projection.path) as file:
                projection = _read(file, "proj_out.weight", model.projection).to(dtype)
            if not torch.equal(projection, state[EMBEDDING_TENSOR]):
                raise UnusableModelError.because(
                    "network", "proj_out.weight is not equal to the embedding of its tokens"
                )
    dims = model.dimensions
    state[EMBEDDING_TENSOR] = state[EMBEDDING_TENSOR][: dims.n_vocab].clone()
    if ENCODER_POSITIONS not in state:
        state[ENCODER_POSITIONS] = sinusoids(dims.n_audio_ctx, dims.n_audio_state)
    return state


def set_alignment_heads(model: Whisper, brought: BroughtModel) -> None:
    """As the files name them; else those of openai-whisper's model of that size; else the later half of the decoder's
    layers, as openai-whisper has it."""
    dims = brought.dimensions
    if brought.alignment_heads is None:
        alike = next((info for info in _LOOKALIKES if info.dimensions == dims), None)
        if alike is not None:
            model.set_alignment_heads(whisper._ALIGNMENT_HEADS[alike.weights_name])
        return
    heads = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    for layer, head in brought.alignment_heads:
        heads[layer, head] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)


def _open(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error


def _read(file: BinaryIO, name: str, stored: StoredTensor) -> torch.Tensor:
    data = bytearray(stored.size_bytes)
    try:
        file.seek(stored.start)
        count = file.readinto(data)  # type: ignore[attr-defined]
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{stored.path.name} cannot be read") from error
    if count != len(data):
        raise UnusableModelError.because("damaged", f"{stored.path.name} is cut off: not all of its weights are there")
    is_quantised = stored.type in QUANTISED
    numbers = dequantised(data, stored.type) if is_quantised else torch.frombuffer(data, dtype=_TYPES[stored.type])
    tensor = numbers.reshape(stored.shape)
    if stored.scale is not None:
        scale = _read(file, f"scale of {name}", stored.scale).reshape(-1, *[1] * (tensor.dim() - 1))
        tensor = tensor.float() / scale
    largest = float(tensor.abs().max())
    if not math.isfinite(largest):
        raise UnusableModelError.because("numbers", f"the tensor {name} has values that are no numbers")
    if largest > LARGEST_FP16:
        raise UnusableModelError.because(
            "numbers", f"the tensor {name} has values above {LARGEST_FP16:.0f}, too large for fp16"
        )
    return tensor
