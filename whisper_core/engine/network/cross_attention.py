"""Cross-attention of a few rows over a window's 1500 positions: the part of a step that is bound by memory.

Keys are kept as (positions, head size). So are values on a GPU, whose fused kernel needs them so; on the CPU they are
kept as (head size, positions), so that each product reads its memory once from beginning to end (docs/engine-notes.md
has the figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.dims import DecoderDims


@dataclass(frozen=True)
class CrossCache:
    """Keys and values of one window, or of several slots."""

    keys: Tensor  # (layers, slots, heads, positions, head size)
    values: Tensor  # the same, or (layers, slots, heads, head size, positions) when has_values_transposed
    has_values_transposed: bool

    @classmethod
    def empty(cls, dims: DecoderDims, slots: int) -> CrossCache:
        """Memory for `slots` slots, not initialised."""
        is_on_cpu = dims.device.type == "cpu"
        slot = (dims.audio_positions, dims.head_size)
        shapes = (slot, slot[::-1] if is_on_cpu else slot)
        keys, values = (
            torch.empty(dims.layers, slots, dims.heads, *shape, device=dims.device, dtype=dims.dtype)
            for shape in shapes
        )
        return cls(keys, values, is_on_cpu)

    def slots(self, first: int, count: int = 1) -> CrossCache:
        """A view of some slots."""
        part = slice(first, first + count)
        return CrossCache(self.keys[:, part], self.values[:, part], self.has_values_transposed)

    def gathered(self, slot: Tensor) -> CrossCache:
        """A copy of the slots with these numbers, (n,) int64, without a wait for the device."""
        keys, values = self.keys.index_select(1, slot), self.values.index_select(1, slot)
        return CrossCache(keys, values, self.has_values_transposed)

    def keep_for_current_stream(self) -> None:
        """Mark the memory as used on this thread's CUDA stream.

        It was allocated on another one, which otherwise might reuse it before this stream is done with it.
        """
        if self.keys.is_cuda:
            for tensor in (self.keys, self.values):
                tensor.record_stream(torch.cuda.current_stream(tensor.device))

    def copy_from(self, other: CrossCache) -> None:
        self.keys.copy_(other.keys)
        self.values.copy_(other.values)

    def clone(self) -> CrossCache:
        return CrossCache(self.keys.clone(), self.values.clone(), self.has_values_transposed)

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """The first slots' attention, (slots, rows, heads * head size). query: (slots, heads, rows, head size)."""
        slots, _, rows, _ = query.shape
        values = self.values[layer, :slots]
        if self.has_values_transposed:
            weights = self.scores(layer, query).softmax(dim=-1)
            mixed = (values @ weights.transpose(-1, -2)).permute(0, 3, 1, 2)
        else:
            mixed = F.scaled_dot_product_attention(query, self.keys[layer, :slots], values).permute(0, 2, 1, 3)
        return mixed.reshape(slots, rows, -1)

    def scores(self, layer: int, query: Tensor) -> Tensor:
        """The first slots' scores before the softmax, (slots, heads, rows, positions). query: as in `attend`."""
        slots, heads, rows, size = query.shape
        keys = self.keys[layer, :slots]
        scaled = query * size**-0.5
        if rows == 1:  # in this order it is a product of a matrix and a vector, which reads the keys faster
            return torch.matmul(keys, scaled.transpose(-1, -2)).view(slots, heads, 1, -1)
        return torch.matmul(scaled, keys.transpose(-1, -2))
