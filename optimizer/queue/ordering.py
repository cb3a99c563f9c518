"""A waiting task's place in the queue: when it is due, and by how much its owner's tasks are set back.

A task is due `TARGET_SLOWDOWN` seconds after its arrival for every second of work it brings, `MAX_PATIENCE_S` after it
at the latest. Of two tasks of one priority and owner, the one that is due first goes first. So

- short tasks overtake long ones, which keeps the mean wait short (shortest remaining work first);
- no task is overtaken by one that arrives more than `MAX_PATIENCE_S` later, however short; that bound does the work of
  ageing, and the order of two waiting tasks never changes.

A preempted task comes back with less work left and its old arrival, so it is due earlier than before.

An owner's tasks are set back by the work that was begun for that owner lately, so that one person's thousand files do
not block another's one. That work is counted like the work that makes a task due (`TARGET_SLOWDOWN` seconds for each
second) and halves every `HALF_LIFE_S`: owners who ask for the same get the same, and an owner who asks for little goes
before one who has had much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

TARGET_SLOWDOWN = 20.0
MAX_PATIENCE_S = 3600.0
HALF_LIFE_S = 600.0
_NEGLIGIBLE_S = 0.5  # an owner with a smaller penalty is as good as new
_MAX_OWNERS = 1000  # beyond that, owners with a negligible penalty are forgotten


@dataclass(frozen=True)
class DueTimes:
    work_seconds: Callable[[str, float], float]  # how long a device needs for so many seconds of sound with a model
    max_patience_s: float = MAX_PATIENCE_S

    def due(self, model: str, audio_left_seconds: float, waiting_since: float) -> float:
        """Monotonic seconds, as `waiting_since`."""
        patience = TARGET_SLOWDOWN * self.work_seconds(model, audio_left_seconds)
        return waiting_since + min(patience, self.max_patience_s)


class FirstCome(DueTimes):
    """All tasks are due at the same time, so their order is that of arrival, whatever the wall clock did since."""

    def due(self, model: str, audio_left_seconds: float, waiting_since: float) -> float:
        return 0.0


FIRST_COME = FirstCome(work_seconds=lambda model, audio_left_seconds: 0.0, max_patience_s=0.0)


class OwnerShares:
    """What each owner has had of the devices lately. Not thread-safe: the caller locks. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._penalties: dict[str, tuple[float, float]] = {}  # each owner's penalty, and when that was its value

    def charge(self, owner: str, work_seconds: float, now: float) -> None:
        """So much of the owner's work was begun; negative: was left over when it ended early."""
        self._penalties[owner] = (max(0.0, self.penalty(owner, now) + TARGET_SLOWDOWN * work_seconds), now)
        if len(self._penalties) > _MAX_OWNERS:
            self._forget_idle_owners(now)

    def penalty(self, owner: str, now: float) -> float:
        """Seconds by which the owner's tasks are set back."""
        penalty, at = self._penalties.get(owner, (0.0, now))
        return penalty * float(0.5 ** (max(0.0, now - at) / HALF_LIFE_S))

    def penalty_after_refund(self, owner: str, work_seconds: float, now: float) -> float:
        """What `penalty` would be if a task of the owner ended early, with so much of its work left."""
        return max(0.0, self.penalty(owner, now) - TARGET_SLOWDOWN * work_seconds)

    def penalties(self, owners: Iterable[str], now: float) -> dict[str, float]:
        """The penalties of several owners, less the smallest of them: only differences count."""
        penalties = {owner: self.penalty(owner, now) for owner in owners}
        least = min(penalties.values(), default=0.0)
        return {owner: penalty - least for owner, penalty in penalties.items()}

    def _forget_idle_owners(self, now: float) -> None:
        self._penalties = {
            owner: entry for owner, entry in self._penalties.items() if self.penalty(owner, now) > _NEGLIGIBLE_S
        }
