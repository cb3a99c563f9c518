"""The text decoder's two passes: a whole prompt of one window, and one token for every row."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.layers import DecoderBlock, DecoderLayers
from whisper_core.engine.network.self_attention import SelfCache, length_mask

OnQuery = Callable[[int, Tensor], None]


def run_prompt(
    layers: DecoderLayers,
    tokens: Tensor,
    cross: CrossCache,
    cache: SelfCache | None = None,
    *,
    row: int | Tensor = 0,
    wanted: Tensor | None = None,
    on_cross_query: OnQuery = lambda layer, query: None,
) -> Tensor:
    """The decoder's output as `layers.logits` takes it: at the wanted positions, (wanted, state), or (length, state).

    tokens: (length,) int64, from position 0 on. cross: of one window. cache, row: where the tokens' keys and values are
    stored; without a cache they are not. wanted: int64; of the other tokens, the last layer computes keys and values
    only. on_cross_query: called with each layer's number and its cross-attention query, (1, heads, length, head size).
    """
    positions = torch.arange(len(tokens), device=tokens.device)
    x = layers.embed(tokens, positions)
    mask = None  # each token attends to those before it
    for number, block in enumerate(layers.blocks):
        query, key, value = _heads(block.query_key_value(block.attention_norm(x)), 3 * layers.num_heads).chunk(3)
        if cache is not None:
            cache.write_prompt(number, row, key, value)
        if wanted is not None and number == len(layers.blocks) - 1:
            x, query, mask = x[wanted], query[:, wanted], positions <= wanted[:, None]
        is_causal = mask is None and len(tokens) > 1
        mixed = F.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=mask, is_causal=is_causal)
        x = x + block.attention_out(mixed[0].transpose(0, 1).reshape(len(x), -1))
        cross_query = _heads(block.cross_query(block.cross_norm(x)), layers.num_heads)[None]
        on_cross_query(number, cross_query)
        x = x + block.cross_out(cross.attend(number, cross_query)[0])
        x = x + block.mlp(x)
    return x


def run_step(
    layers: DecoderLayers,
    tokens: Tensor,
    positions: Tensor,
    length: int,
    cross: CrossCache,
    cache: SelfCache,
    rows_per_slot: int,
) -> Tensor:
    """The logits after one more token in each of the caches' first rows, (rows, vocabulary).

    tokens, positions: (rows,) int64. length: the part of the self-attention cache that is read; above every position.
    rows_per_slot: rows that share a window.
    """
    mask = length_mask(positions, length, layers.dtype)
    x = layers.embed(tokens, positions)
    for number, block in enumerate(layers.blocks):
        x = x + _self_attention(layers, number, block, x, positions, mask, cache)
        x = x + _cross_attention(layers, number, block, x, cross, rows_per_slot)
        x = x + block.mlp(x)
    return layers.logits(x)


def _self_attention(
    layers: DecoderLayers,
    number: int,
    block: DecoderBlock,
    x: Tensor,
    positions: Tensor,
    mask: Tensor,
    cache: SelfCache,
) -> Tensor:
    rows = x.shape[0]
    fused = block.query_key_value(block.attention_norm(x)).view(rows, 3, layers.num_heads, -1)
    cache.write(number, positions, fused[:, 1], fused[:, 2])
    query = fused[:, 0].unsqueeze(2).contiguous()  # with strides, SDPA silently leaves its fast path
    return block.attention_out(cache.attend(number, query, mask))


def _cross_attention(
    layers: DecoderLayers, number: int, block: DecoderBlock, x: Tensor, cross: CrossCache, rows_per_slot: int
) -> Tensor:
    rows = x.shape[0]
    query = block.cross_query(block.cross_norm(x)).view(rows // rows_per_slot, rows_per_slot, layers.num_heads, -1)
    mixed = cross.attend(number, query.transpose(1, 2).contiguous())
    return block.cross_out(mixed.reshape(rows, -1))


def _heads(x: Tensor, heads: int) -> Tensor:
    """From (length, heads * head size) to (heads, length, head size), contiguous."""
    return x.view(x.shape[0], heads, -1).transpose(0, 1).contiguous()
