"""Matrix products with few rows, in the layout that the device likes best.

A decoding step multiplies 1 to 64 rows with every matrix of the decoder. On an x86 CPU the order in which a matrix lies
in memory then decides more than anything else: for 16 rows and the vocabulary of tiny.en on one core, `x @ E.T` took
20 ms, `E @ x.T` 17 to 35 ms, and oneDNN with the matrix packed for 8 rows 12 ms (docs/engine-notes.md).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS_TO_PACK_FOR = 8  # one layout for all batches: those for 1 or 64 rows were slower in the other sizes
_MANY_ROWS = 64  # from here on the plain layout is as good, and nothing has to be packed for it

Linear = Callable[[Tensor], Tensor]
"""Maps (rows, in) to (rows, out)."""


def linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """weight: (out, in). The product for few rows; keeps a reference to `weight` or a packed copy of it."""
    if _can_pack(weight):
        return _PackedLinear(weight, bias)
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


class _PackedLinear:
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_TO_PACK_FOR)
        self._bias = bias

    def __call__(self, rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self._bias, "none", [], "")
        return product
