"""Time as an argument: code that depends on the time takes a Clock, so that tests can move it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall time in UTC: for people, and for moments that must outlast a restart."""

    def monotonic(self) -> float:
        """Seconds that only grow: for every duration within one run."""

    def since_boot(self) -> float:
        """Likewise, and they go on while the machine sleeps, as wall time does."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def since_boot(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
