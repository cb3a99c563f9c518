"""From the encoder's output to the keys and values of one decoder layer's cross-attention, in the cache's form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.dims import CrossForm, Rows
from whisper_core.engine.network.int8 import Int8Matrix
from whisper_core.engine.network.linear import MakeMatrix, Matrix


class Projection(Protocol):
    """One decoder layer's."""

    def project(self, features: Tensor, keys: Tensor, values: Tensor, places: Rows) -> None:
        """Write the slots `places` of a CrossCache's layer, which `keys` and `values` are; on the CPU a slice.

        features: (windows, positions, state).
        """


MakeProjection = Callable[[Tensor, Tensor, Tensor], Projection]
"""Of key's weight, (state, state), value's weight and value's bias, (state,); upstream's keys have no bias."""


@dataclass(frozen=True)
class PlainProjection:
    """All windows together, into (windows, heads, positions, head size): the GPU's form."""

    key: Tensor
    value: Tensor
    value_bias: Tensor

    def project(self, features: Tensor, keys: Tensor, values: Tensor, places: Rows) -> None:
        keys[places] = _split(F.linear(features, self.key), keys)
        values[places] = _split(F.linear(features, self.value, self.value_bias), values)


class CpuProjection:
    """In the weights' precision, one window after the other, each half in the form that it has."""

    def __init__(
        self, make_matrix: MakeMatrix, form: CrossForm, key: Tensor, value: Tensor, value_bias: Tensor
    ) -> None:
        self._key = _half(make_matrix, form.are_keys_transposed, key, torch.zeros_like(value_bias))
        self._value = _half(make_matrix, form.are_values_transposed, value, value_bias)

    def project(self, features: Tensor, keys: Tensor, values: Tensor, places: Rows) -> None:
        for of_window, own_keys, own_values in zip(features, keys[places], values[places], strict=True):
            self._key(of_window, own_keys)
            self._value(of_window, own_values)


_Half = Callable[[Tensor, Tensor], None]
"""Computes the keys or the values of a window from its features, (positions, state), into the second tensor."""


def _half(make_matrix: MakeMatrix, is_transposed: bool, weight: Tensor, bias: Tensor) -> _Half:
    return (
        partial(_write_transposed, weight, bias[:, None])
        if is_transposed
        else partial(_write, make_matrix(weight, bias))
    )


def _write(matrix: Matrix, features: Tensor, own: Tensor) -> None:
    own.copy_(_split(matrix(features), own))


def _write_transposed(weight: Tensor, bias: Tensor, features: Tensor, own: Tensor) -> None:
    """The product is computed in the order in which it is kept."""
    torch.addmm(bias, weight, features.t(), out=_rows(own))


class Int8Projection:
    """From one int8 product for both."""

    def __init__(self, library: str, form: CrossForm, key: Tensor, value: Tensor, value_bias: Tensor) -> None:
        bias = torch.cat([torch.zeros_like(value_bias), value_bias])
        self._matrix = Int8Matrix(library, torch.cat([key, value]), bias)
        self._form = form

    def project(self, features: Tensor, keys: Tensor, values: Tensor, places: Rows) -> None:
        for of_window, own_keys, own_values in zip(features, keys[places], values[places], strict=True):
            of_keys, of_values = self._matrix(of_window).chunk(2, dim=-1)
            _copy(of_keys, own_keys, self._form.are_keys_transposed)
            _copy(of_values, own_values, self._form.are_values_transposed)


def _copy(projected: Tensor, own: Tensor, is_transposed: bool) -> None:
    if is_transposed:
        _rows(own).copy_(projected.t())
    else:
        own.copy_(_split(projected, own))


def _rows(of_window: Tensor) -> Tensor:
    """From (heads, head size, positions) to (state, positions), the same memory."""
    return of_window.view(-1, of_window.shape[-1])


def _split(projected: Tensor, like: Tensor) -> Tensor:
    """From (..., positions, state) to the shape of `like`, (..., heads, positions, head size)."""
    heads, positions, size = like.shape[-3:]
    return projected.view(*projected.shape[:-2], positions, heads, size).transpose(-2, -3)
