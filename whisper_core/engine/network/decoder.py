"""The text decoder's two passes: the whole prompts of some windows, and one token for every row."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.layers import DecoderLayers
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import Rows, StepFunctions

OnQuery = Callable[[int, Tensor], None]

_FIRST = slice(0, 1)


def run_prompt(
    layers: DecoderLayers,
    tokens: Tensor,
    cross: CrossCache,
    cache: SelfCache | None = None,
    *,
    rows: Rows = _FIRST,
    places: Rows = _FIRST,
    wanted: Tensor | None = None,
    on_cross_query: OnQuery = lambda layer, query: None,
) -> Tensor:
    """The decoder's output as `layers.logits` takes it, at the wanted positions or at all, (windows, positions, state).

    tokens: (windows, length) int64, from position 0 on. cross: of the windows in the slots `places`. cache: where the
    tokens' keys and values are stored, in the rows `rows`; without a cache they are not. wanted: (windows, wanted)
    int64; of the other tokens, the last layer computes keys and values only. on_cross_query: called with each layer's
    number and its cross-attention query, (windows, heads, length, head size).
    """
    windows, length = tokens.shape
    heads, positions = layers.num_heads, torch.arange(length, device=tokens.device)
    x = layers.embed(tokens.flatten(), positions.repeat(windows))
    mask = None  # each token attends to those before it
    for number, block in enumerate(layers.blocks):
        fused = _heads(block.query_key_value(block.attention_norm(x)), windows, 3 * heads)
        query, key, value = fused.chunk(3, dim=1)
        if cache is not None:
            cache.write_prompt(number, rows, key, value)
        if wanted is not None and number == len(layers.blocks) - 1:
            window = torch.arange(windows, device=tokens.device)[:, None]
            x = x.view(windows, length, -1)[window, wanted].flatten(0, 1)
            query = query.transpose(1, 2)[window, wanted].transpose(1, 2).contiguous()
            mask = (positions <= wanted[:, :, None])[:, None]
        is_causal = mask is None and length > 1
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=is_causal)
        x = x + block.attention_out(mixed.transpose(1, 2).reshape(len(x), -1))
        cross_query = _heads(block.cross_query(block.cross_norm(x)), windows, heads)
        on_cross_query(number, cross_query)
        x = x + block.cross_out(cross.of_layer(number, places).attend(0, cross_query).flatten(0, 1))
        x = x + block.mlp(x)
    return x.view(windows, len(x) // windows, -1)


def run_step(
    layers: DecoderLayers,
    functions: StepFunctions,
    tokens: Tensor,
    positions: Tensor,
    rows: Rows,
    places: Rows,
    rows_per_place: int,
    length: int,
    cross: CrossCache,
    cache: SelfCache,
) -> Tensor:
    """The logits after one more token in each of the rows, (n, vocabulary), in the model's dtype.

    tokens, positions: of all rows of the cache, (all,) int64. rows: the n that are computed. places: the slots of the
    cross cache, one for every `rows_per_place` rows that follow each other. length: the part of the self-attention
    cache that is read; above every position.
    """
    x = functions.embed(layers, tokens, positions, rows)
    reach = functions.reach(positions, rows, length, layers.dtype)
    added: Tensor | None = None  # the latest part's output, which the next part's LayerNorm adds to x
    for number, block in enumerate(layers.blocks):
        fused = block.query_key_value(functions.add_norm(x, added, block.attention_norm))
        mixed = functions.attend_to_text(fused, cache, number, positions, rows, reach, layers.num_heads)
        added = block.attention_out(mixed)
        query = block.cross_query(functions.add_norm(x, added, block.cross_norm))
        added = block.cross_out(functions.attend_to_sound(query, cross, number, places, rows_per_place))
        added = block.mlp_out(F.gelu(block.mlp_in(functions.add_norm(x, added, block.mlp_norm))))
    return layers.vocabulary(functions.add_norm(x, added, layers.norm))


def _heads(x: Tensor, windows: int, heads: int) -> Tensor:
    """From (windows * length, heads * head size) to (windows, heads, length, head size), contiguous."""
    return x.view(windows, len(x) // windows, heads, -1).transpose(1, 2).contiguous()
