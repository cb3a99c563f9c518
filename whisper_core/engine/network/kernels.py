"""Which routines compute a model's products, and in which form the keys and values of the cross-attention are kept.

What is fastest depends on the processor, so several are tried with the model's own dimensions when it is loaded, and
one line of the log tells which were chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from whisper.model import ModelDimensions, Whisper

from errors import EngineError
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import CrossForm
from whisper_core.engine.network.encoder_attention import Attend, attend, attend_in_bf16, attend_in_bf16_blocks
from whisper_core.engine.network.int8 import Int8Linear, Int8Matrix, int8_libraries
from whisper_core.engine.network.linear import MakeLinear, MakeMatrix, PackedMatrix, PlainMatrix, can_pack, linear
from whisper_core.engine.network.measuring import Choice, fastest
from whisper_core.engine.network.projection import CpuProjection, Int8Projection, MakeProjection, PlainProjection

log = logging.getLogger(__name__)

_HEADS_TO_MEASURE = 6
_ROWS_OF_STEPS = (1, 16, 2, 9)  # in turn, because a library may set itself up anew for another number of rows
_READ_BYTES = 64 * 2**20  # more than the processor's caches hold

_ATTENTIONS: Mapping[str, Attend] = {"fp32": attend, "bf16": attend_in_bf16, "bf16_blocks": attend_in_bf16_blocks}
_GPU_FORM = CrossForm(are_keys_transposed=False, are_values_transposed=False, is_fused=True)
_IS_TRANSPOSED = {"rows": False, "columns": True}


@dataclass(frozen=True)
class Kernels:
    encoder_matrix: MakeMatrix
    encoder_attention: Attend
    cross_form: CrossForm
    projection: MakeProjection  # into this form
    decoder_matrix: MakeLinear


def exact_kernels(model: Whisper) -> Kernels:
    """Those of openai-whisper's precision: fp32 on a CPU; on a GPU fp16."""
    weight = _sample(model)
    if weight.device.type != "cpu":
        return gpu_kernels()
    make_matrix, matrix = fastest_encoder_matrix(weight, model.dims.n_audio_ctx)
    form, choices = _fastest_form(model.dims)
    _log_choices("fp32", encoder=matrix, **choices)
    return Kernels(make_matrix, attend, form, partial(CpuProjection, make_matrix, form), linear)


def gpu_kernels() -> Kernels:
    return Kernels(PlainMatrix, attend, _GPU_FORM, PlainProjection, linear)


def int8_kernels(model: Whisper) -> Kernels:
    """int8 products for all matrices but the convolutions', and attention in bf16 where that is faster.

    Raises EngineError on a GPU, and where torch has no library for int8.
    """
    if model.device.type != "cpu" or not int8_libraries():
        raise EngineError("This device cannot compute int8 models.")
    library = _fastest_encoder_library(_sample(model), model.dims.n_audio_ctx)
    decoder_library = _fastest_decoder_library(_sample(model))
    attention = _fastest_attention(model.dims)
    form, choices = _fastest_form(model.dims)
    _log_choices("int8", encoder=library, decoder=decoder_library, attention=attention, **choices)
    return Kernels(
        encoder_matrix=partial(Int8Matrix, library.name),
        encoder_attention=_ATTENTIONS[attention.name],
        cross_form=form,
        projection=partial(Int8Projection, library.name, form),
        decoder_matrix=partial(Int8Linear, decoder_library.name),
    )


def fastest_encoder_matrix(sample: Tensor, positions: int) -> tuple[MakeMatrix, Choice]:
    """What makes the encoder's matrices in openai-whisper's precision, to be multiplied with `positions` rows.

    sample: the weight of one of them, to be tried with.
    """
    makers: dict[str, MakeMatrix] = {"plain": PlainMatrix}
    if can_pack(sample):
        makers["packed"] = partial(PackedMatrix.of, positions)
    bias, rows = sample.new_zeros(len(sample)), torch.randn(positions, sample.shape[1])
    choice = fastest({name: partial(make(sample, bias), rows) for name, make in makers.items()}, sample.shape[1])
    return makers[choice.name], choice


def _fastest_encoder_library(sample: Tensor, positions: int) -> Choice:
    rows = torch.randn(positions, sample.shape[1])
    ways = {library: partial(Int8Matrix(library, sample, None), rows) for library in int8_libraries()}
    return fastest(ways, sample.shape[1])


def _fastest_decoder_library(sample: Tensor) -> Choice:
    steps = [torch.randn(rows, sample.shape[1]) for rows in _ROWS_OF_STEPS]
    ways = {library: partial(_multiply_each, Int8Linear(library, sample, None), steps) for library in int8_libraries()}
    return fastest(ways, sample.shape[1])


def _multiply_each(linear: Int8Linear, steps: Sequence[Tensor]) -> Tensor:
    return torch.cat([linear(rows) for rows in steps])


def _fastest_attention(dims: ModelDimensions) -> Choice:
    heads, size = min(_HEADS_TO_MEASURE, dims.n_audio_head), dims.n_audio_state // dims.n_audio_head
    parts = torch.randn(3, 1, heads, dims.n_audio_ctx, size)
    return fastest({name: partial(way, *parts) for name, way in _ATTENTIONS.items()}, dims.n_audio_state)


def _fastest_form(dims: ModelDimensions) -> tuple[CrossForm, dict[str, Choice]]:
    """Keys and values are each read once, by a token of as many windows as the processor's caches cannot hold."""
    heads, size = dims.n_text_head, dims.n_text_state // dims.n_text_head
    windows = -(-_READ_BYTES // (dims.n_audio_ctx * dims.n_text_state * torch.float32.itemsize))
    memory = torch.ones(1, windows, heads, dims.n_audio_ctx * size)
    query = torch.ones(windows, heads, 1, size)
    weights = torch.ones(windows, heads, 1, dims.n_audio_ctx)

    def cache(is_transposed: bool) -> CrossCache:
        kept = memory.view(1, windows, heads, *((size, -1) if is_transposed else (-1, size)))
        return CrossCache(kept, kept, CrossForm(is_transposed, is_transposed))

    caches = {name: cache(is_transposed) for name, is_transposed in _IS_TRANSPOSED.items()}
    of_keys = {name: partial(caches[name].scores, 0, query) for name in ("rows", "columns")}
    of_values = {name: partial(caches[name].mixed, 0, weights) for name in ("columns", "rows")}
    choices = {name: fastest(ways, dims.n_text_state) for name, ways in (("keys", of_keys), ("values", of_values))}
    return CrossForm(*(_IS_TRANSPOSED[choice.name] for choice in choices.values())), choices


def _sample(model: Whisper) -> Tensor:
    """One of the largest of the encoder's weights."""
    sample: Tensor = model.encoder.blocks[0].mlp[0].weight.detach()
    return sample


def _log_choices(precision: str, **choices: Choice) -> None:
    parts = []
    for what, choice in choices.items():
        parts.append(f"{what}={choice.name}")
        if choice.milliseconds:
            parts.append(f"{what}_ms=" + ",".join(f"{name}:{each:.2f}" for name, each in choice.milliseconds.items()))
    log.info("event=kernels_chosen precision=%s %s", precision, " ".join(parts))
