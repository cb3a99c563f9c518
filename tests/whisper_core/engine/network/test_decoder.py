"""The decoder's pass over a prompt, as a whole and at the positions that are wanted."""

from __future__ import annotations

import pytest
import torch

from tests.whisper_core.engine.driving import toy
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt
from whisper_core.engine.network.self_attention import SelfCache

ROUNDING = 1e-5  # products of fewer rows add in another order


@pytest.mark.parametrize("wanted", [[0, 6], [3, 3], [6, 0], [5]])
def test_a_prompt_is_read_the_same_where_only_some_positions_are_wanted(wanted: list[int]) -> None:
    model = LoadedModel(toy())
    cross = random_cross(model)
    tokens = torch.arange(7)[None]
    caches = [SelfCache.empty(model.decoder.dims, 1) for _ in range(2)]
    for cache in caches:
        cache.clear()  # positions that are not written to are compared, too
    everywhere = run_prompt(model.decoder.layers, tokens, cross, caches[0])
    there = run_prompt(model.decoder.layers, tokens, cross, caches[1], wanted=torch.tensor([wanted]))
    torch.testing.assert_close(there, everywhere[:, wanted], rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(caches[1].keys, caches[0].keys)
    torch.testing.assert_close(caches[1].values, caches[0].values)


def test_a_later_token_changes_nothing_at_an_earlier_position() -> None:
    model = LoadedModel(toy())
    cross, first = random_cross(model), torch.tensor([[2]])
    one, other = torch.arange(7)[None], torch.tensor([[0, 1, 2, 9, 9, 9, 9]])
    at_2 = run_prompt(model.decoder.layers, one, cross, wanted=first)
    torch.testing.assert_close(
        run_prompt(model.decoder.layers, other, cross, wanted=first), at_2, rtol=ROUNDING, atol=ROUNDING
    )
    changed = torch.tensor([[0, 9, 2, 3, 4, 5, 6]])
    assert not torch.allclose(run_prompt(model.decoder.layers, changed, cross, wanted=first), at_2)


def random_cross(model: LoadedModel) -> CrossCache:
    cross = CrossCache.empty(model.decoder.dims, 1)
    generator = torch.Generator().manual_seed(1)
    for tensor in (cross.keys, cross.values):
        tensor.normal_(generator=generator)
    return cross
