"""Cross-attention of a few rows over a window's 1500 positions: the part of a step that is bound by memory.

On a GPU keys and values are kept as its fused kernel needs them. On a CPU each is one product with a few rows, and in
which order it is read fastest depends on the processor: `kernels` measures that (docs/engine-notes.md has the figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.dims import CrossForm, DecoderDims, Rows


@dataclass(frozen=True)
class CrossCache:
    """Keys and values of one window, or of several slots."""

    keys: Tensor  # (layers, slots, heads, positions, head size), the last two as `form` says
    values: Tensor  # likewise
    form: CrossForm

    @classmethod
    def empty(cls, dims: DecoderDims, slots: int) -> CrossCache:
        """Memory for `slots` slots, not initialised."""
        form, order = dims.cross, (dims.audio_positions, dims.head_size)
        keys, values = (
            torch.empty(dims.layers, slots, dims.heads, *each, device=dims.device, dtype=dims.dtype)
            for each in (
                order[::-1] if form.are_keys_transposed else order,
                order[::-1] if form.are_values_transposed else order,
            )
        )
        return cls(keys, values, form)

    def slots(self, first: int, count: int = 1) -> CrossCache:
        """A view of some slots."""
        part = slice(first, first + count)
        return CrossCache(self.keys[:, part], self.values[:, part], self.form)

    def of_layer(self, layer: int, places: Rows) -> CrossCache:
        """One layer of some slots, as a cache of one layer: a view of a slice, a copy of slots with these numbers."""
        part = slice(layer, layer + 1)
        return CrossCache(self.keys[part, places], self.values[part, places], self.form)

    def copy_from(self, other: CrossCache) -> None:
        self.keys.copy_(other.keys)
        self.values.copy_(other.values)

    def clone(self) -> CrossCache:
        return CrossCache(self.keys.clone(), self.values.clone(), self.form)

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """The first slots' attention, (slots, rows, heads * head size). query: (slots, heads, rows, head size)."""
        slots, _, rows, _ = query.shape
        if self.form.is_fused:
            keys, values = self.keys[layer, :slots], self.values[layer, :slots]
            mixed = F.scaled_dot_product_attention(query, keys, values).permute(0, 2, 1, 3)
        else:
            mixed = self.mixed(layer, self.scores(layer, query).softmax(dim=-1))
        return mixed.reshape(slots, rows, -1)

    def scores(self, layer: int, query: Tensor) -> Tensor:
        """The first slots' scores before the softmax, (slots, heads, rows, positions). query: as in `attend`."""
        slots, heads, rows, size = query.shape
        keys = self.keys[layer, :slots]
        scaled = query * size**-0.5
        if self.form.are_keys_transposed:
            return torch.matmul(scaled, keys)
        if rows == 1:  # in this order it is a product of a matrix and a vector, which reads the keys faster
            return torch.matmul(keys, scaled.transpose(-1, -2)).view(slots, heads, 1, -1)
        return torch.matmul(scaled, keys.transpose(-1, -2))

    def mixed(self, layer: int, weights: Tensor) -> Tensor:
        """The first slots' values, mixed, (slots, rows, heads, head size). weights: (slots, heads, rows, positions)."""
        values = self.values[layer, : len(weights)]
        if self.form.are_values_transposed:
            return (values @ weights.transpose(-1, -2)).permute(0, 3, 1, 2)
        return (weights @ values).permute(0, 2, 1, 3)
