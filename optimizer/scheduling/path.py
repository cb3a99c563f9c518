"""Which of two paths a server's tasks take."""

from __future__ import annotations

from config import DEFAULT_ENGINE, EngineName


class SchedulingPath:
    """Planned, or the plain one: one task at a time in order of arrival.

    Settled before the scheduler starts; from then on any thread may read it.
    """

    def __init__(self, plain_reason: str | None = None, engine: EngineName = DEFAULT_ENGINE) -> None:
        """engine: of the optimized path; the plain one has the reference engine."""
        self.plain_reason = plain_reason  # why it is the plain path; None on the optimized one
        self._engine = engine

    def is_optimized(self) -> bool:
        return self.plain_reason is None

    def openai_whisper_reason(self) -> str | None:
        """Why models are computed by openai-whisper's own functions, which know no int8; None when they are not."""
        if self.plain_reason is None and self._engine == "reference":
            return "ENGINE is reference"
        return self.plain_reason

    def use_plain(self, reason: str) -> None:
        """An earlier reason stands."""
        self.plain_reason = self.plain_reason or reason
