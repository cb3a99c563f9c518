"""Wall-clock moments, as the database keeps them, in the monotonic seconds of this run.

Results are bounded: after a jump of the wall clock, no task must wait for years or seem to have waited for years.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from optimizer.common.clock import Clock
from optimizer.queue.backoff import MAX_RETRY_DELAY_S

LONGEST_WAIT_S = 30 * 86400.0


def delay_end(clock: Clock, not_before: datetime | None) -> float:
    """When a retrying task may run again: from now to MAX_RETRY_DELAY_S later."""
    left_s = 0.0 if not_before is None else (not_before - clock.now()).total_seconds()
    return clock.monotonic() + min(max(left_s, 0.0), MAX_RETRY_DELAY_S)


def arrival(clock: Clock, created_at: datetime) -> float:
    """When a task arrived: from LONGEST_WAIT_S ago to now."""
    ago_s = (clock.now() - created_at).total_seconds()
    return clock.monotonic() - min(max(ago_s, 0.0), LONGEST_WAIT_S)


def arrival_reader(clock: Clock) -> Callable[[str], float]:
    """`arrival` for many moments in ISO 8601 that are all read now; several times as fast."""
    latest = clock.monotonic()
    offset, earliest = latest - clock.now().timestamp(), latest - LONGEST_WAIT_S

    def read(text: str) -> float:
        arrived = datetime.fromisoformat(text).timestamp() + offset
        if arrived > latest:  # twice as fast as min and max
            return latest
        return arrived if arrived > earliest else earliest

    return read
