"""All rows' tokens are chosen as they were one search after the other, with the same bits."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from tests.whisper_core.engine.decoding.test_token_rules import Rules, begin, random_history, random_logits
from whisper_core.engine.decoding.choosing import Sampling, choose
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.search import likeliest, logprob_of, sample

ROWS = 12
TEMPERATURES = (0.0, 0.2, 0.6, 1.0)


@pytest.fixture(scope="module", params=[True, False], ids=["multilingual", "english"])
def rules(request: pytest.FixtureRequest) -> Rules:
    return Rules(request.param)


def some_state(rules: Rules, generator: Generator, rows: int = ROWS) -> RowState:
    """Rows with histories of all kinds, some of which have ended."""
    state = rules.begun(rows)
    for row in range(rows):
        for token in random_history(rules, generator):
            rules.commit(state.rows(row, 1), torch.tensor([token]), torch.tensor([-0.5]))
    state.tokens_left[1::3] = 1
    state.sampled.is_active[::5] = 0
    return state


def copy_of(state: RowState) -> RowState:
    return state.at(torch.arange(len(state.token)))


def assert_same_states(one: RowState, other: RowState, rows: slice | Tensor = slice(None)) -> None:
    for ours, theirs in zip(one.at(rows).tensors(), other.at(rows).tensors(), strict=True):
        assert torch.equal(ours, theirs)


def noise_of(seeds: list[int], width: int) -> Tensor:
    """Each row's as `search.sample` draws it."""
    drawn = [torch.empty(1, width).exponential_(generator=Generator().manual_seed(seed)) for seed in seeds]
    return torch.cat(drawn)


@pytest.mark.parametrize("seed", range(3))
def test_the_likeliest_of_the_first_rows(rules: Rules, seed: int) -> None:
    generator = Generator().manual_seed(seed)
    expected = some_state(rules, generator)
    logits = random_logits(rules, generator, ROWS - 2)
    state, filtered, first = copy_of(expected), logits.clone(), expected.rows(0, ROWS - 2)
    rules.ours.apply(filtered, first)
    choice = likeliest(filtered)
    rules.commit(first, choice, logprob_of(choice, filtered))
    choose(logits, rules.ours, state, slice(0, ROWS - 2), None)
    assert_same_states(state, expected)


@pytest.mark.parametrize("seed", range(3))
def test_samples_beside_the_likeliest(rules: Rules, seed: int) -> None:
    generator = Generator().manual_seed(seed)
    expected = some_state(rules, generator)
    expected.temperature.copy_(torch.tensor(TEMPERATURES).repeat(ROWS // len(TEMPERATURES)))
    logits = random_logits(rules, generator, ROWS)
    state, filtered = copy_of(expected), logits.clone()
    rules.ours.apply(filtered, expected)
    choice = filtered.argmax(dim=-1)
    for row in range(ROWS):
        temperature = TEMPERATURES[row % len(TEMPERATURES)]
        if temperature > 0:
            choice[row] = sample(filtered[row : row + 1], temperature, Generator().manual_seed(row))[0]
    rules.commit(expected, choice, logprob_of(choice, filtered))
    noise = noise_of(list(range(ROWS)), rules.vocabulary)
    noise[:: len(TEMPERATURES)] = torch.nan  # of rows at temperature 0
    choose(logits, rules.ours, state, slice(0, ROWS), Sampling(noise))
    assert_same_states(state, expected)


@pytest.mark.parametrize("is_sampled", [False, True])
def test_rows_anywhere(rules: Rules, is_sampled: bool) -> None:
    """As the first rows, which hold the same; the others stay as they are, except one that is named twice."""
    generator = Generator().manual_seed(7)
    state = some_state(rules, generator)
    if is_sampled:
        state.temperature[::2] = 0.7
    numbers = torch.tensor([9, 2, 4, 11, 11])
    logits = random_logits(rules, generator, len(numbers))
    sampling = Sampling(noise_of([1, 2, 3, 4, 5, 6], rules.vocabulary)) if is_sampled else None
    expected, before = state.at(numbers), copy_of(state)
    choose(logits.clone(), rules.ours, expected, slice(0, len(numbers)), sampling)
    choose(logits, rules.ours, state, numbers, sampling)
    assert_same_states(state.at(numbers[:3]), expected, slice(0, 3))
    assert_same_states(state, before, torch.tensor([0, 1, 3, 5, 6, 7, 8, 10]))


def test_logits_in_fp16_are_computed_in_fp32(rules: Rules) -> None:
    generator = Generator().manual_seed(3)
    state = some_state(rules, generator)
    expected, halves = copy_of(state), random_logits(rules, generator, ROWS).half()
    choose(halves.float(), rules.ours, expected, slice(0, ROWS), None)
    choose(halves, rules.ours, state, slice(0, ROWS), None)
    assert_same_states(state, expected)


def test_a_row_s_temperature_is_0_until_it_is_told(rules: Rules) -> None:
    state = rules.begun(2)
    begin(state.rows(1, 1), rules.ours, 4, 10, temperature=0.4)
    assert state.temperature.tolist() == pytest.approx([0.0, 0.4])
    begin(state.rows(1, 1), rules.ours, 4, 10)
    assert state.temperature.tolist() == [0.0, 0.0]


def test_not_a_number_chooses_some_token_of_the_vocabulary(rules: Rules) -> None:
    state = rules.begun(2)
    logits = torch.full((2, rules.vocabulary), torch.nan)
    choose(logits, rules.ours, state, slice(0, 2), None)
    assert ((state.token >= 0) & (state.token < rules.vocabulary)).all()
