"""The decoder's attention to its own earlier tokens, through a cache with a fixed place for each row and position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.dims import DecoderDims, Rows


@dataclass(frozen=True)
class SelfCache:
    """What is stored after a row's position is not read."""

    keys: Tensor  # (layers, rows, heads, text positions, head size)
    values: Tensor  # the same

    @classmethod
    def empty(cls, dims: DecoderDims, rows: int) -> SelfCache:
        """Filled with zeros on a GPU: a step computes rows that nobody has cleared, a masked position is multiplied by
        0, and 0 times uninitialised memory may be NaN. On the CPU every row is cleared before it is read, and pages
        that nobody has written to take no memory."""
        make = torch.empty if dims.device.type == "cpu" else torch.zeros
        full = (dims.layers, rows, dims.heads, dims.text_positions, dims.head_size)
        keys, values = (make(full, device=dims.device, dtype=dims.dtype) for _ in range(2))
        return cls(keys, values)

    def rows(self, first: int, count: int) -> SelfCache:
        """A view of some rows."""
        part = slice(first, first + count)
        return SelfCache(self.keys[:, part], self.values[:, part])

    def copy_from(self, other: SelfCache, positions: int) -> None:
        """Copy the first positions of the other's rows. A single row of the other is copied to all of these."""
        self.keys[:, :, :, :positions] = other.keys[:, :, :, :positions]
        self.values[:, :, :, :positions] = other.values[:, :, :, :positions]

    def clear(self) -> None:
        """Prepare for another window: the last one may have left NaN, which a mask does not suppress."""
        self.keys.zero_()
        self.values.zero_()

    def clear_at(self, rows: Tensor) -> None:
        """The same for the rows with these numbers, (n,) int64, without a wait for the device."""
        self.keys.index_fill_(1, rows, 0)
        self.values.index_fill_(1, rows, 0)

    def spread(self, first: Tensor, rows: Tensor, count: int) -> None:
        """Copy each row of `first`, (n,) int64, to `count` of the rows `rows`, (n * count,)."""
        for tensor in (self.keys, self.values):
            tensor.index_copy_(1, rows, tensor.index_select(1, first.repeat_interleave(count)))

    def reorder(self, sources: list[int], positions: int) -> None:
        """Row i becomes what row sources[i] was."""
        for tensor in (self.keys, self.values):
            tensor[:, :, :, :positions] = tensor[:, sources, :, :positions]

    def write_prompt(self, layer: int, rows: Rows, keys: Tensor, values: Tensor) -> None:
        """Store the positions from 0 on. keys, values: (n, heads, length, head size)."""
        length = keys.shape[2]
        self.keys[layer][rows, :, :length] = keys
        self.values[layer][rows, :, :length] = values

    def write(self, layer: int, rows: Rows, positions: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store one position for each of the rows. keys, values: (n, heads, head size). positions: (n,) int64."""
        if isinstance(rows, slice):
            rows = torch.arange(*rows.indices(self.keys.shape[1]), device=positions.device)
        self.keys[layer][rows, :, positions] = keys
        self.values[layer][rows, :, positions] = values

    def attend(self, layer: int, rows: Rows, query: Tensor, mask: Tensor) -> Tensor:
        """The rows' attention, (n, heads * head size).

        query: (n, heads, 1, head size). mask: (n, 1, 1, length), added to the scores.
        """
        length = mask.shape[-1]
        keys, values = self.keys[layer, rows, :, :length], self.values[layer, rows, :, :length]
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask).reshape(len(query), -1)


def length_mask(positions: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """(rows, 1, 1, length): 0 up to and including a row's position, -inf after it."""
    behind = torch.arange(length, device=positions.device) > positions[:, None]
    mask = torch.zeros(behind.shape, device=positions.device, dtype=dtype)
    return mask.masked_fill_(behind, -torch.inf)[:, None, None, :]
