"""A folder as CTranslate2's converter writes a Whisper: `model.bin`, `config.json` and a vocabulary.

Of model.bin the names, types and shapes are read; whisper_core/models/ctranslate2.py describes the file. Query, key and
value are stacked in one matrix, and so are their biases; a quantised matrix has beside it the scales of its rows.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from errors import UnusableModelError
from whisper_core.formats.brought_model import BroughtModel, StoredTensor, alignment_heads_of
from whisper_core.formats.dimensions import EMBEDDING_TENSOR, Shape, dimensions_of
from whisper_core.formats.json_files import read_object
from whisper_core.formats.tokenizers import read_tokenizer
from whisper_core.formats.vocabulary import NO_TIMESTAMPS, START, check_base_tokens, vocabulary_of

WEIGHTS = "model.bin"
_VERSION, _SPECIFICATION = 6, "WhisperSpec"
_TYPES = {0: "F32", 1: "I8", 2: "I16", 3: "I32", 4: "F16", 5: "BF16"}
_BYTES = {"F32": 4, "I8": 1, "I16": 2, "I32": 4, "F16": 2, "BF16": 2}
_MOST_VARIABLES, _MOST_DIMENSIONS = 20_000, 4
_SCALE = "_scale"
_PROJECTION = "decoder/projection/weight"

_WHOLE = {
    "encoder/conv1": "encoder.conv1",
    "encoder/conv2": "encoder.conv2",
    "encoder/layer_norm": "encoder.ln_post",
    "decoder/layer_norm": "decoder.ln",
    "encoder/position_encodings/encodings": "encoder.positional_embedding",
    "decoder/position_encodings/encodings": "decoder.positional_embedding",
    "decoder/embeddings/weight": EMBEDDING_TENSOR,
}
_IN_A_LAYER = {
    "self_attention/layer_norm": ("attn_ln",),
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "self_attention/linear_1": ("attn.out",),
    "attention/layer_norm": ("cross_attn_ln",),
    "attention/linear_0": ("cross_attn.query",),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
    "attention/linear_2": ("cross_attn.out",),
    "ffn/layer_norm": ("mlp_ln",),
    "ffn/linear_0": ("mlp.0",),
    "ffn/linear_1": ("mlp.2",),
}
_LAYER = re.compile(r"(encoder|decoder)/layer_(\d+)/(.+)/(weight|bias|gamma|beta)")
_KINDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


@dataclass(frozen=True)
class _Variable:
    stored: StoredTensor
    number: int | None  # of a whole number without a dimension


def is_ctranslate2(names: set[str]) -> bool:
    """Whether a folder with files of these names is meant to be such a model."""
    return WEIGHTS in names


def read_ctranslate2(folder: Path) -> BroughtModel:
    """Raises UnusableModelError."""
    variables = _read_variables(folder / WEIGHTS)
    configuration = read_object(folder / "config.json")
    projection = variables.pop(_PROJECTION, None)
    tensors: dict[str, StoredTensor] = {}
    zeros: list[StoredTensor] = []
    for name, variable in variables.items():
        if not variable.stored.shape or name.endswith(_SCALE):
            continue
        for target, part in _parts(name, _with_scale(name, variables)):
            if target.endswith("key.bias"):
                zeros.append(part)
            else:
                tensors[target] = part
    heads = {stack: _number(variables, f"{stack}/num_heads") for stack in ("encoder", "decoder")}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    dims = dimensions_of(shapes, audio_heads=heads["encoder"], text_heads=heads["decoder"])
    tokenizer = read_tokenizer(folder)
    vocabulary = vocabulary_of(dims.n_vocab, {**_told_tokens(configuration), **tokenizer.special})
    if tokenizer.base:
        check_base_tokens(tokenizer.base, vocabulary.is_multilingual)
    dims = replace(dims, n_vocab=vocabulary.size)
    return BroughtModel(
        dimensions=dims,
        tensors=tensors,
        projection=None if projection is None else _with_scale(_PROJECTION, {**variables, _PROJECTION: projection}),
        alignment_heads=alignment_heads_of(configuration.get("alignment_heads"), dims),
        size_bytes=sum(tensor.size_bytes for tensor in tensors.values()),
        zeros=tuple(zeros),
    )


def _parts(name: str, stored: StoredTensor) -> Iterator[tuple[str, StoredTensor]]:
    """openai-whisper's tensors that one variable holds, row after row."""
    if name in _WHOLE:
        yield _WHOLE[name], stored
        return
    module, _, kind = name.rpartition("/")
    if module in _WHOLE and kind in _KINDS:
        yield f"{_WHOLE[module]}.{_KINDS[kind]}", stored
        return
    found = _LAYER.fullmatch(name)
    targets = _IN_A_LAYER.get(found[3]) if found else None
    if found is None or targets is None:
        raise UnusableModelError.because("network", f"{name[:80]} is no variable of a Whisper")
    if stored.shape[0] % len(targets):
        raise UnusableModelError.because("network", f"{name} has the shape {stored.shape}")
    for number, target in enumerate(targets):
        yield f"{found[1]}.blocks.{found[2]}.{target}.{_KINDS[found[4]]}", stored.rows(number, len(targets))


