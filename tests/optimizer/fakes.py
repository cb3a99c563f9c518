"""What tests put in the place of the world."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
        self._monotonic = 1000.0
        self._slept_s = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def since_boot(self) -> float:
        return self._monotonic + self._slept_s

    def sleep(self, seconds: float) -> None:
        """The machine does, and wakes up again."""
        self._now += timedelta(seconds=seconds)
        self._slept_s += seconds

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """The wall clock is set; real time does not move."""
        self._now += timedelta(seconds=seconds)
