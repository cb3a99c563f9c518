"""When a waiting task is due: what its place in the queue is made of.

A task is due `TARGET_SLOWDOWN` seconds after its arrival for every second of work it brings, and at most
`MAX_PATIENCE_S` after it; of two tasks of one priority the one that is due first goes first. So

- short tasks pass long ones, which makes the mean wait short (shortest remaining work first);
- no task is passed by one that arrived more than `MAX_PATIENCE_S` after it, however short that is: the patience is the
  aging, and the order of two tasks never changes while they wait.

A task that stepped aside comes back with less work left and its old arrival, so it is due earlier than before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

TARGET_SLOWDOWN = 20.0
MAX_PATIENCE_S = 3600.0


@dataclass(frozen=True)
class DueTimes:
    """work_seconds: how long a device has to do with so much sound of a model."""

    work_seconds: Callable[[str, float], float]
    stretch: float = TARGET_SLOWDOWN
    max_patience_s: float = MAX_PATIENCE_S

    def due(self, model: str, audio_left_seconds: float, waiting_since: float) -> float:
        """In the clock of `waiting_since`, monotonic seconds."""
        patience = self.stretch * self.work_seconds(model, audio_left_seconds)
        return waiting_since + min(patience, self.max_patience_s)


class FirstCome(DueTimes):
    """All are due at the same time, so the order is that of arrival, whatever the wall clock did since."""

    def due(self, model: str, audio_left_seconds: float, waiting_since: float) -> float:
        return 0.0


FIRST_COME = FirstCome(work_seconds=lambda model, audio_left_seconds: 0.0, max_patience_s=0.0)
