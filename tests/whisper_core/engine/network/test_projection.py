"""The cross-attention to projected keys and values, in every form that they are kept in, exact and in int8."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from tests.whisper_core.engine.driving import toy
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import CrossForm
from whisper_core.engine.network.int8 import int8_libraries
from whisper_core.engine.network.linear import PlainMatrix
from whisper_core.engine.network.projection import CpuProjection, Int8Projection, MakeProjection, PlainProjection

WINDOWS = 2
EXACT, EIGHT_BITS = 1e-6, 0.03  # of the result's norm
FUSED = CrossForm(are_keys_transposed=False, are_values_transposed=False, is_fused=True)
FORMS = [CrossForm(keys, values) for keys, values in product([False, True], repeat=2)]


@pytest.mark.parametrize(
    ("make", "form", "rounding"),
    [
        (PlainProjection, FUSED, EXACT),
        *((partial(CpuProjection, PlainMatrix, form), form, EXACT) for form in FORMS),
        *((partial(Int8Projection, int8_libraries()[0], form), form, EIGHT_BITS) for form in FORMS),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_attention_to_what_was_projected(make: MakeProjection, form: CrossForm, rounding: float, rows: int) -> None:
    dims = replace(LoadedModel(toy()).decoder.dims, layers=1, cross=form)
    generator = torch.Generator().manual_seed(1)
    key, value = torch.randn(2, dims.state, dims.state, generator=generator) * dims.state**-0.5
    bias = torch.randn(dims.state, generator=generator)
    features = torch.randn(WINDOWS, dims.audio_positions, dims.state, generator=generator)
    query = torch.randn(WINDOWS, dims.heads, rows, dims.head_size, generator=generator)
    cross = CrossCache.empty(dims, WINDOWS)
    make(key, value, bias).project(features, cross.keys[0], cross.values[0], slice(0, WINDOWS))

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.view(WINDOWS, -1, dims.heads, dims.head_size).transpose(1, 2)

    expected = F.scaled_dot_product_attention(query, heads(features @ key.t()), heads(features @ value.t() + bias))
    found = cross.attend(0, query)
    difference = found - expected.transpose(1, 2).reshape(WINDOWS, rows, -1)
    assert float(difference.norm() / expected.norm()) < rounding


def test_windows_are_written_into_any_places() -> None:
    dims = replace(LoadedModel(toy()).decoder.dims, layers=1, cross=FUSED)
    generator = torch.Generator().manual_seed(1)
    key, value = torch.randn(2, dims.state, dims.state, generator=generator)
    projection = PlainProjection(key, value, torch.ones(dims.state))
    features = torch.randn(WINDOWS, dims.audio_positions, dims.state, generator=generator)
    in_order, anywhere = CrossCache.empty(dims, WINDOWS), CrossCache.empty(dims, 5)
    anywhere.keys.zero_()
    projection.project(features, in_order.keys[0], in_order.values[0], slice(0, WINDOWS))
    projection.project(features, anywhere.keys[0], anywhere.values[0], torch.tensor([4, 1]))
    assert torch.equal(anywhere.keys[0, [4, 1]], in_order.keys[0])
    assert torch.equal(anywhere.values[0, [4, 1]], in_order.values[0])
    assert not anywhere.keys[0, [0, 2, 3]].any()


@pytest.mark.parametrize("form", [FUSED, *FORMS])
def test_slots_are_copied_gathered_and_viewed_in_every_form(form: CrossForm) -> None:
    dims = replace(LoadedModel(toy()).decoder.dims, cross=form)
    cross = CrossCache.empty(dims, 3)
    for tensor in (cross.keys, cross.values):
        tensor.normal_(generator=torch.Generator().manual_seed(1))
    other = CrossCache.empty(dims, 1)
    other.copy_from(cross.slots(2))
    query = torch.randn(1, dims.heads, 1, dims.head_size, generator=torch.Generator().manual_seed(2))
    expected = cross.slots(2).attend(0, query)
    for same in (other, cross.of_layer(0, torch.tensor([2])), cross.slots(1, 2).slots(1).clone()):
        torch.testing.assert_close(same.attend(0, query), expected)
    assert not torch.allclose(cross.slots(1).attend(0, query), expected)
