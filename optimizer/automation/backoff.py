"""What becomes of a delivery after an attempt: delivered, tried again later, or given up."""

from __future__ import annotations

from dataclasses import dataclass

MAX_ATTEMPTS = 10
FIRST_DELAY_S = 5.0
GROWTH = 4.0
MAX_DELAY_S = 6 * 3600.0
JITTER = 0.2  # of the delay, either way
GONE = 410
PRIVATE_ADDRESS = "private_address"


@dataclass(frozen=True)
class Outcome:
    """Of one attempt: the answer's status, or why there was none."""

    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """The receiver wants nothing any more."""
        return self.status == GONE

    @property
    def is_hopeless(self) -> bool:
        return self.is_gone or self.error == PRIVATE_ADDRESS


def delay_after(attempts: int) -> float:
    """Seconds to wait after so many attempts, without jitter: 5 s, 20 s, 80 s, 5 min … up to 6 h."""
    return min(FIRST_DELAY_S * GROWTH ** (attempts - 1), MAX_DELAY_S)


def next_delay(attempts: int, outcome: Outcome, chance: float) -> float | None:
    """Seconds until the next attempt; None when there is none. attempts: with this one. chance: from 0 to 1."""
    if outcome.is_delivered or outcome.is_hopeless or attempts >= MAX_ATTEMPTS:
        return None
    delay = delay_after(attempts) * (1 + JITTER * (2 * chance - 1))
    return max(delay, min(outcome.retry_after_s or 0.0, MAX_DELAY_S))
