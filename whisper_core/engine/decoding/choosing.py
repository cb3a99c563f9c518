"""A step's end: each row's next token is chosen by the rules and appended. In torch: the reference, and the CPU's way.

`triton_choosing` does the same in one kernel, for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.search import likeliest, logprob_of
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.dims import Rows


class Sampling(NamedTuple):
    """What a step needs where any of its rows has a temperature above 0."""

    noise: Tensor
    """(at least n, vocabulary) fp32: exponential noise for the n rows in their order. Not read for other rows."""


Choose = Callable[[Tensor, TokenRules, RowState, Rows, Sampling | None], None]


def choose(logits: Tensor, rules: TokenRules, state: RowState, rows: Rows, sampling: Sampling | None) -> None:
    """Choose the rows' next tokens and commit them: the likeliest, or a sample where the temperature is above 0.

    logits: (n, vocabulary), in any dtype; overwritten if in fp32. state: of all rows. sampling: None to choose the
    likeliest everywhere. Of rows that are named several times one remains, so nobody may read them.
    """
    part = state.at(rows)
    logits = logits.float()
    rules.apply(logits, part)
    choice = likeliest(logits)
    if sampling is not None:
        # The CPU computes the sampled rows only. A GPU cannot tell which these are without a wait.
        places = part.temperature.nonzero()[:, 0] if logits.device.type == "cpu" else slice(len(logits))
        temperature = part.temperature[places]
        drawn = _samples(logits[places], temperature, sampling.noise[places])
        choice[places] = torch.where(temperature > 0, drawn, choice[places])
    part.commit(choice, logprob_of(choice, logits), rules.timestamp_begin, rules.eot)
    state.write(rows, part)


def _samples(logits: Tensor, temperature: Tensor, noise: Tensor) -> Tensor:
    """As `search.sample`, each row at its own temperature. logits, noise: (n, vocabulary). temperature: (n,)."""
    scaled = logits / torch.where(temperature > 0, temperature, 1.0)[:, None]
    probabilities = (scaled - scaled.logsumexp(dim=-1, keepdim=True)).softmax(dim=-1)
    return probabilities.div_(noise).argmax(dim=-1)
