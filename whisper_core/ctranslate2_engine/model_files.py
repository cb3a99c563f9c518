"""Writes a Whisper as the folder that CTranslate2 loads: `model.bin`, `config.json` and `vocabulary.json`.

whisper_core/models/ctranslate2.py describes model.bin. Weights are written in fp16, as openai-whisper publishes them;
CTranslate2 turns them into what it computes in.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from whisper.model import Whisper

from whisper_core.formats.ctranslate2 import WEIGHTS
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.models.catalogue import MULTILINGUAL_VOCABULARY
from whisper_core.models.ctranslate2 import (
    BINARY_VERSION,
    FLOAT16,
    SPECIFICATION,
    StackedPart,
    StateDict,
    expected_variables,
)

_REVISION = 3
_INT8, _INT16 = 1, 2
_GELU = 3
# What the converter writes for every Whisper.
_SWITCHES = {
    "decoder/activation": _GELU,
    "decoder/alibi": 0,
    "decoder/alibi_use_positive_positions": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_alibi": 0,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
_PROJECTION, _EMBEDDINGS = "decoder/projection/weight", "decoder/embeddings/weight"


def write_folder(folder: Path, model: Whisper, tokenizer: Any) -> None:
    """tokenizer: openai-whisper's, for this model. Raises OSError."""
    dims = ModelDimensions(**vars(model.dims))
    with open(folder / WEIGHTS, "wb") as file:
        _write_weights(file, dims, model.state_dict())
    (folder / "config.json").write_text(json.dumps(_configuration(model, tokenizer)))
    (folder / "vocabulary.json").write_text(json.dumps(_vocabulary(dims.n_vocab, tokenizer)))


def _write_weights(file: BinaryIO, dims: ModelDimensions, state: StateDict) -> None:
    parts = expected_variables(dims)
    numbers = {"encoder/num_heads": dims.n_audio_head, "decoder/num_heads": dims.n_text_head}
    file.write(struct.pack("<I", BINARY_VERSION) + _string(SPECIFICATION))
    file.write(struct.pack("<II", _REVISION, len(parts) + len(numbers) + len(_SWITCHES)))
    for name, value in _SWITCHES.items():
        file.write(_string(name) + struct.pack("<BBIb", 0, _INT8, 1, value))
    for name, value in numbers.items():
        file.write(_string(name) + struct.pack("<BBIh", 0, _INT16, 2, value))
    for name, part in parts.items():
        tensor = torch.cat(list(_stacked(part, state)))
        data = tensor.contiguous().numpy().tobytes()
        shape = struct.pack(f"<B{tensor.dim()}I", tensor.dim(), *tensor.shape)
        file.write(_string(name) + shape + struct.pack("<BI", FLOAT16, len(data)))
        file.write(data)
    file.write(struct.pack("<I", 1) + _string(_PROJECTION) + _string(_EMBEDDINGS))


def _stacked(part: StackedPart, state: StateDict) -> Iterator[Tensor]:
    rows = part.shape[0] // len(part.names)
    for name in part.names:
        yield torch.zeros(rows, dtype=torch.float16) if name is None else state[name].detach().half()


def _configuration(model: Whisper, tokenizer: Any) -> dict[str, Any]:
    heads = model.alignment_heads.to_dense().nonzero().tolist()
    begin = [*tokenizer.encode(" "), tokenizer.eot]
    return {"suppress_ids_begin": begin, "alignment_heads": heads, "lang_ids": list(tokenizer.all_language_tokens)}


def _vocabulary(size: int, tokenizer: Any) -> list[str]:
    """CTranslate2 looks special tokens up by their text; the others only have to differ.

    An empty one, which multilingual vocabularies have before the end token, tells it that a model is multilingual.
    """
    tokens = [f"token {number}" for number in range(size)]
    if size >= MULTILINGUAL_VOCABULARY:
        tokens[tokenizer.eot - 1] = ""
    for text, number in tokenizer.special_tokens.items():
        tokens[number] = text
    return tokens


def _string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"
