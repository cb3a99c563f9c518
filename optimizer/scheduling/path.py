"""Which of two paths a server's tasks take."""

from __future__ import annotations


class SchedulingPath:
    """Planned, or the plain one: one task at a time in order of arrival.

    Settled before the scheduler starts; from then on any thread may read it.
    """

    def __init__(self, plain_reason: str | None = None, no_int8_reason: str | None = None) -> None:
        """no_int8_reason: why the engine of the optimized path computes no int8 models; None when it does."""
        self.plain_reason = plain_reason  # why it is the plain path; None on the optimized one
        self._no_int8_reason = no_int8_reason

    def is_optimized(self) -> bool:
        return self.plain_reason is None

    def no_int8_reason(self) -> str | None:
        """Why no int8 models are computed; None when they are. The plain path's engine knows none."""
        return self.plain_reason or self._no_int8_reason

    def use_plain(self, reason: str) -> None:
        """An earlier reason stands."""
        self.plain_reason = self.plain_reason or reason
