"""Which tokens may come next: openai-whisper's suppression and timestamp rules, for all rows at once.

Source: openai-whisper decoding.py, SuppressTokens and ApplyTimestampRules. Upstream's SuppressBlank is not needed: what
it forbids at the first step, the timestamp rules forbid there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from whisper_core.common.units import WINDOW_SECONDS
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.text.options import ALL_SYMBOLS

_FIRST_TIMESTAMP_AT_MOST_S = 1.0


@dataclass(frozen=True)
class TokenRules:
    eot: int  # the end token
    no_speech: int
    timestamp_begin: int  # the token of 0.00 s; all timestamps are above it
    suppressed: Tensor  # (n,) int64: tokens that are never chosen
    is_suppressed: Tensor  # int8, 1 or 0 for each token up to the last one of these
    suppress_tokens: str  # the option that says so
    largest_first: int  # the latest timestamp that a window may begin with, counted from timestamp_begin

    @classmethod
    def of(
        cls, tokenizer: Any, audio_positions: int, device: torch.device, suppress_tokens: str = ALL_SYMBOLS
    ) -> TokenRules:
        """tokenizer: openai-whisper's, for any language and task. audio_positions: of one window."""
        never = {tokenizer.no_timestamps, *suppressed_tokens(suppress_tokens, tokenizer)}
        suppressed = torch.tensor(sorted(never), device=device)
        return cls(
            suppress_tokens=suppress_tokens,
            eot=tokenizer.eot,
            no_speech=tokenizer.no_speech,
            timestamp_begin=tokenizer.timestamp_begin,
            suppressed=suppressed,
            is_suppressed=torch.zeros(max(never) + 1, dtype=torch.int8, device=device).index_fill_(0, suppressed, 1),
            largest_first=round(_FIRST_TIMESTAMP_AT_MOST_S / (WINDOW_SECONDS / audio_positions)),
        )

    def apply(self, logits: Tensor, state: RowState) -> None:
        """Set the logits of forbidden tokens to -inf, in place. logits: (rows, vocabulary), fp32."""
        logits.index_fill_(1, self.suppressed, -torch.inf)
        text, timestamps = logits[:, : self.timestamp_begin], logits[:, self.timestamp_begin :]
        is_first = state.sampled.num_sampled == 0
        follows_timestamp = state.was_timestamp & ~is_first
        must_be_text = follows_timestamp & state.was_timestamp_before
        must_close = follows_timestamp & ~state.was_timestamp_before
        # For ranges as wide as these, masked_fill takes fifteen times as long as an addition.
        text[:, : self.eot].add_(_minus_infinity_where(must_close))
        text.add_(_minus_infinity_where(is_first))
        self._restrict_timestamps(timestamps, state, is_first, must_be_text, must_close)
        is_timestamp_likelier = timestamps.logsumexp(dim=-1) > text.amax(dim=-1)
        text.add_(_minus_infinity_where(is_timestamp_likelier))

    def _restrict_timestamps(
        self, timestamps: Tensor, state: RowState, is_first: Tensor, must_be_text: Tensor, must_close: Tensor
    ) -> None:
        """Timestamps never go back, and a segment does not end where it began."""
        place = torch.arange(timestamps.shape[1], device=timestamps.device)
        smallest = state.last_timestamp + (~must_close).long() - self.timestamp_begin
        largest = torch.where(is_first, self.largest_first, timestamps.shape[1])
        forbidden = (place < smallest[:, None]) | (place > largest[:, None]) | must_be_text[:, None]
        timestamps.masked_fill_(forbidden, -torch.inf)


def suppressed_tokens(suppress_tokens: str, tokenizer: Any) -> set[int]:
    """Source: decoding.py, _get_suppress_tokens. An empty option turns all of it off, special tokens included."""
    if not suppress_tokens:
        return set()
    listed = {int(token) for token in suppress_tokens.split(",")}
    symbols = tokenizer.non_speech_tokens if -1 in listed else ()
    return {
        *(listed - {-1}),
        *symbols,
        tokenizer.transcribe,
        tokenizer.translate,
        tokenizer.sot,
        tokenizer.sot_prev,
        tokenizer.sot_lm,
        tokenizer.no_speech,
    }


def _minus_infinity_where(condition: Tensor) -> Tensor:
    """(rows, 1): -inf or 0."""
    return torch.where(condition, -torch.inf, 0.0)[:, None]
