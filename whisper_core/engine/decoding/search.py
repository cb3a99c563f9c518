"""How the tokens of one window are chosen: the likeliest, one sample, the best of several samples, or beam search.

The rows of one window share its cross-attention, and those of beam search change places. Ranking and beam search are
openai-whisper's own classes; they keep beams in Python dictionaries, which costs the host several milliseconds a window
and step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor
from whisper.decoding import BeamSearchDecoder, Inference, MaximumLikelihoodRanker, SequenceRanker

from whisper_core.engine.decoding.row_state import SampledRows
from whisper_core.model_requests import Decode
from whisper_core.text.options import ALL_SYMBOLS, TranscribeOptions

Outcome = tuple[list[int], float]
"""A window's tokens without the end token, and the sum of their logprobs, the end token's included."""


class SlotKind(NamedTuple):
    """Windows that agree in it may be decoded in one slot batch."""

    width: int = 1  # rows of the decoder that a window takes
    suppress_tokens: str = ALL_SYMBOLS


class Search(Protocol):
    """The state of one decoding of one window."""

    width: int  # rows that it takes
    is_greedy: bool  # whether `choose` returns what it is given
    # Whether a GPU can choose by itself, given the noise that `draw` draws. If not, choosing once more after the rows
    # have ended may do harm.
    is_on_device: bool
    is_complete: bool  # whether nothing is left to choose, whatever the rows say
    sources: list[int] | None  # after `choose`: the row that each row continues; None when each continues itself

    def choose(self, logits: Tensor, likeliest: Tensor) -> Tensor:
        """The next tokens, (width,). logits: (width, vocabulary), filtered. likeliest: (width,), their argmax."""

    def draw(self, noise: Tensor) -> None:
        """Fill the noise for the next token, (width, vocabulary), where the search needs any."""

    def outcome(self, rows: SampledRows) -> Outcome:
        """Once the search has ended. rows: the search's own."""


def search_for(
    request: Decode, prompt: Sequence[int], eot: int, device: torch.device, generator: Generator | None
) -> Search:
    """The search that the request asks for. generator: for a temperature above 0, seeded for it and this window."""
    width, settings = slot_kind(request).width, request.settings
    ranker = MaximumLikelihoodRanker(settings.length_penalty)
    if generator is not None:
        return SampleSearch(width, request.temperature, generator, eot, ranker)
    if settings.beam_size is not None:
        return BeamSearch(width, settings.patience, prompt, eot, device, ranker)
    return GreedySearch(eot)


def slot_kind(request: Decode) -> SlotKind:
    """Of the slot that the request needs."""
    settings = request.settings
    width = settings.best_of if request.temperature > 0 else settings.beam_size
    return SlotKind(width or 1, settings.suppress_tokens)


def slot_kinds(options: TranscribeOptions) -> frozenset[SlotKind]:
    """Of all slots that a task with these options may need."""
    return frozenset(SlotKind(width, options.suppress_tokens) for width in options.widths)


class GreedySearch:
    """The likeliest token at every step."""

    width = 1
    is_greedy = is_on_device = True
    is_complete = False
    sources: list[int] | None = None

    def __init__(self, eot: int) -> None:
        self._eot = eot

    def choose(self, logits: Tensor, likeliest: Tensor) -> Tensor:
        return likeliest

    def draw(self, noise: Tensor) -> None:
        """It needs none."""

    def outcome(self, rows: SampledRows) -> Outcome:
        return _sampled_tokens(rows, 0, self._eot), float(rows.sum_logprob[0])


