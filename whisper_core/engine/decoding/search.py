"""How one window's tokens are chosen: the likeliest, one sample, the best of several samples, or beam search.

Ranking and beam search are openai-whisper's own classes; its beams are kept in Python dictionaries, so a beam step
costs the host several milliseconds a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor
from whisper.decoding import BeamSearchDecoder, Inference, MaximumLikelihoodRanker

from whisper_core.engine.decoding.row_state import SampledRows
from whisper_core.engine.decoding.sampling import drawn
from whisper_core.model_requests import Decode

Outcome = tuple[list[int], float]
"""A window's tokens without the end token, and the sum of their logprobs with it."""


class Search(Protocol):
    """The state of one decoding of one window, which takes `width` rows.

    is_greedy: `choose` would give back what it is given. is_complete: nothing is left to choose, whatever the rows say.
    may_lag: whether choosing once more does no harm when the rows have ended. sources: after `choose`, the row that
    each row continues; None when each continues itself.
    """

    width: int
    is_greedy: bool
    may_lag: bool
    is_complete: bool
    sources: list[int] | None

    def choose(self, logits: Tensor, likeliest: Tensor) -> Tensor:
        """logits: (width, vocabulary), filtered. likeliest: (width,). Gives the next tokens, (width,)."""

    def outcome(self, state: SampledRows) -> Outcome:
        """state: of the search's rows, when the search is over."""


def search_for(request: Decode, prompt: Sequence[int], eot: int, generator: Generator) -> Search:
    """What the request asks for. generator: seeded for this window and temperature."""
    settings = request.settings
    if request.temperature > 0:
        return SampleSearch(settings.best_of or 1, request.temperature, generator, eot)
    if settings.beam_size is not None:
        return BeamSearch(settings.beam_size, settings.patience, prompt, eot, generator.device)
    return GreedySearch(eot)


class GreedySearch:
    width = 1
    is_greedy = may_lag = True
    is_complete = False
    sources: list[int] | None = None

    def __init__(self, eot: int) -> None:
        self._eot = eot

    def choose(self, logits: Tensor, likeliest: Tensor) -> Tensor:
        return likeliest

    def outcome(self, state: SampledRows) -> Outcome:
        return _sampled(state, 0, self._eot), float(state.sum_logprob[0])


class SampleSearch:
    """As many samples as `width`; the one with the highest mean logprob counts."""

    is_greedy = False
    may_lag = True
    is_complete = False
    sources: list[int] | None = None

    def __init__(self, width: int, temperature: float, generator: Generator, eot: int) -> None:
        self.width = width
        self._temperature = temperature
        self._generator = generator
        self._eot = eot

    def choose(self, logits: Tensor, likeliest: Tensor) -> Tensor:
        return drawn(logits, self._temperature, self._generator)

    def outcome(self, state: SampledRows) -> Outcome:
        candidates = [_sampled(state, row, self._eot) for row in range(self.width)]
        return _best(candidates, state.sum_logprob.tolist())


class BeamSearch:
    """Drives upstream's BeamSearchDecoder, which wants the prompt in front of the tokens."""

    is_greedy = may_lag = False

    def __init__(
        self, beam_size: int, patience: float | None, prompt: Sequence[int], eot: int, device: torch.device
    ) -> None:
        self.width = beam_size
        self.is_complete = False
        self.sources: list[int] | None = None
        self._prompt_length = len(prompt)
        self._eot = eot
        self._tokens = torch.tensor([list(prompt)] * beam_size, device=device)
        self._sum_logprobs = torch.zeros(beam_size, device=device)
        self._decoder = BeamSearchDecoder(beam_size, eot, _NotedSources(self), patience)

    def choose(self, logits: Tensor, likeliest: Tensor) -> Tensor:
        self._tokens, self.is_complete = self._decoder.update(self._tokens, logits, self._sum_logprobs)
        return self._tokens[:, -1]

    def outcome(self, state: SampledRows) -> Outcome:
        candidates, sums = self._decoder.finalize(self._tokens[None], self._sum_logprobs[None])
        tokens = [candidate[self._prompt_length :].tolist() for candidate in candidates[0]]
        return _best([sequence[: sequence.index(self._eot)] for sequence in tokens], sums[0])


class _NotedSources(Inference):  # type: ignore[misc]
    """Upstream reorders its cache through this; ours is reordered by the bank."""

    def __init__(self, search: BeamSearch) -> None:
        self._search = search

    def rearrange_kv_cache(self, source_indices: list[int]) -> None:
        self._search.sources = source_indices


def _sampled(state: SampledRows, row: int, eot: int) -> list[int]:
    tokens: list[int] = state.tokens[row, : int(state.num_sampled[row])].tolist()
    return tokens[: tokens.index(eot)] if eot in tokens else tokens


def _best(candidates: list[list[int]], sums: list[float]) -> Outcome:
    best = MaximumLikelihoodRanker(None).rank([candidates], [sums])[0]
    return candidates[best], sums[best]
