"""Matrix products in the layout that is fastest on the device: the encoder's with many rows, the decoder's with few.

Which of two routines is faster for the encoder's depends on the processor, so it is measured when a model is loaded.

A decoding step multiplies 1 to 64 rows with every matrix of the decoder. On an x86 CPU its speed then depends mostly on
the order in which the matrix is stored (docs/engine-notes.md has the figures). No order is best both for one row and
for several, so on the CPU each matrix is kept twice.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)

_ROWS_TO_PACK_FOR = 8  # one packing for all batch sizes: those for 1 or 64 rows were slower at other sizes

# Smaller matrices take too little time to be measured, and to matter.
_LEAST_STATE_TO_MEASURE = 384
_MEASUREMENTS = 3
_WORTH_IT = 0.97  # of the other's time: with less gain the choice would change from one load to the next

Linear = Callable[[Tensor], Tensor]
"""Maps (rows, in) to (rows, out)."""


class Matrix(Protocol):
    """A product with many rows, (positions, in) to (positions, out)."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def add_to(self, sum_: Tensor, x: Tensor) -> None:
        """sum_ += self(x). sum_: (positions, out)."""


MakeMatrix = Callable[[Tensor, Tensor], Matrix]
"""Of weight, (out, in), and bias, (out,)."""


def matrix_maker(sample: Tensor, positions: int) -> MakeMatrix:
    """What makes the encoder's matrices, which are multiplied with `positions` rows. sample: one of their weights."""
    if not _can_pack(sample) or sample.shape[1] < _LEAST_STATE_TO_MEASURE:
        return _PlainMatrix
    packed_maker = partial(_packed, positions)
    bias, rows = sample.new_zeros(sample.shape[0]), torch.randn(positions, sample.shape[1])
    plain_s, packed_s = _fastest([_PlainMatrix(sample, bias), packed_maker(sample, bias)], rows)
    is_packed = packed_s < _WORTH_IT * plain_s
    log.info("event=encoder_layout packed=%s packed_ms=%.2f plain_ms=%.2f", is_packed, packed_s * 1e3, plain_s * 1e3)
    return packed_maker if is_packed else _PlainMatrix


def _fastest(matrices: Sequence[Matrix], rows: Tensor) -> list[float]:
    """Seconds of each one's fastest product, taken in turn so that a change of the machine's load meets all of them."""
    seconds = [math.inf] * len(matrices)
    with torch.inference_mode():
        for _ in range(1 + _MEASUREMENTS):  # the first time each sets itself up
            for number, each in enumerate(matrices):
                began = time.perf_counter()
                each(rows)
                seconds[number] = min(seconds[number], time.perf_counter() - began)
    return seconds


def linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """The product for few rows. weight: (out, in); on the CPU it is copied, so it may be freed."""
    if _can_pack(weight):
        return _TwoLayouts(weight, bias)
    return lambda rows: F.linear(rows, weight, bias)


def _can_pack(weight: Tensor) -> bool:
    """Whether torch has oneDNN's packed product here. It belongs to torch's compiler, so a later torch may lack it."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


@dataclass(frozen=True)
class _PlainMatrix:
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def add_to(self, sum_: Tensor, x: Tensor) -> None:
        """Without a further tensor for the product."""
        sum_.add_(self.bias).addmm_(x, self.weight.t())


@dataclass(frozen=True)
class _PackedMatrix:
    packed: Tensor  # the weight in an order of oneDNN's
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return _multiply_packed(x, self.packed, self.bias)

    def add_to(self, sum_: Tensor, x: Tensor) -> None:
        sum_.add_(self(x))


def _packed(positions: int, weight: Tensor, bias: Tensor) -> _PackedMatrix:
    return _PackedMatrix(torch.ops.mkldnn._reorder_linear_weight(weight, positions), bias)


def _multiply_packed(rows: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")
    return product


class _TwoLayouts:
    """Transposed for one row, packed by oneDNN for more."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._transposed = weight.t().contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_TO_PACK_FOR)
        self._bias = bias

    def __call__(self, rows: Tensor) -> Tensor:
        if rows.shape[0] > 1:
            return _multiply_packed(rows, self._packed, self._bias)
        if self._bias is None:
            return torch.mm(rows, self._transposed)
        return torch.addmm(self._bias, rows, self._transposed)