class SampleSearch:
    """`width` samples side by side, of which the one with the highest mean logprob is the result."""

    is_greedy = False
    is_on_device = True
    is_complete = False
    sources: list[int] | None = None

    def __init__(self, width: int, temperature: float, generator: Generator, eot: int, ranker: SequenceRanker) -> None:
        self.width = width
        self._temperature = temperature
        self._generator = generator
        self._eot = eot
        self._ranker = ranker

    def choose(self, logits: Tensor, likeliest: Tensor) -> Tensor:
        return sample(logits, self._temperature, self._generator)

    def draw(self, noise: Tensor) -> None:
        noise.exponential_(generator=self._generator)

    def outcome(self, rows: SampledRows) -> Outcome:
        candidates = [_sampled_tokens(rows, row, self._eot) for row in range(self.width)]
        return _best(self._ranker, candidates, rows.sum_logprob.tolist())


class BeamSearch:
    """Drives upstream's BeamSearchDecoder, which expects the prompt in front of the sampled tokens."""

    is_greedy = is_on_device = False

    def __init__(
        self,
        beam_size: int,
        patience: float | None,
        prompt: Sequence[int],
        eot: int,
        device: torch.device,
        ranker: SequenceRanker,
    ) -> None:
        self.width = beam_size
        self.is_complete = False
        self.sources: list[int] | None = None
        self._prompt_length = len(prompt)
        self._eot = eot
        self._tokens = torch.tensor([list(prompt)] * beam_size, device=device)
        self._sum_logprobs = torch.zeros(beam_size, device=device)
        self._ranker = ranker
        self._decoder = BeamSearchDecoder(beam_size, eot, _SourceRecorder(self), patience)

    def choose(self, logits: Tensor, likeliest: Tensor) -> Tensor:
        self._tokens, self.is_complete = self._decoder.update(self._tokens, logits, self._sum_logprobs)
        return self._tokens[:, -1]

    def draw(self, noise: Tensor) -> None:
        """It needs none."""

    def outcome(self, rows: SampledRows) -> Outcome:
        candidates, sums = self._decoder.finalize(self._tokens[None], self._sum_logprobs[None])
        tokens = [candidate[self._prompt_length :].tolist() for candidate in candidates[0]]
        return _best(self._ranker, [sequence[: sequence.index(self._eot)] for sequence in tokens], sums[0])


class _SourceRecorder(Inference):  # type: ignore[misc]
    """Upstream reorders its cache through this class; here the slot batch reorders its own."""

    def __init__(self, search: BeamSearch) -> None:
        self._search = search

    def rearrange_kv_cache(self, source_indices: list[int]) -> None:
        self._search.sources = source_indices


def likeliest(logits: Tensor) -> Tensor:
    """Each row's likeliest token, (rows,). logits: (rows, vocabulary)."""
    return logits.argmax(dim=-1)


def sample(logits: Tensor, temperature: float, generator: Generator) -> Tensor:
    """One token a row, (rows,), from softmax(logits / temperature). logits: (rows, vocabulary).

    Draws what torch.multinomial draws from a generator in the same state (it too divides by exponential noise and takes
    the largest), so openai-whisper, seeded the same, draws the same tokens.
    """
    scaled = logits / temperature
    probabilities = (scaled - scaled.logsumexp(dim=-1, keepdim=True)).softmax(dim=-1)
    noise = torch.empty_like(probabilities).exponential_(generator=generator)
    return probabilities.div_(noise).argmax(dim=-1)


def logprob_of(choice: Tensor, logits: Tensor) -> Tensor:
    """The natural logarithm of the chosen tokens' probabilities at temperature 1, (rows,).

    choice: (rows,). logits: (rows, vocabulary).
    """
    return logits.log_softmax(dim=-1).gather(1, choice[:, None])[:, 0]


def _sampled_tokens(rows: SampledRows, row: int, eot: int) -> list[int]:
    tokens: list[int] = rows.tokens[row, : int(rows.num_sampled[row])].tolist()
    return tokens[: tokens.index(eot)] if eot in tokens else tokens


def _best(ranker: SequenceRanker, candidates: list[list[int]], sums: list[float]) -> Outcome:
    best = ranker.rank([candidates], [sums])[0]
    return candidates[best], sums[best]
