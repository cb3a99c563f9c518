"""How many requests somebody may send: a token bucket each, in memory."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from errors import TooManyRequestsError

MAX_BUCKETS = 10_000  # beyond that the one that was used longest ago is forgotten


class RateLimiter:
    """Any thread."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """per_minute: as many at once, too; 0: no limit."""
        self._capacity = float(per_minute)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left, and when

    def take(self, who: str) -> None:
        """One request. Raises TooManyRequestsError, which says when the next one may come."""
        if not self._capacity:
            return
        now, per_second = self._monotonic(), self._capacity / 60
        with self._lock:
            left, then = self._buckets.pop(who, (self._capacity, now))
            left = min(self._capacity, left + (now - then) * per_second)
            is_allowed = left >= 1
            self._buckets[who] = (left - 1 if is_allowed else left, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        if not is_allowed:
            raise TooManyRequestsError(math.ceil((1 - left) / per_second))
