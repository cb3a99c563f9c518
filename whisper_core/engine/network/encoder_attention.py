"""The encoder's self-attention over a window's 1500 positions, in fp32 as openai-whisper computes it, or in bf16.

In bf16 the scores of a block of positions stay in the processor's cache, whereas torch's fused routine is no faster in
bf16 than in fp32 where there is no AMX (docs/engine-notes.md has the figures). The blocks' scores are rounded to bf16
before the softmax, so a weight is off by 3 % where the score is near 16, and by 6 % near 32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 500  # positions whose scores are computed at a time: 1.5 MB

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of query, key and value, each (windows, heads, positions, head size), with any strides, the result in their dtype,
(windows, positions, heads * head size)."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mixed = F.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(start_dim=2)


def attend_in_bf16(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mixed = F.scaled_dot_product_attention(query.bfloat16(), key.bfloat16(), value.bfloat16())
    return mixed.transpose(1, 2).to(query.dtype).flatten(start_dim=2)


def attend_in_bf16_blocks(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    windows, heads, positions, size = query.shape
    queries = (query * size**-0.5).bfloat16()
    keys = key.transpose(2, 3).bfloat16().contiguous()
    values = value.bfloat16().contiguous()
    mixed = query.new_empty(windows, positions, heads, size)
    for window in range(windows):
        for head in range(heads):
            for first in range(0, positions, _BLOCK):
                part = slice(first, first + _BLOCK)
                weights = torch.mm(queries[window, head, part], keys[window, head]).softmax(dim=-1)
                mixed[window, part, head] = torch.mm(weights, values[window, head])
    return mixed.flatten(start_dim=2)
