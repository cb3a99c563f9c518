"""Which routines compute a model's products. What is fastest depends on the processor, so several are tried with the
model's own dimensions when it is loaded, and one line of the log tells which were chosen.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from whisper.model import ModelDimensions, Whisper

from errors import EngineError
from whisper_core.engine.network.encoder_attention import Attend, attend, attend_in_bf16, attend_in_bf16_blocks
from whisper_core.engine.network.int8 import Int8Linear, Int8Matrix, int8_libraries
from whisper_core.engine.network.linear import MakeLinear, MakeMatrix, PackedMatrix, PlainMatrix, can_pack, linear
from whisper_core.engine.network.projection import CpuProjection, Int8Projection, MakeProjection, PlainProjection

log = logging.getLogger(__name__)

# Smaller models take too little time to be measured, and to matter.
_LEAST_STATE_TO_MEASURE = 384
_MEASUREMENTS = 3
_HOPELESS = 4.0  # times the fastest one's time, and over a second: not tried again
_WORTH_IT = 0.97  # of the first one's time: with less gain the choice would change from one load to the next
_HEADS_TO_MEASURE = 6
_ROWS_OF_STEPS = (1, 16, 2, 9)  # in turn, because a library may set itself up anew for another number of rows

_ATTENTIONS: Mapping[str, Attend] = {"fp32": attend, "bf16": attend_in_bf16, "bf16_blocks": attend_in_bf16_blocks}


@dataclass(frozen=True)
class Kernels:
    encoder_matrix: MakeMatrix
    encoder_attention: Attend
    projection: MakeProjection
    decoder_matrix: MakeLinear


@dataclass(frozen=True)
class _Choice:
    name: str
    milliseconds: Mapping[str, float]  # of every way, by name; empty when they were not measured


def exact_kernels(model: Whisper) -> Kernels:
    """Those of openai-whisper's precision: fp32 on a CPU; on a GPU fp16."""
    weight = _sample(model)
    make_matrix = encoder_matrix(weight, model.dims.n_audio_ctx)
    is_on_cpu = weight.device.type == "cpu"
    projection: MakeProjection = partial(CpuProjection, make_matrix) if is_on_cpu else PlainProjection
    return Kernels(make_matrix, attend, projection, linear)


def int8_kernels(model: Whisper) -> Kernels:
    """int8 products for all matrices but the convolutions', and attention in bf16 where that is faster.

    Raises EngineError on a GPU, and where torch has no library for int8.
    """
    if model.device.type != "cpu" or not int8_libraries():
        raise EngineError("This device cannot compute int8 models.")
    library = _fastest_encoder_library(_sample(model), model.dims.n_audio_ctx)
    decoder_library = _fastest_decoder_library(_sample(model))
    attention = _fastest_attention(model.dims)
    _log_choices("int8", encoder=library, decoder=decoder_library, attention=attention)
    return Kernels(
        encoder_matrix=partial(Int8Matrix, library.name),
        encoder_attention=_ATTENTIONS[attention.name],
        projection=partial(Int8Projection, library.name),
        decoder_matrix=partial(Int8Linear, decoder_library.name),
    )


def encoder_matrix(sample: Tensor, positions: int) -> MakeMatrix:
    """What makes the encoder's matrices in openai-whisper's precision, to be multiplied with `positions` rows.

    sample: the weight of one of them, to be tried with.
    """
    if not can_pack(sample):
        return PlainMatrix
    bias, rows = sample.new_zeros(len(sample)), torch.randn(positions, sample.shape[1])
    makers: dict[str, MakeMatrix] = {"plain": PlainMatrix, "packed": partial(PackedMatrix.of, positions)}
    choice = _fastest({name: partial(make(sample, bias), rows) for name, make in makers.items()}, sample.shape[1])
    _log_choices("fp32", layout=choice)
    return makers[choice.name]


def _fastest_encoder_library(sample: Tensor, positions: int) -> _Choice:
    rows = torch.randn(positions, sample.shape[1])
    ways = {library: partial(Int8Matrix(library, sample, None), rows) for library in int8_libraries()}
    return _fastest(ways, sample.shape[1])


def _fastest_decoder_library(sample: Tensor) -> _Choice:
    steps = [torch.randn(rows, sample.shape[1]) for rows in _ROWS_OF_STEPS]
    ways = {library: partial(_multiply_each, Int8Linear(library, sample, None), steps) for library in int8_libraries()}
    return _fastest(ways, sample.shape[1])


def _multiply_each(linear: Int8Linear, steps: Sequence[Tensor]) -> Tensor:
    return torch.cat([linear(rows) for rows in steps])


def _fastest_attention(dims: ModelDimensions) -> _Choice:
    heads, size = min(_HEADS_TO_MEASURE, dims.n_audio_head), dims.n_audio_state // dims.n_audio_head
    parts = torch.randn(3, 1, heads, dims.n_audio_ctx, size)
    return _fastest({name: partial(way, *parts) for name, way in _ATTENTIONS.items()}, dims.n_audio_state)


def _sample(model: Whisper) -> Tensor:
    """One of the largest of the encoder's weights."""
    sample: Tensor = model.encoder.blocks[0].mlp[0].weight.detach()
    return sample


def _fastest(ways: Mapping[str, Callable[[], Tensor]], state: int) -> _Choice:
    """The fastest; the first one, unless another is faster by more than a little.

    state: of the model, as are the sizes of what is computed.
    """
    first = next(iter(ways))
    if state < _LEAST_STATE_TO_MEASURE:
        return _Choice(first, {})
    seconds = dict.fromkeys(ways, math.inf)
    with torch.inference_mode():
        for _ in range(1 + _MEASUREMENTS):  # the first time each sets itself up
            slowest = max(1.0, _HOPELESS * min(seconds.values()))
            for name, way in ways.items():  # in turn, so that a change of the machine's load meets all of them
                if seconds[name] <= slowest:
                    began = time.perf_counter()
                    way()
                    seconds[name] = min(seconds[name], time.perf_counter() - began)
    best = min(ways, key=lambda name: seconds[name])
    chosen = best if seconds[best] < _WORTH_IT * seconds[first] else first
    return _Choice(chosen, {name: 1e3 * each for name, each in seconds.items()})


def _log_choices(precision: str, **choices: _Choice) -> None:
    parts = []
    for what, choice in choices.items():
        parts.append(f"{what}={choice.name}")
        if choice.milliseconds:
            parts.append(f"{what}_ms=" + ",".join(f"{name}:{each:.2f}" for name, each in choice.milliseconds.items()))
    log.info("event=kernels_chosen precision=%s %s", precision, " ".join(parts))
