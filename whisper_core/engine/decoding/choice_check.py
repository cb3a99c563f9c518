"""Whether another `choose` chooses what torch's does: tried once on a device before it is used there."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from whisper_core.engine.decoding.choosing import Choose, Sampling, choose
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.function_check import check_dims

_SEED = 2
_TEXT, _TIMESTAMPS, _EOT = 4500, 40, 4400  # more tokens than a kernel's block has
_SUPPRESSED = (3, 4450)
_ROWS = (6, 0, 3, 2, 5)
_ALL_ROWS = 7
_TOLERANCE = 1e-3  # of logprobs


def wrong_choice(other: Choose, device: torch.device) -> str | None:
    """ "choose" where the other's tokens, their logprobs or the rows' state differ from torch's; None if they do not.

    The rows are at their first token, after text, after one timestamp, after two, and at their end; with and without
    temperatures above 0.
    """
    rules = _rules(device)
    generator = Generator().manual_seed(_SEED)
    rows = torch.tensor(_ROWS, device=device)
    logits = (3 * torch.randn(len(_ROWS), _TEXT + _TIMESTAMPS, generator=generator)).half().to(device)
    noise = torch.empty(logits.shape).exponential_(generator=generator).to(device)
    for sampling in (None, Sampling(noise)):
        theirs, torchs = (_state(rules, rows) for _ in range(2))
        other(logits.clone(), rules, theirs, rows, sampling)
        choose(logits, rules, torchs, rows, sampling)
        if not _is_same(theirs, torchs):
            return "choose"
    return None


def _rules(device: torch.device) -> TokenRules:
    suppressed = torch.tensor(_SUPPRESSED, device=device)
    return TokenRules(
        eot=_EOT,
        no_speech=_EOT + 1,
        timestamp_begin=_TEXT,
        suppressed=suppressed,
        is_suppressed=torch.zeros(max(_SUPPRESSED) + 1, dtype=torch.int8, device=device).index_fill_(0, suppressed, 1),
        suppress_tokens="",
        largest_first=10,
    )


def _state(rules: TokenRules, rows: Tensor) -> RowState:
    def values(*of_rows: float) -> Tensor:
        return torch.tensor(of_rows, device=rows.device)

    state = RowState.empty(check_dims(rows.device), _ALL_ROWS)
    state.begin(
        slice(0, _ALL_ROWS),
        prompt_length=4,
        max_tokens=20,
        temperature=0.0,
        timestamp_begin=rules.timestamp_begin,
        no_speech_prob=values(0.5)[0],
    )
    state.was_timestamp[rows] = values(1, 0, 1, 1, 0).bool()
    state.was_timestamp_before[rows] = values(1, 0, 0, 1, 0).bool()
    state.last_timestamp[rows] = _TEXT + values(-1, 4, 9, 9, 20).long()
    state.temperature[rows] = values(0.6, 0.8, 0.0, 1.0, 0.2)
    state.sampled.num_sampled[rows] = values(0, 3, 4, 5, 6).int()
    state.sampled.is_active[rows] = values(1, 1, 1, 1, 0).int()
    return state


def _is_same(one: RowState, other: RowState) -> bool:
    sums = (one.sampled.sum_logprob, other.sampled.sum_logprob)
    if not torch.allclose(*sums, rtol=_TOLERANCE, atol=_TOLERANCE):
        return False
    sums[0].copy_(sums[1])
    return all(torch.equal(*pair) for pair in zip(one.tensors(), other.tensors(), strict=True))
