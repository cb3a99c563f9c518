"""Windows that end after as many steps as somebody wants, where no pass computes anything."""

from __future__ import annotations

from collections.abc import Callable

import torch

from whisper_core.engine.decoding.finished_rows import LaggedReadback
from whisper_core.engine.decoding.sequence import Sequence

NUM_TOKENS = 60  # that each window has, however many steps it took


class EndingReadback(LaggedReadback):
    """num_steps: of each window in turn. Each has two segments that fill it."""

    def __init__(self, num_steps: Callable[[], int]) -> None:
        super().__init__()
        self._num_steps = num_steps
        self._left: dict[Sequence, int] = {}

    def finished(self, sequences: list[Sequence], num_rows: int, *, may_lag: bool = True) -> list[Sequence]:
        self.play(sequences)
        return super().finished(sequences, num_rows, may_lag=may_lag)

    def play(self, sequences: list[Sequence]) -> None:
        """What a GPU would have done to the rows."""
        for sequence in sequences:
            if sequence not in self._left:
                self._left[sequence] = self._num_steps()
                self._all_rows.is_active[sequence.slot] = 1  # as its prompt's pass would leave it
            self._left[sequence] -= 1
            if self._left[sequence] == 0:
                self._end(sequence)

    def _end(self, sequence: Sequence) -> None:
        begin = sequence.tokenizer.timestamp_begin
        text = range(1000, 1000 + NUM_TOKENS // 2 - 3)
        tokens = [begin, *text, begin + 700, begin + 700, *text, begin + 1500, begin + 1500]
        rows = self._all_rows.part(sequence.slot, 1)
        rows.tokens[0, : len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
        rows.num_sampled[0] = len(tokens)
        rows.sum_logprob[0] = -0.3 * len(tokens)
        rows.is_active[0] = 0
