"""The cross-attention's keys and values, in the layouts of the CPU and of the GPU, exact and in int8."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from tests.whisper_core.engine.driving import toy
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.int8 import int8_libraries
from whisper_core.engine.network.linear import PlainMatrix
from whisper_core.engine.network.projection import CpuProjection, Int8Projection, MakeProjection, PlainProjection

WINDOWS = 2
EXACT, EIGHT_BITS = 1e-6, 0.03  # of the result's norm


@pytest.mark.parametrize(
    ("make", "is_transposed", "rounding"),
    [
        (PlainProjection, False, EXACT),
        (partial(CpuProjection, PlainMatrix), True, EXACT),
        (partial(Int8Projection, int8_libraries()[0]), True, EIGHT_BITS),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_attention_to_what_was_projected(make: MakeProjection, is_transposed: bool, rounding: float, rows: int) -> None:
    dims = LoadedModel(toy()).dims
    generator = torch.Generator().manual_seed(1)
    key, value = torch.randn(2, dims.state, dims.state, generator=generator) * dims.state**-0.5
    bias = torch.randn(dims.state, generator=generator)
    features = torch.randn(WINDOWS, dims.audio_positions, dims.state, generator=generator)
    query = torch.randn(WINDOWS, dims.heads, rows, dims.head_size, generator=generator)
    cross = CrossCache.empty(replace(dims, layers=1), WINDOWS)
    if not is_transposed:
        cross = CrossCache(cross.keys, torch.empty_like(cross.keys), has_values_transposed=False)
    make(key, value, bias).project(features, cross.keys[0], cross.values[0])

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.view(WINDOWS, -1, dims.heads, dims.head_size).transpose(1, 2)

    expected = F.scaled_dot_product_attention(query, heads(features @ key.t()), heads(features @ value.t() + bias))
    found = cross.attend(0, query)
    difference = found - expected.transpose(1, 2).reshape(WINDOWS, rows, -1)
    assert float(difference.norm() / expected.norm()) < rounding
