"""How long a task that failed waits before its next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

MAX_RETRY_DELAY_S = 300.0


@dataclass(frozen=True)
class RetryDelay:
    """Doubles with every attempt up to `max_s`, then is shortened at random, so that tasks that failed together do not
    come back together."""

    first_s: float = 5.0
    max_s: float = MAX_RETRY_DELAY_S
    jitter: float = 0.25  # the largest part that is taken off
    random: Callable[[], float] = random.random  # returns a number in [0, 1)

    def __call__(self, attempt: int) -> float:
        """Seconds to wait after the attempt of this number, from 1. In ((1 - jitter) * first_s, max_s]."""
        doublings = min(max(attempt - 1, 0), 30)  # 2^30 is beyond any sensible limit, and no float overflows
        return min(self.first_s * 2.0**doublings, self.max_s) * (1.0 - self.jitter * self.random())
