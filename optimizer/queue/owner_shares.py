"""What each owner was given of the devices lately, so that one person's thousand files do not block another's one.

An owner's tasks are set back by the work that was begun for the owner, which is forgotten with a half-life. It is
counted like the work that makes a task due (`TARGET_SLOWDOWN` seconds for each second), so owners who ask for the same
get the same, and an owner who asks for little goes before one who has had much.
"""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.queue.ordering import TARGET_SLOWDOWN

HALF_LIFE_S = 600.0
_NEGLIGIBLE_S = 0.5  # of lag: then an owner is as good as new


class OwnerShares:
    """Not thread-safe: its owner locks. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lags: dict[str, tuple[float, float]] = {}  # lag, and when it was that

    def charge(self, owner: str, work_seconds: float, now: float) -> None:
        """So much work of this owner was begun; negative for what was given back."""
        self._lags[owner] = (max(0.0, self.penalty(owner, now) + TARGET_SLOWDOWN * work_seconds), now)
        if len(self._lags) > 1000:
            self._forget_idle(now)

    def penalty(self, owner: str, now: float) -> float:
        """Seconds by which the owner's tasks are set back now."""
        penalty, at = self._lags.get(owner, (0.0, now))
        return penalty * float(0.5 ** (max(0.0, now - at) / HALF_LIFE_S))

    def penalties(self, owners: Iterable[str], now: float) -> dict[str, float]:
        """Only differences count, so the least of them is taken off all."""
        penalties = {owner: self.penalty(owner, now) for owner in owners}
        least = min(penalties.values(), default=0.0)
        return {owner: penalty - least for owner, penalty in penalties.items()}

    def _forget_idle(self, now: float) -> None:
        self._lags = {owner: entry for owner, entry in self._lags.items() if self.penalty(owner, now) > _NEGLIGIBLE_S}
