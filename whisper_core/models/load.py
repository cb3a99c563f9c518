"""Loads a model's weights from its file into openai-whisper's `Whisper`. Imports torch: for device workers only."""

from __future__ import annotations

import logging
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import whisper
from torch.overrides import TorchFunctionMode
from whisper.model import ModelDimensions as WhisperDimensions
from whisper.model import Whisper

from errors import ModelUnavailableError, WeightsDamagedError
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.models.brought import read_brought
from whisper_core.models.catalogue import ALIASES, MODELS, ModelInfo, model_info, precision_of, weights_name_of
from whisper_core.models.ctranslate2 import StateDict, read_state_dict
from whisper_core.models.load_brought import read_brought_state, set_alignment_heads
from whisper_core.models.weight_files import Weights, is_intact, locate, unavailable_message

# Taken from torch, because the project does not import pickle, and a test ensures that.
_UnpicklingError = torch.serialization.pickle.UnpicklingError  # type: ignore[attr-defined]

log = logging.getLogger(__name__)


def load_model(name: str, models_dir: Path, device: str) -> Whisper:
    """The model as `whisper.load_model` gives it (fp32, eval mode, alignment heads set), on `device`.

    Of an int8 model the matrices stay in the file's fp16 until the engine packs them, one after the other. Reads the
    disk and fetches nothing. A file with a wrong checksum is not loaded; the next place is tried instead.
    A name that is not openai-whisper's is that of a folder in models_dir.
    Raises UnknownModelError, ModelUnavailableError (and its kinds), and torch's own errors when `device` is full.
    """
    started_at = time.monotonic()
    is_published = ALIASES.get(name, name) in MODELS
    model = _load_published(model_info(name), models_dir) if is_published else _load_brought(name, models_dir)
    log.debug("model=%s event=loaded device=%s seconds=%.2f", name, device, time.monotonic() - started_at)
    return model.to(device)


def _load_published(info: ModelInfo, models_dir: Path) -> Whisper:
    weights = _intact_weights(info, models_dir)
    state = read_weights(weights, info.dimensions)
    model = build_model(info.dimensions, state, keeps_matrices=info.precision == "int8")
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS[info.weights_name])
    return model


def _load_brought(name: str, models_dir: Path) -> Whisper:
    brought = read_brought(weights_name_of(name), models_dir)
    is_int8 = precision_of(name) == "int8"
    model = build_model(brought.dimensions, read_brought_state(brought, keeps_fp16=is_int8), keeps_matrices=is_int8)
    set_alignment_heads(model, brought)
    return model


def read_weights(weights: Weights, dims: ModelDimensions) -> StateDict:
    """Every tensor of the file, fp16 on the CPU. Raises WeightsDamagedError."""
    if weights.format == "ct2":
        return read_state_dict(weights.path, dims)
    return _read_checkpoint(weights.path, dims)


def build_model(dims: ModelDimensions, state: StateDict, *, keeps_matrices: bool = False) -> Whisper:
    """A Whisper of these dimensions with these weights, on the CPU, in eval mode, in fp32 unless `keeps_matrices`.

    keeps_matrices: leave the matrices of all products, and the embedding, as `state` has them: fp16, and perhaps pages
    of a file. Raises WeightsDamagedError.
    """
    with _NoRandomWeights():
        model = Whisper(WhisperDimensions(**asdict(dims)))
    if keeps_matrices:
        state = {name: tensor if _is_matrix(name, tensor) else tensor.float() for name, tensor in state.items()}
    try:
        model.load_state_dict(state, assign=keeps_matrices)
    except RuntimeError as error:
        raise WeightsDamagedError() from error
    return model.eval()


def _is_matrix(name: str, tensor: torch.Tensor) -> bool:
    return tensor.dim() == 2 and not name.endswith("positional_embedding")


class _NoRandomWeights(TorchFunctionMode):
    """Skips the random initialisation of parameters, because the weights overwrite them.

    For `small` it takes 4.5 s of 4.6 s (2 cores, torch 2.13). `load_state_dict` raises if a parameter is left over.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _intact_weights(info: ModelInfo, models_dir: Path) -> Weights:
    """The first located file that is intact."""
    damaged = False
    while (weights := locate(info.name, models_dir)) is not None:
        if is_intact(weights):
            return weights
        if locate(info.name, models_dir) == weights:  # no damage note could be written: it would be located for ever
            raise WeightsDamagedError()
        damaged = True
    if damaged:
        raise WeightsDamagedError()
    raise ModelUnavailableError(unavailable_message(info))


def _read_checkpoint(path: Path, dims: ModelDimensions) -> StateDict:
    """Reads openai-whisper's own format. `weights_only` selects an unpickler that creates nothing but tensors."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        found, state = checkpoint["dims"], checkpoint["model_state_dict"]
    except (_UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise WeightsDamagedError() from error
    if found != asdict(dims):
        raise WeightsDamagedError("The weights are those of another model.")
    return dict(state)
