"""Matrix products with int8 weights on a CPU: a quarter of the bytes to read, and several times the products a cycle
where the processor has VNNI or AMX.

Weights have one scale for each output, inputs one for each row or for all rows, chosen when the product is computed.
The relative error of a product is about 1 %. The weights are packed once, by torch's quantized operators.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_LARGEST = 127  # of an int8 weight; -128 is left out, so that the scale is symmetric
_DEPRECATED = "torch.quantize_per_tensor"  # how the warning begins; torch is pinned, and 2.13 has no other int8 product

_LIBRARIES = ("onednn", "x86")


def int8_libraries() -> tuple[str, ...]:
    """Which libraries torch has here for int8 products, by their names in `torch.backends.quantized.engine`."""
    return tuple(name for name in _LIBRARIES if name in torch.backends.quantized.supported_engines)


class Int8Matrix:
    """For many rows, (positions, in) to (positions, out); all rows of an input share one scale."""

    def __init__(self, library: str, weight: Tensor, bias: Tensor | None) -> None:
        """weight: (out, in), in any floating dtype, as bias is; may be freed afterwards. library: of int8_libraries."""
        self._packed = _pack(weight, bias, library)

    def __call__(self, x: Tensor) -> Tensor:
        return _multiply(x, self._packed)

    def add_to(self, sum_: Tensor, x: Tensor) -> None:
        sum_.add_(_multiply(x, self._packed))


class Int8Linear:
    """For a few rows of different recordings, (rows, in) to (rows, out): no row's result depends on the others.

    Torch gives all rows of an input one scale. So each row is scaled to at most 1 before, and a row that reaches from
    -1 to 1 is added, which fixes the scale.
    """

    def __init__(self, library: str, weight: Tensor, bias: Tensor | None) -> None:
        """As Int8Matrix."""
        self._packed = _pack(weight, None, library)
        self._bias = None if bias is None else bias.float()
        self._range = torch.zeros(1, weight.shape[1])
        self._range[0, :2] = torch.tensor([1.0, -1.0])

    def __call__(self, rows: Tensor) -> Tensor:
        largest = rows.abs().amax(dim=1, keepdim=True).clamp_min_(torch.finfo(rows.dtype).tiny)
        scaled = (rows / largest).nan_to_num_()  # a row's NaN stays in `largest`, and so in its own result
        product = _multiply(torch.cat([scaled, self._range]), self._packed)[:-1]
        return product.mul_(largest) if self._bias is None else torch.addcmul(self._bias, product, largest)


def _pack(weight: Tensor, bias: Tensor | None, library: str) -> torch.ScriptObject:
    weight, bias = weight.float(), None if bias is None else bias.float()
    scales = (weight.abs().amax(dim=1) / _LARGEST).clamp_min(torch.finfo(weight.dtype).tiny)
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings(), _library(library):
        warnings.filterwarnings("ignore", message=_DEPRECATED)
        quantized = torch.quantize_per_channel(weight, scales, zeros, axis=0, dtype=torch.qint8)
        packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(quantized, bias)
    return packed


@contextmanager
def _library(name: str) -> Iterator[None]:
    """Torch takes the library from a global while weights are packed; packed weights keep theirs."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def _multiply(x: Tensor, packed: torch.ScriptObject) -> Tensor:
    # Without VNNI two products are summed in 16 bits, which holds them for inputs of 7 bits only.
    reduce_range = not torch.cpu._is_vnni_supported()
    product: Tensor = torch.ops.quantized.linear_dynamic(x, packed, reduce_range)
    return product
