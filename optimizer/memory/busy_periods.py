"""What ran together on a device since it was last idle: what an engine's own measurement of its growth is about."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from threading import Lock

from optimizer.memory.regression import Batch

TaskKind = tuple[str, bool, str]
"""Model, word timestamps and mode: what tasks have in common that need the same memory."""


@dataclass
class _Period:
    """running: seconds of sound by lease token. fullest: of the tasks at the moment when most ran."""

    number: int
    kinds: set[TaskKind] = field(default_factory=set)
    running: dict[str, float] = field(default_factory=dict)
    fullest: tuple[float, ...] = ()


class BusyPeriods:
    """A period of a device begins with its first task and is over with its last one. Any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._periods: dict[str, _Period] = {}
        self._numbers = itertools.count(1)

    def begin(self, device: str, token: str, kind: TaskKind, audio_seconds: float) -> None:
        with self._lock:
            period = self._periods.get(device)
            if period is None:
                period = self._periods[device] = _Period(next(self._numbers))
            period.kinds.add(kind)
            period.running[token] = audio_seconds
            now, fullest = tuple(period.running.values()), period.fullest
            if (len(now), sum(now)) > (len(fullest), sum(fullest)):
                period.fullest = now

    def end(self, device: str, token: str) -> Batch | None:
        """The task is no longer there. Gives the most that ran together, itself included, in its period so far; None
        when tasks of several kinds did, whose shares cannot be told apart. Harmless when the task was not there."""
        with self._lock:
            period = self._periods.get(device)
            if period is None or period.running.pop(token, None) is None:
                return None
            if not period.running:
                del self._periods[device]
            return Batch.of(period.fullest, period.number) if len(period.kinds) == 1 else None
