"""A file as whisper.cpp's converters write a Whisper, `ggml-<name>.bin`, whole or quantised.

The file, little-endian: int32 magic; eleven int32, of which ten are the dimensions and the last names the type of most
weights; the mel filters: int32 rows, int32 columns, float32 each; the vocabulary: int32 count, then for each token its
length as uint32 and its bytes; the tensors: int32 rank, int32 length of the name, int32 type, int32 for each dimension,
the innermost first, the name, the data. Nothing says how many tensors there are. Every length is held against what is
left of the file.
"""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from errors import UnusableModelError
from whisper_core.formats.brought_model import BLOCKS, BroughtModel, StoredTensor
from whisper_core.formats.dimensions import ModelDimensions, Shape, dimensions_of
from whisper_core.formats.vocabulary import check_base_tokens, vocabulary_of

SUFFIX = ".bin"
MAGIC = b"lmgg"  # 0x67676d6c
FREQUENCIES = 201  # of the mel filters: half of a spectrum over 400 samples
_HEADER = (
    *("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer"),
    *("n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels"),
)
_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0"}
_MOST_TENSORS, _MOST_DIMENSIONS, _MOST_NAME_BYTES = 20_000, 3, 256
_MOST_TOKENS, _MOST_TOKEN_BYTES = 100_000, 1024
_CONVOLUTION_BIASES = ("encoder.conv1.bias", "encoder.conv2.bias")  # kept as a column


def read_ggml(path: Path) -> BroughtModel:
    """Raises UnusableModelError."""
    try:
        with open(path, "rb") as file:
            told, tokens, tensors = _File(file, path).read()
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error
    dims = dimensions_of(
        {name: tensor.shape for name, tensor in tensors.items()},
        audio_heads=told["n_audio_head"],
        text_heads=told["n_text_head"],
    )
    _compare(told, dims)
    vocabulary = vocabulary_of(dims.n_vocab, {})
    check_base_tokens(tokens, vocabulary.is_multilingual)
    return BroughtModel(
        dimensions=replace(dims, n_vocab=vocabulary.size),
        tensors=tensors,
        projection=None,
        alignment_heads=None,  # whisper.cpp's are not in the file
        size_bytes=sum(tensor.size_bytes for tensor in tensors.values()),
    )


class _File:
    """Reads one after the other, and nothing beyond the end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._left = os.fstat(file.fileno()).st_size

    def read(self) -> tuple[dict[str, int], list[bytes], dict[str, StoredTensor]]:
        """What the header tells, the tokens of text, and the tensors."""
        if self._bytes(len(MAGIC)) != MAGIC:
            raise UnusableModelError.because(
                "layout",
                f"{self._path.name} is no ggml file of whisper.cpp (others belong in a folder, with config.json)",
            )
        told = dict(zip(_HEADER, self._numbers(len(_HEADER)), strict=True))
        self._numbers(1)  # the type of most weights: each tensor has its own
        self._skip_filters(told["n_mels"])
        return told, self._tokens(), self._tensors()

    def _skip_filters(self, mels: int) -> None:
        rows, columns = self._numbers(2)
        if (rows, columns) != (mels, FREQUENCIES):
            raise UnusableModelError.because(
                "network",
                f"its mel filters are {rows} × {columns} instead of {mels} × {FREQUENCIES}: this is no Whisper",
            )
        self._skip(rows * columns * BLOCKS["F32"][1])

    def _tokens(self) -> list[bytes]:
        (count,) = self._numbers(1)
        if not 0 <= count <= _MOST_TOKENS:
            raise self._damaged("its vocabulary")
        tokens = []
        for _ in range(count):
            (size,) = self._numbers(1)
            if not 0 <= size <= _MOST_TOKEN_BYTES:
                raise self._damaged("its vocabulary")
            tokens.append(self._bytes(size))
        return tokens

    def _tensors(self) -> dict[str, StoredTensor]:
        tensors: dict[str, StoredTensor] = {}
        while self._left:
            name, tensor = self._tensor()
            if name in tensors or len(tensors) == _MOST_TENSORS:
                raise self._damaged(name)
            tensors[name] = tensor
        return tensors

    def _tensor(self) -> tuple[str, StoredTensor]:
        rank, name_bytes, kind = self._numbers(3)
        if not (1 <= rank <= _MOST_DIMENSIONS and 1 <= name_bytes <= _MOST_NAME_BYTES):
            raise self._damaged("the head of a tensor")
        shape: Shape = tuple(reversed(self._numbers(rank)))
        name = self._bytes(name_bytes).decode(errors="replace")
        if min(shape) < 1:
            raise self._damaged(name)
        if kind not in _TYPES:
            raise UnusableModelError.because(
                "numbers", f"{name[:80]} has the type {kind} of ggml, and only {', '.join(_TYPES.values())} are read"
            )
        if shape[-1] % BLOCKS[_TYPES[kind]][0]:
            raise self._damaged(name)
        if name in _CONVOLUTION_BIASES and len(shape) == 2 and shape[1] == 1:
            shape = shape[:1]
        tensor = StoredTensor(self._path, self._file.tell(), _TYPES[kind], shape)
        self._skip(tensor.size_bytes)
        return name, tensor

    def _numbers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self._bytes(4 * count))

    def _bytes(self, count: int) -> bytes:
        self._take(count)
        return self._file.read(count)

    def _skip(self, count: int) -> None:
        self._take(count)
        self._file.seek(count, os.SEEK_CUR)

    def _take(self, count: int) -> None:
        if count > self._left:
            raise UnusableModelError.because(
                "damaged", f"{self._path.name} is cut off: not all of its weights are there"
            )
        self._left -= count

    def _damaged(self, where: str) -> UnusableModelError:
        return UnusableModelError.because("damaged", f"{self._path.name} is damaged at {where[:80]}")


def _compare(told: dict[str, int], dims: ModelDimensions) -> None:
    for name, said in told.items():
        if said != getattr(dims, name):
            raise UnusableModelError.because(
                "network", f"its header says {name} = {said}, and its weights have {getattr(dims, name)}"
            )
