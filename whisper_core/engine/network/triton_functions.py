"""The functions of `step_functions` as one Triton kernel each, for a GPU.

A step computes few rows, so its time is that of reading weights and caches and of starting kernels: torch takes several
kernels for each of these functions. All arithmetic is in fp32, and what is stored is rounded to the tensors' dtype as
torch rounds it. Nothing waits for the device, and only results are allocated, so a CUDA graph can hold every call.

All tensors are contiguous but for the caches, whose layers are views. Offsets into the caches are int64: those of
large-v3 have more elements than int32 can count.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.layers import LAYER_NORM_EPSILON, DecoderLayers, LayerNorm
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import Rows, StepFunctions

# Block sizes are fixed rather than tuned: graphs are captured while a model is loaded, and tuning would compile and
# time every kernel for every size then. They were chosen on paper, from the registers that the compiler takes, for an
# H200: it has 132 processors, on each of which about 40 KB have to be under way for the whole bandwidth.
#
# A tile of keys, (128 positions, 64), is 16 KB, and the values' as much. With 8 warps a thread needs 77 registers, so
# three programs fit on a processor, with 96 KB under way; and a lone row, a program for each head, goes round its loop
# 12 times for the 1500 positions.
_SOUND_BLOCK = 128
_SOUND_WARPS = 8
# A row has read some 50 to 300 tokens; half the tile wastes less on the last block, at the same work for each thread.
_TEXT_BLOCK = 64
_TEXT_WARPS = 4
# A LayerNorm's row is one block. 8 elements a thread are a load of 16 bytes in fp16.
_ELEMENTS_A_THREAD = 8
_THREADS_A_WARP = 32
_MOST_WARPS = 8

_LOG2_E = 1.4426950408889634
# Stands for minus infinity where a difference of two such must not be NaN. No score comes near it.
_LOWEST = tl.constexpr(-1.0e30)

# Where row numbers begin and how they are aligned varies; a kernel for each would be compiled while decoding.
_VARYING = ["first", "rows_per_place"]
_UNALIGNED = ["tokens", "positions", "rows", "places"]
_jit = triton.jit(do_not_specialize=_VARYING, do_not_specialize_on_alignment=_UNALIGNED)


def embed(layers: DecoderLayers, tokens: Tensor, positions: Tensor, rows: Rows) -> Tensor:
    """See step_functions.embed."""
    numbers, first, are_listed = _numbers(rows, tokens)
    count = len(rows) if isinstance(rows, Tensor) else len(range(*rows.indices(len(tokens))))
    state = layers.token_embedding.shape[1]
    x = layers.token_embedding.new_empty((count, state), dtype=layers.dtype)
    block = triton.next_power_of_2(state)
    _embed_kernel[(count,)](
        x,
        layers.token_embedding,
        layers.positional_embedding,
        tokens,
        positions,
        numbers,
        first,
        state,
        are_listed,
        block,
        num_warps=_warps_for(block),
    )
    return x


def add_norm(x: Tensor, added: Tensor | None, norm: LayerNorm) -> Tensor:
    """See step_functions.add_norm."""
    _assert_contiguous(x, *([] if added is None else [added]))
    normalised = x.new_empty(x.shape)
    rows, state = x.shape
    block = triton.next_power_of_2(state)
    _add_norm_kernel[(rows,)](
        normalised,
        x,
        x if added is None else added,
        norm.weight,
        norm.bias,
        state,
        LAYER_NORM_EPSILON,
        added is not None,
        block,
        num_warps=_warps_for(block),
    )
    return normalised


def reach(positions: Tensor, rows: Rows, length: int, dtype: torch.dtype) -> None:
    """See step_functions.reach. The kernel reads what each row needs."""


def attend_to_text(
    fused: Tensor, cache: SelfCache, layer: int, positions: Tensor, rows: Rows, reach: Tensor | None, num_heads: int
) -> Tensor:
    """See step_functions.attend_to_text. reach: not used."""
    _assert_contiguous(fused)
    numbers, first, are_listed = _numbers(rows, positions)
    keys, values = cache.keys[layer], cache.values[layer]
    count, state = len(fused), fused.shape[1] // 3
    head_size = state // num_heads
    mixed = fused.new_empty((count, state))
    _attend_to_text_kernel[(count, num_heads)](
        mixed,
        fused,
        keys,
        values,
        positions,
        numbers,
        first,
        keys.stride(0),
        keys.stride(1),
        state,
        _LOG2_E * head_size**-0.5,
        are_listed,
        head_size,
        triton.next_power_of_2(head_size),
        _TEXT_BLOCK,
        num_warps=_TEXT_WARPS,
    )
    return mixed


def attend_to_sound(query: Tensor, cross: CrossCache, layer: int, places: Rows, rows_per_place: int) -> Tensor:
    """See step_functions.attend_to_sound."""
    assert cross.form.is_fused  # noqa: S101 - a GPU's is, so neither keys nor values are transposed
    _assert_contiguous(query)
    numbers, first, are_listed = _numbers(places, query)
    keys, values = cross.keys[layer], cross.values[layer]
    _, num_heads, num_positions, head_size = keys.shape
    mixed = query.new_empty(query.shape)
    _attend_to_sound_kernel[(len(query), num_heads)](
        mixed,
        query,
        keys,
        values,
        numbers,
        first,
        keys.stride(0),
        keys.stride(1),
        query.shape[1],
        num_positions,
        _LOG2_E * head_size**-0.5,
        rows_per_place,
        are_listed,
        head_size,
        triton.next_power_of_2(head_size),
        _SOUND_BLOCK,
        num_warps=_SOUND_WARPS,
    )
    return mixed


TRITON_FUNCTIONS = StepFunctions("triton", embed, reach, add_norm, attend_to_text, attend_to_sound)


def _numbers(rows: Rows, unused: Tensor) -> tuple[Tensor, int, bool]:
    """As the kernels take them: a tensor of numbers, or the first of successive ones, and whether it is the tensor."""
    _assert_contiguous(*([rows] if isinstance(rows, Tensor) else []))
    return (rows, 0, True) if isinstance(rows, Tensor) else (unused, rows.start or 0, False)


def _assert_contiguous(*tensors: Tensor) -> None:
    assert all(tensor.is_contiguous() for tensor in tensors)  # noqa: S101 - or a kernel would read others


def _warps_for(block: int) -> int:
    return min(max(block // (_ELEMENTS_A_THREAD * _THREADS_A_WARP), 1), _MOST_WARPS)


# In the kernels, parameters that end in `_block` are powers of two, at least as large as what they cover.


@_jit
def _embed_kernel(
    x: tl.tensor,
    token_embedding: tl.tensor,
    positional_embedding: tl.tensor,
    tokens: tl.tensor,
    positions: tl.tensor,
    rows: tl.tensor,
    first: tl.tensor,
    state: tl.tensor,
    are_listed: tl.constexpr,
    state_block: tl.constexpr,
) -> None:
    """A program for each row."""
    place = tl.program_id(0)
    row = tl.load(rows + place) if are_listed else first + place
    token = tl.load(tokens + row).to(tl.int64)
    position = tl.load(positions + row).to(tl.int64)
    column = tl.arange(0, state_block)
    is_there = column < state
    of_token = tl.load(token_embedding + token * state + column, mask=is_there).to(tl.float32)
    of_position = tl.load(positional_embedding + position * state + column, mask=is_there).to(tl.float32)
    tl.store(x + place * state + column, (of_token + of_position).to(x.dtype.element_ty), mask=is_there)


@_jit
def _add_norm_kernel(
    normalised: tl.tensor,
    x: tl.tensor,
    added: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    state: tl.tensor,
    epsilon: tl.tensor,
    is_added: tl.constexpr,
    state_block: tl.constexpr,
) -> None:
    """A program for each row."""
    dtype = x.dtype.element_ty
    column = tl.arange(0, state_block)
    is_there = column < state
    here = tl.program_id(0) * state + column
    row = tl.load(x + here, mask=is_there, other=0.0).to(tl.float32)
    if is_added:
        # Rounded first, as torch normalises what it has stored.
        rounded = (row + tl.load(added + here, mask=is_there, other=0.0).to(tl.float32)).to(dtype)
        tl.store(x + here, rounded, mask=is_there)
        row = rounded.to(tl.float32)
    mean = tl.sum(row, axis=0) / state
    centred = tl.where(is_there, row - mean, 0.0)
    variance = tl.sum(centred * centred, axis=0) / state
    scale = tl.load(weight + column, mask=is_there, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=is_there, other=0.0).to(tl.float32)
    result = centred * (1.0 / tl.sqrt(variance + epsilon)) * scale + shift
    tl.store(normalised + here, result.to(dtype), mask=is_there)


@triton.jit
def _attend_to_tile(
    query: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    start: tl.tensor,
    end: tl.tensor,
    top: tl.tensor,
    total: tl.tensor,
    mixed: tl.tensor,
    column: tl.tensor,
    head_size: tl.constexpr,
    positions_block: tl.constexpr,
) -> tl.tensor:
    """One turn of the loop over positions: `top`, `total` and `mixed` with those from start on, up to `end`.

    Every place of the tile has its own softmax, of each positions_block-th position, so that turns need no reduction
    between warps; they are joined after the last.

    query: (1, head size), scaled for exp2. keys, values: (positions, head size) of one head. top, total:
    (positions_block,), the largest score and the sum of exp2(score - top). mixed: (positions_block, head size), the sum
    of exp2(score - top) * value.
    """
    position = start + tl.arange(0, positions_block)
    is_read = (position < end)[:, None] & (column < head_size)[None, :]
    here = position[:, None] * head_size + column[None, :]
    key = tl.load(keys + here, mask=is_read, other=0.0).to(tl.float32)
    value = tl.load(values + here, mask=is_read, other=0.0).to(tl.float32)
    score = tl.where(position < end, tl.sum(query * key, axis=1), _LOWEST)
    new_top = tl.maximum(top, score)
    shrink = tl.exp2(top - new_top)
    weight = tl.where(position < end, tl.exp2(score - new_top), 0.0)
    return new_top, total * shrink + weight, mixed * shrink[:, None] + weight[:, None] * value


@_jit
def _attend_to_text_kernel(
    mixed: tl.tensor,
    fused: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    positions: tl.tensor,
    rows: tl.tensor,
    first: tl.tensor,
    row_stride: tl.tensor,
    head_stride: tl.tensor,
    state: tl.tensor,
    scale: tl.tensor,
    are_listed: tl.constexpr,
    head_size: tl.constexpr,
    head_block: tl.constexpr,
    positions_block: tl.constexpr,
) -> None:
    """A program for each row and head.

    The row's own key and value are stored for later steps, but used as they are here: what a program has written, its
    other threads could read only after a barrier.
    """
    place, head = tl.program_id(0), tl.program_id(1)
    row = (tl.load(rows + place) if are_listed else first + place).to(tl.int64)
    position = tl.load(positions + row).to(tl.int32)
    keys += row * row_stride + head * head_stride
    values += row * row_stride + head * head_stride
    column = tl.arange(0, head_block)
    is_there = column < head_size
    fused += place * 3 * state + head * head_size + column
    query = tl.load(fused, mask=is_there, other=0.0).to(tl.float32) * scale
    own_key = tl.load(fused + state, mask=is_there, other=0.0)
    own_value = tl.load(fused + 2 * state, mask=is_there, other=0.0)
    tl.store(keys + position * head_size + column, own_key, mask=is_there)
    tl.store(values + position * head_size + column, own_value, mask=is_there)

    top = tl.full((positions_block,), _LOWEST, tl.float32)
    total = tl.zeros((positions_block,), tl.float32)
    sums = tl.zeros((positions_block, head_block), tl.float32)
    for start in range(0, position, positions_block):
        top, total, sums = _attend_to_tile(
            query[None, :], keys, values, start, position, top, total, sums, column, head_size, positions_block
        )

    own_score = tl.sum(query * own_key.to(tl.float32), axis=0)
    new_top = tl.maximum(tl.max(top, axis=0), own_score)
    shrink = tl.exp2(top - new_top)
    own_weight = tl.exp2(own_score - new_top)
    result = tl.sum(sums * shrink[:, None], axis=0) + own_weight * own_value.to(tl.float32)
    result = result / (tl.sum(total * shrink, axis=0) + own_weight)
    tl.store(mixed + place * state + head * head_size + column, result.to(mixed.dtype.element_ty), mask=is_there)


@_jit
def _attend_to_sound_kernel(
    mixed: tl.tensor,
    query: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    places: tl.tensor,
    first: tl.tensor,
    place_stride: tl.tensor,
    head_stride: tl.tensor,
    state: tl.tensor,
    num_positions: tl.tensor,
    scale: tl.tensor,
    rows_per_place: tl.tensor,
    are_listed: tl.constexpr,
    head_size: tl.constexpr,
    head_block: tl.constexpr,
    positions_block: tl.constexpr,
) -> None:
    """A program for each row and head."""
    row, head = tl.program_id(0), tl.program_id(1)
    number = row // rows_per_place
    place = (tl.load(places + number) if are_listed else first + number).to(tl.int64)
    keys += place * place_stride + head * head_stride
    values += place * place_stride + head * head_stride
    column = tl.arange(0, head_block)
    is_there = column < head_size
    here = row * state + head * head_size + column
    scaled = tl.load(query + here, mask=is_there, other=0.0).to(tl.float32) * scale

    top = tl.full((positions_block,), _LOWEST, tl.float32)
    total = tl.zeros((positions_block,), tl.float32)
    sums = tl.zeros((positions_block, head_block), tl.float32)
    for start in range(0, num_positions, positions_block):
        top, total, sums = _attend_to_tile(
            scaled[None, :], keys, values, start, num_positions, top, total, sums, column, head_size, positions_block
        )

    shrink = tl.exp2(top - tl.max(top, axis=0))
    result = tl.sum(sums * shrink[:, None], axis=0) / tl.sum(total * shrink, axis=0)
    tl.store(mixed + here, result.to(mixed.dtype.element_ty), mask=is_there)
