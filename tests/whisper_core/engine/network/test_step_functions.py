"""A step computes what a prompt's pass computes, wherever its rows and their windows lie."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.whisper_core.engine.driving import toy
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt, run_step
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS

ROUNDING = 1e-4  # products of fewer rows add in another order
PROMPTS = (7, 1, 4, 9)  # tokens that each row has read; the latest is fed by the step


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return LoadedModel(toy())


def random_cross(model: LoadedModel, slots: int) -> CrossCache:
    cross = CrossCache.empty(model.decoder.dims, slots)
    generator = torch.Generator().manual_seed(1)
    for tensor in (cross.keys, cross.values):
        tensor.normal_(generator=generator)
    return cross


def step(
    model: LoadedModel, rows: slice | Tensor, places: slice | Tensor, numbers: list[int], slots: list[int]
) -> tuple[Tensor, Tensor]:
    """The step's logits, and those expected. numbers, slots: where each row of PROMPTS and its window really lie."""
    layers, cross, cache = model.decoder.layers, random_cross(model, 6), SelfCache.empty(model.decoder.dims, 8)
    for tensor in (cache.keys, cache.values):
        tensor.fill_(torch.nan)
    tokens, positions = torch.zeros(2, 8, dtype=torch.int64)
    expected = []
    for number, slot, length in zip(numbers, slots, PROMPTS, strict=True):
        cache.rows(number, 1).clear()
        prompt = torch.arange(100, 100 + length)
        read = run_prompt(layers, prompt[None], cross.slots(slot), wanted=torch.tensor([[length - 1]]))
        expected.append(layers.logits(read[0])[0])
        if length > 1:
            run_prompt(layers, prompt[None, :-1], cross.slots(slot), cache, rows=slice(number, number + 1))
        tokens[number], positions[number] = prompt[-1], length - 1
    width = len(numbers) // len(dict.fromkeys(slots))
    logits = run_step(layers, TORCH_FUNCTIONS, tokens, positions, rows, places, width, max(PROMPTS), cross, cache)
    return logits, torch.stack(expected)


def test_the_first_rows(model: LoadedModel) -> None:
    logits, expected = step(model, slice(0, 4), slice(0, 4), [0, 1, 2, 3], [0, 1, 2, 3])
    torch.testing.assert_close(logits, expected, rtol=ROUNDING, atol=ROUNDING)


def test_any_rows_with_windows_anywhere(model: LoadedModel) -> None:
    numbers, slots = [5, 0, 7, 2], [3, 5, 0, 2]
    logits, expected = step(model, torch.tensor(numbers), torch.tensor(slots), numbers, slots)
    torch.testing.assert_close(logits, expected, rtol=ROUNDING, atol=ROUNDING)


def test_rows_that_share_a_window(model: LoadedModel) -> None:
    logits, expected = step(model, torch.tensor([6, 7, 2, 3]), torch.tensor([4, 1]), [6, 7, 2, 3], [4, 4, 1, 1])
    torch.testing.assert_close(logits, expected, rtol=ROUNDING, atol=ROUNDING)


def test_numbers_of_the_first_rows_give_the_same_bits_as_a_slice(model: LoadedModel) -> None:
    first = [0, 1, 2, 3]
    of_slices, _ = step(model, slice(0, 4), slice(0, 4), first, first)
    of_numbers, _ = step(model, torch.tensor(first), torch.tensor(first), first, first)
    assert torch.equal(of_slices, of_numbers)


def test_rows_that_are_not_asked_for_stay_as_they_are(model: LoadedModel) -> None:
    cross, cache = random_cross(model, 2), SelfCache.empty(model.decoder.dims, 4)
    cache.clear()
    tokens, positions = torch.zeros(2, 4, dtype=torch.int64)
    numbers, places = torch.tensor([2]), torch.tensor([1])
    run_step(model.decoder.layers, TORCH_FUNCTIONS, tokens, positions, numbers, places, 1, 1, cross, cache)
    assert cache.keys[:, 2, :, 0].all()
    for row in (0, 1, 3):
        assert not cache.keys[:, row].any()
        assert not cache.values[:, row].any()
