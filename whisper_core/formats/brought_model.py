"""What is known of a model that somebody brought, once its files were looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whisper_core.formats.dimensions import ModelDimensions, Shape

AlignmentHeads = tuple[tuple[int, int], ...]  # layer and head
FLOATS = ("F16", "BF16", "F32")  # the types that weights are read of as they are
QUANTISED = {"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34)}  # ggml's
# Of each type: so many numbers are kept together, in so many bytes.
BLOCKS = {
    **dict.fromkeys(("F16", "BF16", "I16"), (1, 2)),
    **dict.fromkeys(("F32", "I32"), (1, 4)),
    **dict.fromkeys(("I8", "U8", "BOOL"), (1, 1)),
    **dict.fromkeys(("F64", "I64"), (1, 8)),
    **QUANTISED,
}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies."""

    path: Path
    start: int  # in bytes from the file's beginning
    type: str  # one of BLOCKS
    shape: Shape
    scale: StoredTensor | None = None  # the numbers are to be divided by: one for each row, or one for all
    is_in_order: bool = True  # row after row

    @property
    def size_bytes(self) -> int:
        numbers, size = BLOCKS[self.type]
        return math.prod(self.shape) // numbers * size

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
