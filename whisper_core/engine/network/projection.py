"""From the encoder's output to the keys and values of one decoder layer's cross-attention, in the cache's layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.int8 import Int8Matrix
from whisper_core.engine.network.linear import MakeMatrix


class Projection(Protocol):
    """One decoder layer's."""

    def project(self, features: Tensor, keys: Tensor, values: Tensor) -> None:
        """features: (windows, positions, state). keys, values: the layer's part of a CrossCache, which is written."""


MakeProjection = Callable[[Tensor, Tensor, Tensor], Projection]
"""Of key's weight, (state, state), value's weight and value's bias, (state,); upstream's keys have no bias."""


@dataclass(frozen=True)
class PlainProjection:
    """All windows together, into (windows, heads, positions, head size): the GPU's layout."""

    key: Tensor
    value: Tensor
    value_bias: Tensor

    def project(self, features: Tensor, keys: Tensor, values: Tensor) -> None:
        keys.copy_(_split(F.linear(features, self.key), keys))
        values.copy_(_split(F.linear(features, self.value, self.value_bias), values))


class CpuProjection:
    """Values into (windows, heads, head size, positions): the CPU's layout, in which their product is computed."""

    def __init__(self, make_matrix: MakeMatrix, key: Tensor, value: Tensor, value_bias: Tensor) -> None:
        self._key = make_matrix(key, torch.zeros_like(value_bias))
        self._value = value
        self._value_bias = value_bias[:, None]

    def project(self, features: Tensor, keys: Tensor, values: Tensor) -> None:
        for of_window, own_keys, own_values in zip(features, keys, values, strict=True):
            own_keys.copy_(_split(self._key(of_window), own_keys))
            torch.addmm(self._value_bias, self._value, of_window.t(), out=_rows(own_values))


class Int8Projection:
    """Into the CPU's layout, from one int8 product for both."""

    def __init__(self, library: str, key: Tensor, value: Tensor, value_bias: Tensor) -> None:
        bias = torch.cat([torch.zeros_like(value_bias), value_bias])
        self._matrix = Int8Matrix(library, torch.cat([key, value]), bias)

    def project(self, features: Tensor, keys: Tensor, values: Tensor) -> None:
        for of_window, own_keys, own_values in zip(features, keys, values, strict=True):
            of_keys, of_values = self._matrix(of_window).chunk(2, dim=-1)
            own_keys.copy_(_split(of_keys, own_keys))
            _rows(own_values).copy_(of_values.t())


def _rows(of_window: Tensor) -> Tensor:
    """From (heads, head size, positions) to (state, positions), the same memory."""
    return of_window.view(-1, of_window.shape[-1])


def _split(projected: Tensor, like: Tensor) -> Tensor:
    """From (..., positions, state) to the shape of `like`, (..., heads, positions, head size)."""
    heads, positions, size = like.shape[-3:]
    return projected.view(*like.shape[:-3], positions, heads, size).transpose(-2, -3)
