"""Triton's kernel, interpreted on the CPU, chooses what torch's functions choose, and leaves the same state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from tests.properties import budget
from tests.whisper_core.engine.decoding.test_choosing import TEMPERATURES, copy_of, noise_of, some_state
from tests.whisper_core.engine.decoding.test_token_rules import Rules, random_logits
from whisper_core.engine.decoding import choosing
from whisper_core.engine.decoding.choice_check import wrong_choice
from whisper_core.engine.decoding.choosing import Sampling
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.dims import Rows
from whisper_core.engine.network.function_check import check_dims

by_triton = pytest.importorskip("whisper_core.engine.decoding.triton_choosing", exc_type=ImportError)

# Of the interpreter, which computes with numpy: a sum of nothing has the logarithm minus infinity.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")

CPU = torch.device("cpu")
ROWS = 8
SUM_TOLERANCE = 1e-5

# A vocabulary small enough to reach everything in, and to have ties.
EOT, BEGIN, VOCABULARY = 30, 34, 50


@pytest.fixture(scope="module", params=[True, False], ids=["multilingual", "english"])
def rules(request: pytest.FixtureRequest) -> Rules:
    return Rules(request.param)


def assert_chosen_as_by_torch(
    logits: Tensor, rules: TokenRules, state: RowState, rows: Rows, sampling: Sampling | None, read: int | None = None
) -> RowState:
    """Of the rows, the first `read` are compared; state is advanced by the kernel. Returns torch's."""
    torchs = copy_of(state)
    choosing.choose(logits.clone(), rules, torchs, rows, sampling)
    by_triton.choose(logits, rules, state, rows, sampling)
    compared = rows[:read] if isinstance(rows, Tensor) else rows
    mine, theirs = state.at(compared), torchs.at(compared)
    torch.testing.assert_close(
        mine.sampled.sum_logprob, theirs.sampled.sum_logprob, rtol=0, atol=SUM_TOLERANCE, equal_nan=True
    )
    assert mine.token.tolist() == theirs.token.tolist()
    mine, theirs = copy_of(mine), copy_of(theirs)
    for each in (mine, theirs):
        each.sampled.sum_logprob.zero_()
    for ours, expected in zip(mine.tensors(), theirs.tensors(), strict=True):
        assert torch.equal(ours, expected)
    return torchs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("is_sampled", [True, False])
def test_any_history(rules: Rules, dtype: torch.dtype, is_sampled: bool) -> None:
    generator = Generator().manual_seed(5)
    state = some_state(rules, generator, ROWS)
    state.temperature.copy_(torch.tensor(TEMPERATURES).repeat(2))
    noise = noise_of(list(range(ROWS)), rules.vocabulary)
    noise[:: len(TEMPERATURES)] = torch.nan  # of rows at temperature 0
    sampling = Sampling(noise) if is_sampled else None
    logits = random_logits(rules, generator, ROWS).to(dtype)
    assert_chosen_as_by_torch(logits, rules.ours, state, slice(0, ROWS), sampling)


def test_whole_windows(rules: Rules) -> None:
    """From the first token on, rows that end at different times; some sampled."""
    generator = Generator().manual_seed(8)
    state = rules.begun(ROWS, max_tokens=5)
    state.temperature[::3] = 0.8
    for _ in range(6):
        noise = torch.empty(ROWS, rules.vocabulary).exponential_(generator=generator)
        logits = random_logits(rules, generator, ROWS)
        assert_chosen_as_by_torch(logits, rules.ours, state, slice(0, ROWS), Sampling(noise))
    assert not state.sampled.is_active.any()
    assert len(set(state.sampled.num_sampled.tolist())) > 1


def test_rows_anywhere(rules: Rules) -> None:
    """The last ones stand for padding, whose row nobody reads; the rows between stay as they are."""
    generator = Generator().manual_seed(7)
    state = some_state(rules, generator, ROWS)
    before, rows = copy_of(state), torch.tensor([6, 2, 4, 7, 7])
    logits = random_logits(rules, generator, len(rows))
    assert_chosen_as_by_torch(logits, rules.ours, state, rows, None, read=3)
    for ours, expected in zip(state.tensors(), before.tensors(), strict=True):
        assert torch.equal(ours[[0, 1, 3, 5]], expected[[0, 1, 3, 5]])


@pytest.mark.parametrize("first", [0, 3])
def test_successive_rows(rules: Rules, first: int) -> None:
    generator = Generator().manual_seed(9)
    state = some_state(rules, generator, ROWS)
    logits = random_logits(rules, generator, 2)
    assert_chosen_as_by_torch(logits, rules.ours, state, slice(first, first + 2), None)


