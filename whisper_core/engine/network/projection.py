"""From the encoder's output to the keys and values of one decoder layer's cross-attention, in the cache's layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.int8 import Int8Matrix


class Projection(Protocol):
    """One decoder layer's."""

    def project(self, features: Tensor, keys: Tensor, values: Tensor) -> None:
        """features: (windows, positions, state). keys, values: the layer's part of a CrossCache, which is written."""


MakeProjection = Callable[[Tensor, Tensor, Tensor], Projection]
"""Of key's weight, (state, state), value's weight and value's bias, (state,); upstream's keys have no bias."""


@dataclass(frozen=True)
class PlainProjection:
    """Into (windows, heads, positions, head size): the GPU's layout."""

    key: Tensor
    value: Tensor
    value_bias: Tensor

    def project(self, features: Tensor, keys: Tensor, values: Tensor) -> None:
        keys.copy_(_split(F.linear(features, self.key), keys))
        values.copy_(_split(F.linear(features, self.value, self.value_bias), values))


@dataclass(frozen=True)
class TransposedProjection:
    """Into (windows, heads, head size, positions): the CPU's layout, in which the product is computed."""

    key: Tensor
    value: Tensor
    value_bias: Tensor

    def project(self, features: Tensor, keys: Tensor, values: Tensor) -> None:
        for of_window, own_keys, own_values in zip(features, keys, values, strict=True):
            torch.mm(self.key, of_window.t(), out=_rows(own_keys))
            torch.mm(self.value, of_window.t(), out=_rows(own_values)).add_(self.value_bias[:, None])


class Int8Projection:
    """Into the CPU's layout, from one int8 product for both."""

    def __init__(self, library: str, key: Tensor, value: Tensor, value_bias: Tensor) -> None:
        bias = torch.cat([torch.zeros_like(value_bias), value_bias])
        self._matrix = Int8Matrix(library, torch.cat([key, value]), bias)

    def project(self, features: Tensor, keys: Tensor, values: Tensor) -> None:
        for of_window, own_keys, own_values in zip(features, keys, values, strict=True):
            projected = self._matrix(of_window).t()
            state = len(projected) // 2
            _rows(own_keys).copy_(projected[:state])
            _rows(own_values).copy_(projected[state:])


def _rows(of_window: Tensor) -> Tensor:
    """From (heads, head size, positions) to (state, positions), the same memory."""
    return of_window.view(-1, of_window.shape[-1])


def _split(projected: Tensor, like: Tensor) -> Tensor:
    """From (windows, positions, state) to the shape of `like`, (windows, heads, positions, head size)."""
    windows, heads, positions, size = like.shape
    return projected.view(windows, positions, heads, size).transpose(1, 2)
