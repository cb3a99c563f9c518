"""How far forecasts were off: the first forecast that was given for each task, compared with what came.

This is shown beside the forecasts and gives their interval: the next one is taken to be as wrong as the last ones were.
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
MOST_OPEN = 10_000  # forecasts whose task is not done yet
ENOUGH = 20  # outcomes; with fewer the interval is a guess
GUESSED_FACTORS = (0.5, 2.0)
INTERVAL = (0.1, 0.9)  # quantiles of the factors so far, so that four of five ends fall inside
LEAST_PROMISED_S = 1.0  # a forecast counts as at least this long; else a tenth of a second would be a large factor


@dataclass(frozen=True)
class Interval:
    """Seconds from now."""

    start: float
    end: float
    earliest_end: float  # in four of five cases a task ends between these two
    latest_end: float


@dataclass(frozen=True)
class ForecastAccuracy:
    """Of the latest forecasts whose task is done; the figures are None before there is one."""

    count: int  # at most KEPT
    median_error_seconds: float | None  # of the end, early or late
    median_error: float | None  # the same as a fraction of the time that was forecast
    within_interval: float | None  # share of the tasks that ended within their interval, 0 to 1


@dataclass(frozen=True)
class _Outcome:
    """What is kept over restarts; its fields are the names in the document."""

    promised_s: float  # the end that was forecast
    actual_s: float
    was_within: bool  # its interval


class ForecastTracker:
    """Any thread. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[str, tuple[float, Interval]] = {}  # when it was made, and the forecast, by task id
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

    def record_forecast(self, task_id: str, expected: Expected, now: float) -> None:
        """A forecast was given. Only the first one for a task counts, since later ones know more."""
        interval = self.interval(expected)
        with self._lock:
            if task_id not in self._open and len(self._open) < MOST_OPEN:
                self._open[task_id] = (now, interval)

    def record_end(self, task_id: str, now: float) -> None:
        """The task is finished."""
        with self._lock:
            given = self._open.pop(task_id, None)
            if given is None:
                return
            at, interval = given
            actual = now - at
            within = interval.earliest_end <= actual <= interval.latest_end
            self._outcomes.append(_Outcome(interval.end, actual, within))
            self._factors = _factors_of(self._outcomes)

    def discard(self, task_id: str) -> None:
        """It was cancelled, deleted or delayed by a failure, which says nothing about forecasts."""
        with self._lock:
            self._open.pop(task_id, None)

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
        """The outcomes, for `load` after a restart."""
        with self._lock:
            return [asdict(each) for each in self._outcomes]

    def load(self, outcomes: Sequence[dict[str, Any]]) -> None:
        """Raises TypeError when it is not what `dump` returned."""
        loaded = [_Outcome(**each) for each in outcomes]
        with self._lock:
            self._outcomes.extend(loaded)
            self._factors = _factors_of(self._outcomes)


def _factors_of(outcomes: Sequence[_Outcome]) -> tuple[float, float]:
    """Between which multiples of the forecast time most tasks were done."""
    if len(outcomes) < ENOUGH:
        return GUESSED_FACTORS
    factors = sorted(each.actual_s / max(each.promised_s, LEAST_PROMISED_S) for each in outcomes)
    low, high = (factors[round(quantile * (len(factors) - 1))] for quantile in INTERVAL)
    return min(low, 1.0), max(high, 1.0)
