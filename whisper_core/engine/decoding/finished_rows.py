"""Which sequences have finished, and what was sampled for them.

On the CPU both are read at once. On a GPU they are read from a copy of the rows as they were one step earlier, so the
host waits only for the step before while the GPU is already at work on the next. A sequence that has finished takes one
more step meanwhile, which changes nothing in its rows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

import torch
from torch import Tensor

from whisper_core.engine.decoding.row_state import RowState, SampledRows
from whisper_core.engine.decoding.sequence import Sequence


class Readback(Protocol):
    def finished(self, sequences: list[Sequence], state: RowState) -> list[Sequence]:
        """The sequences that are known to have finished. Call once after every step.

        sequences: those in slots now. state: of their rows, as the latest step leaves it.
        """

    def rows_of(self, sequence: Sequence) -> SampledRows:
        """The rows of a sequence that the latest `finished` returned.

        On a GPU they are on the host; on the CPU they are a view, valid until the slot is used again.
        """


def readback_for(device: torch.device) -> Readback:
    return LaggedReadback() if device.type == "cuda" else ImmediateReadback()


@dataclass(frozen=True)
class _Snapshot:
    """The rows of some sequences at one moment."""

    sequences: list[Sequence]
    rows: SampledRows

    def rows_of(self, sequence: Sequence) -> SampledRows:
        width = sequence.search.width
        return self.rows.part(self.sequences.index(sequence) * width, width)

    def finished(self) -> list[Sequence]:
        if not self.sequences:
            return []
        flags: list[int] = self.rows.is_active.tolist()  # one by one they take less time than torch's `any`
        width = len(flags) // len(self.sequences)
        return [
            sequence
            for number, sequence in enumerate(self.sequences)
            if not any(flags[number * width : (number + 1) * width]) or sequence.search.is_complete
        ]


class ImmediateReadback:
    _latest: _Snapshot

    def finished(self, sequences: list[Sequence], state: RowState) -> list[Sequence]:
        self._latest = _Snapshot(sequences.copy(), state.sampled)
        return self._latest.finished()

    def rows_of(self, sequence: Sequence) -> SampledRows:
        return self._latest.rows_of(sequence)


@dataclass(frozen=True)
class _Copy:
    """A snapshot on its way to the host."""

    snapshot: _Snapshot
    event: torch.cuda.Event  # recorded behind the copy

    def wait(self) -> _Snapshot:
        self.event.synchronize()
        return self.snapshot


class _HostBuffer:
    """Memory of the host into which rows are copied, pinned, and kept so that steps do not have to take any."""

    def __init__(self) -> None:
        self._record: Tensor | None = None

    def filled(self, rows: SampledRows) -> SampledRows:
        """A view. Does not wait: from a GPU the rows arrive in the order of the current CUDA stream."""
        record = rows.record
        count, columns = record.shape
        if self._record is None or len(self._record) < count:
            most = 1 << (count - 1).bit_length()
            self._record = torch.empty(most, columns, dtype=record.dtype, pin_memory=record.is_cuda)
        return SampledRows(self._record[:count].copy_(record, non_blocking=True))


class LaggedReadback:
    def __init__(self) -> None:
        self._copies: deque[_Copy] = deque()
        self._latest = _Snapshot([], SampledRows.empty(0, 0, torch.device("cpu")))
        self._buffers = cycle([_HostBuffer(), _HostBuffer()])  # one is read while the other one is filled

    def finished(self, sequences: list[Sequence], state: RowState) -> list[Sequence]:
        snapshot = _Snapshot(sequences.copy(), next(self._buffers).filled(state.sampled))
        self._copies.append(_Copy(snapshot, torch.cuda.current_stream().record_event()))
        if not all(sequence.search.may_lag for sequence in sequences):
            self._latest = self._copies.pop().wait()
            self._copies.clear()
        elif len(self._copies) > 1:
            self._latest = self._copies.popleft().wait()
        else:
            return []
        # Leaves out a sequence that was reported one step ago, and one whose slot another sequence has taken since.
        return [sequence for sequence in self._latest.finished() if sequence in sequences]

    def rows_of(self, sequence: Sequence) -> SampledRows:
        return self._latest.rows_of(sequence)
