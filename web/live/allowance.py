"""How fast a client may send: so many messages a second, after a first burst."""

from __future__ import annotations

from collections.abc import Callable

MESSAGES_PER_S = 30.0
BURST = 60  # a page that watches many tasks asks for all of them when it connects again


class Allowance:
    def __init__(
        self, monotonic: Callable[[], float], per_second: float = MESSAGES_PER_S, burst: float = BURST
    ) -> None:
        self._monotonic = monotonic
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = monotonic()

    def spend(self) -> float:
        """One message. Returns the seconds after which the client may send the next."""
        now = self._monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second) - 1
        self._at = now
        return max(0.0, -self._left / self._per_second)
