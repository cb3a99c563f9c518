"""How many threads a step of few rows gets: one, or all that the decoder may use.

Which is faster depends on the processor (with two threads a step of one row took 11.1 ms instead of 8.8 on one machine
and 7.8 instead of 16.1 on another), and on whether other programs want the cores: threads that share a product wait
for each other. So both are tried while steps run, again and again.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from whisper_core.engine.executors import CoreShare

ROWS_TO_SHARE = 4  # a step of as many rows always gets all threads
_STEPS = 4  # of each way that are compared, by the fastest: some of them answer a window and read a prompt as well
_WORTH_IT = 0.97  # of the present way's time
_FIRST_PAUSE_S = 0.5  # between two trials; doubles as long as they change nothing
_LONGEST_PAUSE_S = 30.0


@dataclass
class _Trial:
    """For steps of one number of rows."""

    is_shared: bool = False  # the present way
    latest: deque[float] = field(default_factory=lambda: deque(maxlen=_STEPS))  # seconds of its steps
    others: list[float] = field(default_factory=list)  # of the other way's, while it is tried
    pause_s: float = _FIRST_PAUSE_S
    next_at: float = -math.inf
    is_running: bool = False


class StepThreads:
    """One model's. The engine's thread only. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._trials: dict[int, _Trial] = defaultdict(_Trial)

    @contextmanager
    def claim(self, cores: CoreShare, rows: int) -> Iterator[None]:
        """For one step of so many rows."""
        if rows >= ROWS_TO_SHARE:
            with cores.claim():
                yield
            return
        trial, began = self._trials[rows], self._clock()
        if not trial.is_running and began >= trial.next_at and len(trial.latest) == _STEPS:
            trial.is_running = True
        is_shared = trial.is_shared != trial.is_running
        with cores.claim(at_most=None if is_shared else 1) as threads:
            yield
        if threads > 1:  # else there was nothing to choose
            self._note(trial, self._clock() - began)

    def _note(self, trial: _Trial, seconds: float) -> None:
        if not trial.is_running:
            trial.latest.append(seconds)
            return
        trial.others.append(seconds)
        if len(trial.others) < _STEPS:
            return
        if min(trial.others) < _WORTH_IT * min(trial.latest):
            trial.is_shared = not trial.is_shared
            trial.pause_s = _FIRST_PAUSE_S
        else:
            trial.pause_s = min(2 * trial.pause_s, _LONGEST_PAUSE_S)
        trial.next_at = self._clock() + trial.pause_s
        trial.is_running = False
        trial.others.clear()
        trial.latest.clear()
