"""Matrix products with few rows, in the layout that the device likes best.

A decoding step multiplies 1 to 64 rows with every matrix of the decoder. On an x86 CPU the order in which a matrix lies
in memory then decides more than anything else (docs/engine-notes.md has the figures), and no order is best for one row
and for several: so on the CPU each matrix is kept twice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS_TO_PACK_FOR = 8  # one packing for all batches: those for 1 or 64 rows were slower in the other sizes

Linear = Callable[[Tensor], Tensor]
"""Maps (rows, in) to (rows, out)."""


def linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """weight: (out, in). The product for few rows; on the CPU with copies of its own, so `weight` may go."""
    if _can_pack(weight):
        return _TwoLayouts(weight, bias)
    return lambda rows: F.linear(rows, weight, bias)


def _can_pack(weight: Tensor) -> bool:
    """Whether torch has oneDNN's packed product here; it is an operator of torch's compiler, so it may go."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


class _TwoLayouts:
    """Transposed for one row, packed by oneDNN for more."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._transposed = weight.t().contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_TO_PACK_FOR)
        self._bias = bias

    def __call__(self, rows: Tensor) -> Tensor:
        if rows.shape[0] > 1:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self._bias, "none", [], "")
            return product
        if self._bias is None:
            return torch.mm(rows, self._transposed)
        return torch.addmm(self._bias, rows, self._transposed)
