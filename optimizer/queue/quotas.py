"""How much one owner may have on the server, so that nobody fills the disk or the queue alone."""

from __future__ import annotations

from dataclasses import dataclass

from config import Settings
from errors import QuotaExceededError
from optimizer.storage.repository import TaskReader


@dataclass(frozen=True)
class OwnerQuotas:
    """0: no limit."""

    max_queued_seconds: float = 0.0
    max_stored_bytes: int = 0

    @classmethod
    def of(cls, settings: Settings) -> OwnerQuotas:
        return cls(settings.max_queued_hours_per_owner * 3600, settings.max_stored_mb_per_owner * 1_000_000)

    def check(self, rows: TaskReader, owner: str, *, nbytes: int, seconds: float = 0.0) -> None:
        """nbytes, seconds: what is to be added. Raises QuotaExceededError.

        Sound whose length is not known yet counts as nothing; it counts for what comes later.
        """
        if not (self.max_queued_seconds or self.max_stored_bytes):
            return
        usage = rows.usage_of(owner)
        if self.max_stored_bytes and usage.stored_bytes + nbytes > self.max_stored_bytes:
            raise QuotaExceededError(
                f"One account may keep {self.max_stored_bytes // 1_000_000} MB here. Delete what you no longer need."
            )
        is_full = usage.queued_seconds > 0 and usage.queued_seconds + seconds > self.max_queued_seconds
        if self.max_queued_seconds and is_full:
            raise QuotaExceededError(
                f"One account may have {self.max_queued_seconds / 3600:g} hours waiting. Send this when some are done."
            )
