"""Time as an argument: whoever decides by time is handed a Clock, so tests move it by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall time in UTC: for people, and for what must mean something after a restart."""

    def monotonic(self) -> float:
        """Seconds that only grow: for every length of time inside one run."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
