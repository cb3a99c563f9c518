"""How far forecasts were off: what each task was promised when it was first asked about, against what came.

That is told beside the forecasts, and it makes their interval: the next promise is as wrong as the last ones were.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from optimizer.timing.forecast import Expected

KEPT = 200
MOST_PROMISES = 10_000
ENOUGH = 20  # measurements; before, the interval is a guess
GUESSED_FACTORS = (0.5, 2.0)
INTERVAL = (0.1, 0.9)  # the quantiles of the factors so far, so that four of five ends fall inside
LEAST_PROMISED_S = (
    1.0  # a promise is counted as at least this long, or a tenth of a second late would be a large factor
)


@dataclass(frozen=True)
class Interval:
    """Seconds from now: the end that is expected, and between which two it falls in four of five cases."""

    start: float
    end: float
    earliest_end: float
    latest_end: float


@dataclass(frozen=True)
class ForecastAccuracy:
    """count: promises that were kept or broken so far, at most 200. median_error_seconds: of the end, whichever way.
    median_error: the same in parts of the time promised. within_interval: the part that ended in its interval."""

    count: int
    median_error_seconds: float | None
    median_error: float | None
    within_interval: float | None


@dataclass(frozen=True)
class _Outcome:
    promised_s: float
    actual_s: float
    was_within: bool


class ForecastTracker:
    """Any thread. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._promises: dict[str, tuple[float, Interval]] = {}
        self._outcomes: deque[_Outcome] = deque(maxlen=KEPT)
        self._factors = GUESSED_FACTORS

    def interval(self, expected: Expected) -> Interval:
        low, high = self._factors
        return Interval(
            expected.start,
            expected.end,
            max(expected.start, low * expected.end),
            max(expected.end, high * expected.end),
        )

    def promise(self, task_id: str, expected: Expected, now: float) -> None:
        """The first one of a task counts; later ones know more."""
        interval = self.interval(expected)
        with self._lock:
            if task_id not in self._promises and len(self._promises) < MOST_PROMISES:
                self._promises[task_id] = (now, interval)

    def done(self, task_id: str, now: float) -> None:
        """The task is finished."""
        with self._lock:
            promised = self._promises.pop(task_id, None)
            if promised is None:
                return
            at, interval = promised
            actual = now - at
            within = interval.earliest_end <= actual <= interval.latest_end
            self._outcomes.append(_Outcome(interval.end, actual, within))
            self._factors = _factors_of(self._outcomes)

    def forget(self, task_id: str) -> None:
        """It was cancelled, deleted, or made to wait by a failure, so its promise says nothing of forecasts."""
        with self._lock:
            self._promises.pop(task_id, None)

    def accuracy(self) -> ForecastAccuracy:
        with self._lock:
            outcomes = list(self._outcomes)
        if not outcomes:
            return ForecastAccuracy(0, None, None, None)
        return ForecastAccuracy(
            count=len(outcomes),
            median_error_seconds=statistics.median(abs(each.actual_s - each.promised_s) for each in outcomes),
            median_error=statistics.median(
                abs(each.actual_s - each.promised_s) / max(each.promised_s, LEAST_PROMISED_S) for each in outcomes
            ),
            within_interval=sum(each.was_within for each in outcomes) / len(outcomes),
        )

    def dump(self) -> list[dict[str, Any]]:
        """For `load` after a restart."""
        with self._lock:
            return [asdict(each) for each in self._outcomes]

    def load(self, outcomes: Sequence[dict[str, Any]]) -> None:
        """Raises TypeError when it is nothing that `dump` gave."""
        loaded = [_Outcome(**each) for each in outcomes]
        with self._lock:
            self._outcomes.extend(loaded)
            self._factors = _factors_of(self._outcomes)


def _factors_of(outcomes: Sequence[_Outcome]) -> tuple[float, float]:
    """Between which factors of the promised time most tasks were done."""
    if len(outcomes) < ENOUGH:
        return GUESSED_FACTORS
    factors = sorted(each.actual_s / max(each.promised_s, LEAST_PROMISED_S) for each in outcomes)
    low, high = (factors[round(quantile * (len(factors) - 1))] for quantile in INTERVAL)
    return min(low, 1.0), max(high, 1.0)
