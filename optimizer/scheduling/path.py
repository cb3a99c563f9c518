"""Which of two paths a server's tasks take."""

from __future__ import annotations


class SchedulingPath:
    """Planned, or the plain one: one task at a time in order of arrival.

    Settled before the scheduler starts; from then on any thread may read it.
    """

    def __init__(self, plain_reason: str | None = None) -> None:
        self.plain_reason = plain_reason  # why it is the plain path; None on the optimized one

    def is_optimized(self) -> bool:
        return self.plain_reason is None

    def use_plain(self, reason: str) -> None:
        """An earlier reason stands."""
        self.plain_reason = self.plain_reason or reason
