"""Matrix products in the layout that is fastest on the device: the encoder's with many rows, the decoder's with few.

A decoding step multiplies 1 to 64 rows with every matrix of the decoder. On an x86 CPU its speed then depends mostly on
the order in which the matrix is stored (docs/engine-notes.md has the figures). No order is best both for one row and
for several, so on the CPU each matrix is kept twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS_TO_PACK_FOR = 8  # one packing for all batch sizes: those for 1 or 64 rows were slower at other sizes

Linear = Callable[[Tensor], Tensor]
"""Maps (rows, in) to (rows, out)."""

MakeLinear = Callable[[Tensor, Tensor | None], Linear]
"""Of weight, (out, in), and bias, (out,)."""


class Matrix(Protocol):
    """A product with many rows, (positions, in) to (positions, out)."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def add_to(self, sum_: Tensor, x: Tensor) -> None:
        """sum_ += self(x). sum_: (positions, out)."""


MakeMatrix = Callable[[Tensor, Tensor], Matrix]
"""Of weight, (out, in), and bias, (out,)."""


def linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """The product for few rows. weight: (out, in); on the CPU it is copied, so it may be freed."""
    if can_pack(weight):
        return _TwoLayouts(weight, bias)
    return lambda rows: F.linear(rows, weight, bias)


def can_pack(weight: Tensor) -> bool:
    """Whether torch has oneDNN's packed product here. It belongs to torch's compiler, so a later torch may lack it."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


@dataclass(frozen=True)
class PlainMatrix:
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def add_to(self, sum_: Tensor, x: Tensor) -> None:
        """Without a further tensor for the product."""
        sum_.add_(self.bias).addmm_(x, self.weight.t())


@dataclass(frozen=True)
class PackedMatrix:
    packed: Tensor  # the weight in an order of oneDNN's
    bias: Tensor

    @classmethod
    def of(cls, positions: int, weight: Tensor, bias: Tensor) -> PackedMatrix:
        """positions: the rows that it will be multiplied with."""
        return cls(torch.ops.mkldnn._reorder_linear_weight(weight, positions), bias)

    def __call__(self, x: Tensor) -> Tensor:
        return _multiply_packed(x, self.packed, self.bias)

    def add_to(self, sum_: Tensor, x: Tensor) -> None:
        sum_.add_(self(x))


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
