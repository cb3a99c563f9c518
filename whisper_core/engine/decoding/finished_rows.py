"""Which windows have ended, and what was sampled for them: on the CPU seen at once; on a GPU from a copy of one step
earlier, so that the host waits for no step but the one before, while the GPU is at work on the next.

A window that has ended takes one more step meanwhile, which changes nothing in its rows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import torch

from whisper_core.engine.decoding.row_state import RowState, SampledRows
from whisper_core.engine.decoding.sequence import Sequence


class EndedRows(Protocol):
    def look(self, sequences: list[Sequence], state: RowState) -> list[Sequence]:
        """sequences: in slots now. state: of their rows, as the latest step leaves it. Gives those that are known to
        have ended."""

    def rows_of(self, sequence: Sequence) -> SampledRows:
        """Of one that the latest look gave; on the host, or on a CPU in the bank itself, until the rows are used
        again."""


def ended_rows(device: torch.device) -> EndedRows:
    return LaggingLook() if device.type == "cuda" else ImmediateLook()


@dataclass(frozen=True)
class _Rows:
    """What the rows of these sequences were."""

    sequences: list[Sequence]
    rows: SampledRows

    def of(self, sequence: Sequence) -> SampledRows:
        width = sequence.search.width
        return self.rows.part(self.sequences.index(sequence) * width, width)

    def ended(self) -> list[Sequence]:
        if not self.sequences:
            return []
        flags = self.rows.is_active.view(len(self.sequences), -1).any(dim=1).tolist()
        return [
            sequence
            for sequence, active in zip(self.sequences, flags, strict=True)
            if not active or sequence.search.is_complete
        ]


class ImmediateLook:
    _latest: _Rows

    def look(self, sequences: list[Sequence], state: RowState) -> list[Sequence]:
        self._latest = _Rows(sequences.copy(), state.sampled())
        return self._latest.ended()

    def rows_of(self, sequence: Sequence) -> SampledRows:
        return self._latest.of(sequence)


@dataclass(frozen=True)
class _Copy:
    rows: _Rows
    event: torch.cuda.Event

    def arrived(self) -> _Rows:
        self.event.synchronize()
        return self.rows


class LaggingLook:
    def __init__(self) -> None:
        self._copies: deque[_Copy] = deque()
        self._known = _Rows([], SampledRows.none())

    def look(self, sequences: list[Sequence], state: RowState) -> list[Sequence]:
        rows = _Rows(sequences.copy(), state.sampled().on_host())
        self._copies.append(_Copy(rows, torch.cuda.current_stream().record_event()))
        if not all(sequence.search.may_lag for sequence in sequences):
            self._known = self._copies.pop().arrived()
            self._copies.clear()
        elif len(self._copies) > 1:
            self._known = self._copies.popleft().arrived()
        else:
            return []
        # One that has got a new sequence in its slot since, or was known to have ended, is not among these any more.
        return [sequence for sequence in self._known.ended() if sequence in sequences]

    def rows_of(self, sequence: Sequence) -> SampledRows:
        return self._known.of(sequence)