def small_rules(suppressed: set[int]) -> TokenRules:
    numbers = torch.tensor(sorted(suppressed))
    mask = torch.zeros(max(suppressed) + 1, dtype=torch.int8).index_fill_(0, numbers, 1)
    return TokenRules(EOT, EOT + 1, BEGIN, numbers, mask, "", largest_first=3)


def small_state(rows: int) -> RowState:
    """Nothing has been sampled yet."""
    state = RowState.empty(check_dims(CPU), rows)
    state.begin(
        slice(None),
        prompt_length=4,
        max_tokens=9,
        temperature=0.0,
        timestamp_begin=BEGIN,
        no_speech_prob=torch.tensor(0.25),
    )
    return state


@st.composite
def small_rows(draw: st.DrawFn) -> RowState:
    """Six rows in any state that the rules look at, also in some that no history leads to."""
    rows = 6
    state = small_state(rows)

    def each(values: st.SearchStrategy[Any]) -> Tensor:
        return torch.tensor(draw(st.lists(values, min_size=rows, max_size=rows)))

    state.was_timestamp.copy_(each(st.booleans()))
    state.was_timestamp_before.copy_(each(st.booleans()))
    state.last_timestamp.copy_(each(st.integers(BEGIN - 1, VOCABULARY - 1)))
    state.tokens_left.copy_(each(st.integers(1, 2)))
    state.temperature.copy_(each(st.sampled_from([0.0, 0.3, 1.0])))
    state.sampled.num_sampled.copy_(each(st.sampled_from([0, 1, 2, 200])))
    state.sampled.is_active.copy_(each(st.sampled_from([1, 1, 1, 0])))
    return state


@given(
    state=small_rows(),
    suppressed=st.sets(st.integers(0, VOCABULARY - 1), min_size=1, max_size=VOCABULARY),
    seed=st.integers(0, 10_000),
    spread=st.integers(1, 9),
    is_sampled=st.booleans(),
)
@budget(20)
def test_any_state_with_any_suppressed_tokens(
    state: RowState, suppressed: set[int], seed: int, spread: int, is_sampled: bool
) -> None:
    """Logits are whole numbers, so there are ties; in some states nothing at all is allowed."""
    rows, generator = len(state.token), Generator().manual_seed(seed)
    logits = torch.randint(0, spread, (rows, VOCABULARY), generator=generator).float()
    noise = torch.empty(rows, VOCABULARY).exponential_(generator=generator)
    sampling = Sampling(noise) if is_sampled else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_triton, "_BLOCK", 16)  # so that there are several, as of a real vocabulary
        assert_chosen_as_by_torch(logits, small_rules(suppressed), state, slice(0, rows), sampling)


def small_begun(rows: int) -> RowState:
    """After one token of text."""
    state = small_state(rows)
    state.sampled.num_sampled.fill_(1)
    state.was_timestamp.fill_(False)
    return state


def test_of_equal_logits_the_first_token_is_chosen() -> None:
    state = small_begun(2)
    logits = torch.zeros(2, VOCABULARY)
    logits[0, [5, 13, 21]] = 50.0  # at the same place of three blocks
    logits[1, [17, BEGIN + 1]] = 50.0  # the timestamps are not likelier than the text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_triton, "_BLOCK", 8)
        assert_chosen_as_by_torch(logits, small_rules({1}), state, slice(0, 2), None)
    assert state.token.tolist() == [5, 17]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("is_sampled", [True, False])
def test_what_is_no_number_chooses_some_token_of_the_vocabulary(value: float, is_sampled: bool) -> None:
    state = small_begun(3)
    state.temperature[1] = 0.5
    state.sampled.num_sampled[2] = 0
    sampling = Sampling(torch.ones(3, VOCABULARY)) if is_sampled else None
    by_triton.choose(torch.full((3, VOCABULARY), value), small_rules({1}), state, slice(0, 3), sampling)
    assert ((state.token >= 0) & (state.token < VOCABULARY)).all()
    assert state.sampled.num_sampled.tolist() == [2, 2, 1]


def test_the_check_before_use_finds_nothing_wrong_with_it() -> None:
    assert wrong_choice(by_triton.choose, CPU) is None


@pytest.mark.parametrize("spoilt", ["token", "last_timestamp", "was_timestamp", "record"])
def test_the_check_before_use_finds_a_wrong_choice(spoilt: str) -> None:
    def wrong(logits: Tensor, rules: TokenRules, state: RowState, rows: Rows, sampling: Sampling | None) -> None:
        choosing.choose(logits, rules, state, rows, sampling)
        tensor, row = getattr(state, spoilt), torch.arange(len(state.token))[rows][0]
        tensor[row] = ~tensor[row]

    assert wrong_choice(wrong, CPU) == "choose"
