"""Which windows have ended: on the CPU known at once; on a GPU looked up one step later, so that no step is waited for.

A window that has ended takes one more step meanwhile, which changes nothing in its rows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from whisper_core.engine.sequence import Sequence


class EndedRows(Protocol):
    def look(self, sequences: list[Sequence], is_active: Tensor) -> list[Sequence]:
        """sequences: in slots now. is_active: (rows,) bool, theirs, as the latest step leaves it. Gives those that are
        known to have ended."""

    def clear(self) -> None:
        """Forget what has been looked at."""


def ended_rows(device: torch.device) -> EndedRows:
    return LaggingLook() if device.type == "cuda" else ImmediateLook()


class ImmediateLook:
    def look(self, sequences: list[Sequence], is_active: Tensor) -> list[Sequence]:
        return _ended(sequences, is_active)

    def clear(self) -> None:
        """Nothing is kept."""


@dataclass
class _Copy:
    sequences: list[Sequence]
    is_active: Tensor
    event: torch.cuda.Event


class LaggingLook:
    def __init__(self) -> None:
        self._copies: deque[_Copy] = deque()

    def look(self, sequences: list[Sequence], is_active: Tensor) -> list[Sequence]:
        on_host = torch.empty(is_active.shape, dtype=torch.bool, pin_memory=True)
        on_host.copy_(is_active, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._copies.append(_Copy(sequences.copy(), on_host, event))
        if len(self._copies) < 2:
            return []
        earlier = self._copies.popleft()
        earlier.event.synchronize()
        # One that has got a new sequence in its slot since, or was known to have ended, is not among these any more.
        return [sequence for sequence in _ended(earlier.sequences, earlier.is_active) if sequence in sequences]

    def clear(self) -> None:
        self._copies.clear()


def _ended(sequences: list[Sequence], is_active: Tensor) -> list[Sequence]:
    if not sequences:
        return []
    flags = is_active.view(len(sequences), -1).any(dim=1).tolist()
    return [
        sequence for sequence, active in zip(sequences, flags, strict=True) if not active or sequence.search.is_complete
    ]
