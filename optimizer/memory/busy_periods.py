"""Which tasks ran together on a device: what an engine's measurement of its own growth is about.

A busy period, in queueing theory, is the time from one moment at which a device is idle to the next. Within it the
engine's peak only rises, so a measurement belongs to the moment at which most tasks ran.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

from optimizer.memory.costs import ConcurrentTasks

TaskKind = tuple[str, bool, str, int, bool, bool]
"""Model, word timestamps, mode, beams, vad_filter and speakers: tasks that agree in these need the same memory."""


class _Running(NamedTuple):
    audio_seconds: float
    reserved_bytes: int


@dataclass
class _Period:
    number: int
    kinds: set[TaskKind] = field(default_factory=set)  # that ran in it
    running: dict[str, _Running] = field(default_factory=dict)  # by lease token
    fullest: tuple[_Running, ...] = ()  # the tasks at the moment at which most ran

    @property
    def concurrent(self) -> ConcurrentTasks:
        reserved = sum(each.reserved_bytes for each in self.fullest) // len(self.fullest)
        return ConcurrentTasks.of([each.audio_seconds for each in self.fullest], self.number, reserved)


class BusyPeriods:
    """A device's period begins with its first task and ends with its last one. Any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._periods: dict[str, _Period] = {}
        self._numbers = itertools.count(1)

    def begin(self, device: str, token: str, kind: TaskKind, audio_seconds: float, reserved_bytes: int = 0) -> None:
        with self._lock:
            period = self._periods.get(device)
            if period is None:
                period = self._periods[device] = _Period(next(self._numbers))
            period.kinds.add(kind)
            period.running[token] = _Running(audio_seconds, reserved_bytes)
            now = tuple(period.running.values())
            if _fullness(now) > _fullness(period.fullest):
                period.fullest = now

    def end(self, device: str, token: str) -> ConcurrentTasks | None:
        """The task no longer runs. Harmless when it did not.

        Returns the most tasks that ran together in its period so far, itself included; None when they were of several
        kinds, whose shares of the memory cannot be told apart.
        """
        with self._lock:
            period = self._periods.get(device)
            if period is None or period.running.pop(token, None) is None:
                return None
            if not period.running:
                del self._periods[device]
            return period.concurrent if len(period.kinds) == 1 else None


def _fullness(tasks: Sequence[_Running]) -> tuple[int, float]:
    return len(tasks), sum(each.audio_seconds for each in tasks)
