"""The next tokens of searches that are driven on the host: samples on the CPU, and beams anywhere."""

from __future__ import annotations

from torch import Tensor

from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.search import likeliest, logprob_of
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.dims import Rows
from whisper_core.engine.network.self_attention import SelfCache


def choose_on_host(
    sequences: list[Sequence], logits: Tensor, rules: TokenRules, cache: SelfCache, state: RowState, rows: Rows
) -> None:
    """Each sequence's search chooses. cache, state: of the slot batch; beams that change places are moved in both.

    logits: fp32 (rows, vocabulary), not filtered, which they are afterwards. rows: of these sequences, in their order.
    """
    rules.apply(logits, state.at(rows))
    choice = likeliest(logits)
    for number, sequence in enumerate(sequences):
        width = sequence.search.width
        if not sequence.search.is_greedy:
            part = slice(number * width, (number + 1) * width)
            choice[part] = sequence.search.choose(logits[part], choice[part])
            _follow_sources(sequence, cache, state)
        sequence.num_sampled += 1
    own = state.at(rows)  # only now, because beams have changed places
    own.commit(choice, logprob_of(choice, logits), rules.timestamp_begin, rules.eot)
    state.write(rows, own)


def _follow_sources(sequence: Sequence, cache: SelfCache, state: RowState) -> None:
    sources, width = sequence.search.sources, sequence.search.width
    if sources is not None and sources != list(range(width)):
        row = sequence.slot * width
        cache.rows(row, width).reorder(sources, sequence.length)
        state.rows(row, width).reorder(sources)