def _with_scale(name: str, variables: Mapping[str, _Variable]) -> StoredTensor:
    stored, scale = variables[name].stored, variables.get(name + _SCALE)
    if stored.type in ("F32", "F16", "BF16"):
        return stored
    if scale is None or stored.type == "I32" or scale.stored.type != "F32":
        raise UnusableModelError.because("damaged", f"{name} is stored as {stored.type} without its scale")
    if scale.stored.shape not in ((), (1,), stored.shape[:1]):
        raise UnusableModelError.because("damaged", f"the scale of {name} has the shape {scale.stored.shape}")
    return replace(stored, scale=scale.stored)


def _number(variables: Mapping[str, _Variable], name: str) -> int | None:
    variable = variables.get(name)
    return None if variable is None else variable.number


def _told_tokens(configuration: dict[str, Any]) -> dict[str, int]:
    """The start of a transcript stands before the languages; without timestamps is the sixth token after them."""
    languages = configuration.get("lang_ids")
    if not isinstance(languages, list) or len(languages) < 2 or not all(isinstance(each, int) for each in languages):
        return {}
    return {START: min(languages) - 1, NO_TIMESTAMPS: max(languages) + 6}


# --- model.bin -----------------------------------------------------------------------------------------------------


def _read_variables(path: Path) -> dict[str, _Variable]:
    if not path.is_file():
        raise UnusableModelError.because("damaged", f"{path.name} is no file")
    try:
        with open(path, "rb") as file:
            file_bytes = path.stat().st_size
            version, specification, _ = _read(file, "I"), _string(file), _read(file, "I")
            if (version, specification) != (_VERSION, _SPECIFICATION):
                raise UnusableModelError.because(
                    "layout", f"{path.name} is no Whisper of CTranslate2 (version {version})"
                )
            count = _read(file, "I")
            if count > _MOST_VARIABLES:
                raise UnusableModelError.because("damaged", f"{path.name} is damaged")
            return dict(_read_variable(file, path, file_bytes) for _ in range(count))
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error
    except (struct.error, UnicodeDecodeError) as error:
        raise UnusableModelError.because("damaged", f"{path.name} is cut off, or no model of CTranslate2") from error


def _read_variable(file: BinaryIO, path: Path, file_bytes: int) -> tuple[str, _Variable]:
    name, rank = _string(file), _read(file, "B")
    if rank > _MOST_DIMENSIONS:
        raise UnusableModelError.because("damaged", f"{path.name} is damaged at {name[:80]}")
    shape: Shape = tuple(_read(file, "I") for _ in range(rank))
    kind, size, start = _TYPES.get(_read(file, "B")), _read(file, "I"), 0
    start = file.tell()
    if kind is None or size != math.prod(shape) * _BYTES[kind]:
        raise UnusableModelError.because("damaged", f"{path.name} is damaged at {name[:80]}")
    if start + size > file_bytes:
        raise UnusableModelError.because("damaged", f"{path.name} is cut off: not all of its weights are there")
    whole = not shape and kind in ("I8", "I16", "I32")
    number = int.from_bytes(file.read(size), "little", signed=True) if whole else None
    file.seek(start + size)
    return name, _Variable(StoredTensor(path, start, kind, shape), number)


def _read(file: BinaryIO, kind: str) -> int:
    return int(struct.unpack("<" + kind, file.read(struct.calcsize(kind)))[0])


def _string(file: BinaryIO) -> str:
    return file.read(_read(file, "H")).rstrip(b"\0").decode()
