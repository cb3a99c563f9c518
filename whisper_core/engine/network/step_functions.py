"""The parts of a decoding step between its matrix products, in torch: the reference, and what the CPU uses.

`triton_functions` has the same functions as one kernel each, for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import Rows as Rows
from whisper_core.engine.network.layers import DecoderLayers, LayerNorm
from whisper_core.engine.network.self_attention import SelfCache, length_mask

AddNorm = Callable[[Tensor, Tensor | None, LayerNorm], Tensor]


class StepFunctions(NamedTuple):
    """What `run_step` needs. The functions of this module tell what each does."""

    name: str
    embed: Callable[[DecoderLayers, Tensor, Tensor, Rows], Tensor]
    reach: Callable[[Tensor, Rows, int, torch.dtype], Tensor | None]
    add_norm: AddNorm
    attend_to_text: Callable[[Tensor, SelfCache, int, Tensor, Rows, Tensor | None, int], Tensor]
    attend_to_sound: Callable[[Tensor, CrossCache, int, Rows, int], Tensor]


def embed(layers: DecoderLayers, tokens: Tensor, positions: Tensor, rows: Rows) -> Tensor:
    """The rows' embeddings, (n, state), in the model's dtype. tokens, positions: of all rows, (all,) int64."""
    return layers.embed(tokens[rows], positions[rows])


def add_norm(x: Tensor, added: Tensor | None, norm: LayerNorm) -> Tensor:
    """The LayerNorm of x after `added` was added to it, in place and rounded to x's dtype, which the result has too.

    x, added: (n, state).
    """
    if added is not None:
        x.add_(added)
    return norm(x)


def reach(positions: Tensor, rows: Rows, length: int, dtype: torch.dtype) -> Tensor | None:
    """What `attend_to_text` is given in every layer of a step: which positions each row attends to; None where that
    needs no preparation.

    positions: of all rows, (all,) int64. length: how much of the cache is read, above every position.
    """
    return length_mask(positions[rows], length, dtype)


def attend_to_text(
    fused: Tensor, cache: SelfCache, layer: int, positions: Tensor, rows: Rows, reach: Tensor | None, num_heads: int
) -> Tensor:
    """Store the rows' keys and values at their positions, and attend to all positions up to those: (n, state).

    fused: (n, 3 * state), query, key and value. positions: of all rows, (all,) int64. reach: of these rows.
    """
    assert reach is not None  # noqa: S101 - made by this module's function
    own = positions[rows]
    query, key, value = fused.view(len(fused), 3, num_heads, -1).unbind(1)
    cache.write(layer, rows, own, key, value)
    query = query.unsqueeze(2).contiguous()  # with strides, SDPA silently leaves its fast path
    return cache.attend(layer, rows, query, reach)


def attend_to_sound(query: Tensor, cross: CrossCache, layer: int, places: Rows, rows_per_place: int) -> Tensor:
    """The rows' attention to their windows, (n, state).

    query: (n, state). places: slots of the cross cache, one for every `rows_per_place` rows that follow each other.
    """
    num_rows, num_heads = len(query), cross.keys.shape[2]
    by_place = query.view(num_rows // rows_per_place, rows_per_place, num_heads, -1).transpose(1, 2).contiguous()
    return cross.of_layer(layer, places).attend(0, by_place).reshape(num_rows, -1)


TORCH_FUNCTIONS = StepFunctions("torch", embed, reach, add_norm, attend_to_text, attend_to_sound)
