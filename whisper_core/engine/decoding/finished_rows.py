"""Which sequences have finished on a GPU, and what was sampled for them.

Both are read from a copy of the rows as they were one step earlier, so the host waits only for the step before while
the GPU is already at work on the next. A sequence that has finished takes one more step meanwhile, which changes
nothing in its rows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor

from whisper_core.engine.decoding.row_state import SampledRows
from whisper_core.engine.decoding.sequence import Sequence


def have_finished(sequences: list[Sequence], rows: SampledRows) -> list[Sequence]:
    """Those none of whose rows is active. rows: on the host, those of slot 0 first."""
    flags = rows.active_flags()
    width = sequences[0].search.width if sequences else 1
    if width == 1:
        if 0 not in flags:
            return []
        return [sequence for sequence in sequences if not flags[sequence.slot] or sequence.search.is_complete]
    active = [any(flags[first : first + width]) for first in range(0, len(flags), width)]
    return [sequence for sequence in sequences if not active[sequence.slot] or sequence.search.is_complete]


@dataclass(frozen=True)
class _Copy:
    """The rows at one moment, on their way to the host."""

    sequences: list[Sequence]  # those that were in slots
    rows: SampledRows
    event: torch.cuda.Event  # recorded behind the copy


class _HostBuffer:
    """Memory of the host into which rows are copied, pinned, and kept so that steps do not have to take any."""

    def __init__(self, like: SampledRows) -> None:
        record = like.record
        self._record = torch.empty(record.shape, dtype=record.dtype, pin_memory=record.is_cuda)

    def filled(self, record: Tensor) -> SampledRows:
        """A view. Does not wait: the rows arrive in the order of the current CUDA stream."""
        return SampledRows(self._record[: len(record)].copy_(record, non_blocking=True))


class LaggedReadback:
    """Call `read_from` first."""

    def __init__(self) -> None:
        self._copies: deque[_Copy] = deque()

    def read_from(self, all_rows: SampledRows) -> None:
        """all_rows: of all slots, which stay there until the next call."""
        self._all_rows = self._latest = all_rows
        self._buffers = cycle([_HostBuffer(all_rows), _HostBuffer(all_rows)])  # one is read while the other is filled

    def finished(self, sequences: list[Sequence], num_rows: int, *, may_lag: bool = True) -> list[Sequence]:
        """The sequences that are known to have finished. Call once after every step.

        sequences: those in slots now, among the first `num_rows` rows. may_lag: whether one more step does them no harm
        after they have finished; if not, the latest step is waited for.
        """
        rows = next(self._buffers).filled(self._all_rows.record[:num_rows])
        self._copies.append(_Copy(sequences.copy(), rows, torch.cuda.current_stream().record_event()))
        if not may_lag:
            copy = self._copies.pop()
            self._copies.clear()
        elif len(self._copies) > 1:
            copy = self._copies.popleft()
        else:
            return []
        copy.event.synchronize()
        self._latest = copy.rows
        # Leaves out a sequence that was reported one step ago, and one whose slot another sequence has taken since.
        return [sequence for sequence in have_finished(copy.sequences, copy.rows) if sequence in sequences]

    def rows_of(self, sequence: Sequence) -> SampledRows:
        """On the host: the rows of a sequence that the latest `finished` returned."""
        return self._latest.part(sequence.slot * sequence.search.width, sequence.search.width)
