"""A file as openai-whisper's own: a dictionary of `dims` and `model_state_dict`, written by torch.save."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from errors import UnusableModelError
from whisper_core.formats.brought_model import FLOATS, BroughtModel, StoredTensor, alignment_heads_of
from whisper_core.formats.dimensions import ModelDimensions, dimensions_of
from whisper_core.formats.json_files import number_in
from whisper_core.formats.torch_files import read_torch_file
from whisper_core.formats.vocabulary import vocabulary_of

SUFFIX = ".pt"
_DIMENSIONS, _WEIGHTS, _HEADS = "dims", "model_state_dict", "alignment_heads"


def read_openai_checkpoint(path: Path) -> BroughtModel:
    """Raises UnusableModelError."""
    checkpoint = read_torch_file(path)
    if not isinstance(checkpoint, dict) or not {_DIMENSIONS, _WEIGHTS} <= set(checkpoint):
        raise UnusableModelError.because(
            "layout", f"{path.name} has no {_DIMENSIONS} and {_WEIGHTS}, as openai-whisper's files have"
        )
    told = checkpoint[_DIMENSIONS]
    if not isinstance(told, dict):
        raise UnusableModelError.because("layout", f"the {_DIMENSIONS} in {path.name} are no dictionary")
    tensors = weights_in(checkpoint[_WEIGHTS], path)
    dims = dimensions_of(
        {name: tensor.shape for name, tensor in tensors.items()},
        audio_heads=number_in(told, "n_audio_head"),
        text_heads=number_in(told, "n_text_head"),
    )
    _compare(told, dims)
    dims = replace(dims, n_vocab=vocabulary_of(dims.n_vocab, {}).size)
    return BroughtModel(
        dimensions=dims,
        tensors=tensors,
        projection=None,
        alignment_heads=alignment_heads_of(checkpoint.get(_HEADS), dims),
        size_bytes=sum(tensor.size_bytes for tensor in tensors.values()),
    )


def weights_in(state: Any, path: Path) -> dict[str, StoredTensor]:
    """The tensors of a state_dict. Raises UnusableModelError for anything else, and for those that cannot be read."""
    if not isinstance(state, dict) or not state:
        raise UnusableModelError.because("layout", f"{path.name} holds no weights by their names")
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, StoredTensor):
            raise UnusableModelError.because("layout", f"{str(name)[:80]} in {path.name} is no tensor")
        if tensor.type not in FLOATS:
            raise UnusableModelError.because(
                "numbers", f"{name[:80]} is stored as {tensor.type}, and only {', '.join(FLOATS)} are read"
            )
        if not tensor.is_in_order:
            raise UnusableModelError.because(
                "numbers", f"{name[:80]} does not lie row after row: save it after .contiguous()"
            )
        tensors[name] = tensor
    return tensors


def _compare(told: dict[str, Any], dims: ModelDimensions) -> None:
    for name, found in asdict(dims).items():
        said = number_in(told, name)
        if said != found:
            raise UnusableModelError.because("network", f"its dims say {name} = {said}, and its weights have {found}")
