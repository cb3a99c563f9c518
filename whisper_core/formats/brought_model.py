"""What is known of a model that somebody brought, once its files were looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whisper_core.formats.dimensions import ModelDimensions, Shape

AlignmentHeads = tuple[tuple[int, int], ...]  # layer and head
TYPE_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I8": 1, "I16": 2, "I32": 4}  # of a number


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies."""

    path: Path
    start: int  # in bytes from the file's beginning
    type: str  # one of TYPE_BYTES
    shape: Shape
    scale: StoredTensor | None = None  # the numbers are to be divided by: one for each row, or one for all

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * TYPE_BYTES[self.type]

    def rows(self, number: int, count: int) -> StoredTensor:
        """One of `count` equal parts, row after row. A row is one number of a tensor of one dimension."""
        size = self.size_bytes // count
        scale = self.scale
        if scale is not None and scale.shape == self.shape[:1]:
            scale = scale.rows(number, count)
        shape = (self.shape[0] // count, *self.shape[1:])
        return replace(self, start=self.start + number * size, shape=shape, scale=scale)


@dataclass(frozen=True)
class BroughtModel:
    dimensions: ModelDimensions  # n_vocab: without rows of the embedding that only fill it up
    tensors: Mapping[str, StoredTensor]  # by openai-whisper's names
    projection: StoredTensor | None  # to the vocabulary; it must be equal to the embedding, as openai-whisper's is
    alignment_heads: AlignmentHeads | None  # that the files name, for the times of words
    size_bytes: int
    zeros: tuple[StoredTensor, ...] = ()  # biases that openai-whisper's model does not have: they must be zero


def alignment_heads_of(told: Any, dims: ModelDimensions) -> AlignmentHeads | None:
    """None when there are none, or when they are another model's: distilled models ship those of the large one."""
    if not isinstance(told, list) or not told:
        return None
    heads = []
    for pair in told:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(number, int) for number in pair)):
            return None
        layer, head = pair
        if not (0 <= layer < dims.n_text_layer and 0 <= head < dims.n_text_head):
            return None
        heads.append((layer, head))
    return tuple(heads)
