"""The rules for all rows at once forbid what openai-whisper's logit filters forbid one row after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from whisper.decoding import DecodingOptions, DecodingTask

from tests.whisper_core.toy_model import toy_model
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.search import likeliest, logprob_of
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.loaded_model import LoadedModel

ROWS = 48
PROMPT = 7  # tokens


def begin(state: RowState, rules: TokenRules, prompt_length: int, max_tokens: int, temperature: float = 0.0) -> None:
    """All rows of the state."""
    state.begin(
        slice(None),
        prompt_length=prompt_length,
        max_tokens=max_tokens,
        temperature=temperature,
        timestamp_begin=rules.timestamp_begin,
        no_speech_prob=torch.tensor(0.0),
    )


class Rules:
    """Both sides for one kind of model."""

    def __init__(self, is_multilingual: bool, suppress_tokens: str = "-1") -> None:
        model = toy_model(is_multilingual=is_multilingual)
        options = DecodingOptions(language="en", prompt=[100] * PROMPT, fp16=False, suppress_tokens=suppress_tokens)
        self.upstream = DecodingTask(model, options)
        self.tokenizer: Any = self.upstream.tokenizer
        self.ours = TokenRules.of(self.tokenizer, model.dims.n_audio_ctx, model.device, suppress_tokens)
        self.dims = LoadedModel(model).decoder.dims
        self.vocabulary = model.dims.n_vocab

    def begun(self, rows: int, max_tokens: int = 1000) -> RowState:
        state = RowState.empty(self.dims, rows)
        begin(state, self.ours, len(self.upstream.initial_tokens), max_tokens)
        return state

    def commit(self, state: RowState, choice: Tensor, logprob: Tensor) -> None:
        state.commit(choice, logprob, self.ours.timestamp_begin, self.ours.eot)

    def filter_by_upstream(self, logits: Tensor, sampled: Sequence[Sequence[int]]) -> None:
        """In place, each row by itself, since upstream's rows are equally long."""
        for row, history in enumerate(sampled):
            tokens = torch.tensor([[*self.upstream.initial_tokens, *history]])
            for rule in self.upstream.logit_filters:
                rule.apply(logits[row : row + 1], tokens)


@pytest.fixture(scope="module", params=[True, False], ids=["multilingual", "english"])
def rules(request: pytest.FixtureRequest) -> Rules:
    return Rules(request.param)


def random_logits(rules: Rules, generator: torch.Generator, rows: int = ROWS) -> Tensor:
    """Of rows that like timestamps and of rows that do not, flat ones and sharp ones."""
    sharpness = torch.rand(rows, 1, generator=generator) * 4
    logits = torch.randn(rows, rules.vocabulary, generator=generator) * sharpness
    logits[:, rules.ours.timestamp_begin :] += torch.randn(rows, 1, generator=generator) * 6
    logits[:, rules.ours.eot] += torch.randn(rows, generator=generator) * 6
    return logits


def random_history(rules: Rules, generator: torch.Generator) -> list[int]:
    """Up to nine tokens, whether the rules would have allowed them or not, the end token excepted."""

    def below(limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=generator))

    begin = rules.ours.timestamp_begin
    kinds = (
        lambda: below(rules.ours.eot),
        lambda: begin + below(rules.vocabulary - begin),
        lambda: rules.vocabulary - 1,  # the last timestamp
        lambda: begin,
        lambda: rules.ours.eot + 1 + below(begin - rules.ours.eot - 1),  # special tokens
    )
    weights = torch.tensor([4.0, 4.0, 1.0, 1.0, 1.0])
    chosen = torch.multinomial(weights, 9, replacement=True, generator=generator)
    return [kinds[int(kind)]() for kind in chosen[: below(10)]]


@pytest.mark.parametrize("seed", range(4))
def test_any_history(rules: Rules, seed: int) -> None:
    assert_filtered_as_upstream(rules, seed)


@pytest.mark.parametrize("suppress_tokens", ["", "11", "13,0,50255", "-1,262,290"])
@pytest.mark.parametrize("is_multilingual", [True, False])
def test_any_suppressed_tokens(is_multilingual: bool, suppress_tokens: str) -> None:
    assert_filtered_as_upstream(Rules(is_multilingual, suppress_tokens), 0)


def assert_filtered_as_upstream(rules: Rules, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    histories = [random_history(rules, generator) for _ in range(ROWS)]
    state = rules.begun(ROWS)
    for row, history in enumerate(histories):
        for token in history:
            rules.commit(state.rows(row, 1), torch.tensor([token]), torch.tensor([0.0]))
    ours = random_logits(rules, generator)
    expected = ours.clone()
    rules.ours.apply(ours, state)
    rules.filter_by_upstream(expected, histories)
    for row, history in enumerate(histories):
        assert torch.equal(ours[row], expected[row]), history


@pytest.mark.parametrize("seed", range(3))
def test_whole_windows_are_sampled_as_upstream_samples_them(rules: Rules, seed: int) -> None:
    """Rows end at different times, say no more afterwards, and keep their logprob."""
    generator = torch.Generator().manual_seed(seed)
    upstream, state = rules.upstream, rules.begun(ROWS)
    tokens = torch.tensor([upstream.initial_tokens] * ROWS)
    sum_logprobs = torch.zeros(ROWS)
    for _ in range(12):
        logits = random_logits(rules, generator)
        expected = logits.clone()
        rules.ours.apply(logits, state)
        choice = likeliest(logits)
        rules.commit(state, choice, logprob_of(choice, logits))
        for rule in upstream.logit_filters:
            rule.apply(expected, tokens)
        tokens, _ = upstream.decoder.update(tokens, expected, sum_logprobs)
    sampled = tokens[:, len(upstream.initial_tokens) :]
    has_ended = (sampled == rules.ours.eot).any(dim=1)
    assert 0 < int(has_ended.sum()) < ROWS
    length = torch.where(has_ended, (sampled == rules.ours.eot).int().argmax(dim=1) + 1, sampled.shape[1])
    assert state.sampled.num_sampled.tolist() == length.tolist()
    for row in range(ROWS):
        assert torch.equal(state.sampled.tokens[row, : length[row]], sampled[row, : length[row]])
    assert torch.equal(state.sampled.is_active.bool(), ~has_ended)
    torch.testing.assert_close(state.sampled.sum_logprob, sum_logprobs)
    assert torch.equal(state.position, len(upstream.initial_tokens) - 1 + length)


def test_a_row_ends_when_it_may_sample_no_more_tokens(rules: Rules) -> None:
    state = rules.begun(2, max_tokens=3)
    for token in (rules.ours.timestamp_begin, 5, 6, 7):
        rules.commit(state, torch.tensor([token, token]), torch.tensor([-1.0, -2.0]))
    assert state.sampled.tokens[0, :4].tolist() == [rules.ours.timestamp_begin, 5, 6, rules.ours.eot]
    assert state.sampled.num_sampled.tolist() == [3, 3]
    assert state.sampled.sum_logprob.tolist() == [-3.0, -6.0]
    assert not state.sampled.is_active.any()
