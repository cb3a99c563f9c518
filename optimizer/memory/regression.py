"""Robust regression of what tasks that run together really take, with the formula's figures as prior.

Different numbers of concurrent tasks tell the shared part from each task's own; with always the same number the formula
decides how their growth is divided (see `costs`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from operator import mul
from statistics import median
from typing import Any, NamedTuple

from optimizer.memory.costs import ConcurrentTasks, Costs
from whisper_core.common.units import WINDOW_SECONDS

HALF_LIFE = 100  # tasks after which a measurement counts half
KEPT_PER_SIZE = 16  # measurements of 1, 2 to 3, 4 to 7 … tasks, so that a common number crowds out no other
FEW_MEASUREMENTS = 5

# As fractions: a part of the formula being wrong by all of itself is as likely as a measurement being off by a tenth.
_PRIOR_DEVIATION = 1.0
_NOISE = 0.1
_PRIOR_WEIGHT = (_NOISE / _PRIOR_DEVIATION) ** 2
_SECONDS_TO_DOUBLE = 600.0  # of sound that may double a task's own part, even where by the formula it adds less
_REWEIGHTINGS = 4
_SWEEPS = 40

# Of the errors: above all of a few measurements, and above all but one of KEPT_PER_SIZE. The engine copes with what is
# above it when memory runs out.
_MARGIN_QUANTILE = 0.93
_LEAST_MARGIN = 0.05
_MARGIN_OF_ONE = 0.15  # added to it with one measurement, half of that with two, and so on
_MOST_MARGIN = 0.5


class _Measurement(NamedTuple):
    number: int  # counted from the first one ever
    concurrent: ConcurrentTasks
    growth: float


class Calibration:
    """`costs` follow the measurements, the latest ones most and outliers little. Not thread-safe."""

    def __init__(self, prior: Costs) -> None:
        self._prior = prior
        least_slope = prior.per_task / _SECONDS_TO_DOUBLE
        scales = prior._replace(per_second=max(prior.per_second, least_slope))
        self._scales = Costs(*(max(1.0, scale) for scale in scales))  # a part that is 0 by the formula stays about 0
        self._kept: dict[int, deque[_Measurement]] = {}
        self.count = 0  # measurements ever, one for every task
        self.costs = prior
        self.margin = _LEAST_MARGIN + _MARGIN_OF_ONE

    @property
    def is_calibrated(self) -> bool:
        """Whether there are enough measurements to take the margin from. All tasks of a busy period are one."""
        measurements = self._measurements()
        periods = {each.concurrent.period for each in measurements if each.concurrent.period}
        return len(periods) + sum(not each.concurrent.period for each in measurements) >= FEW_MEASUREMENTS

    def add(self, concurrent: ConcurrentTasks, growth: float) -> None:
        """One measurement: `concurrent` took `growth` bytes. Runs for a millisecond or two, unless the busy period's
        peak is known already: thousands of short tasks in a row would spend a fifth of their time here."""
        if self._keep(_Measurement(self.count + 1, concurrent, growth)):
            self._fit()

    def to_json(self) -> list[list[float]]:
        return [
            [
                number,
                concurrent.tasks,
                round(concurrent.audio_seconds, 1),
                concurrent.longer,
                growth,
                round(concurrent.longest, 1),
            ]
            for number, concurrent, growth in self._measurements()
        ]

    def restore(self, rows: Any) -> None:
        """Adds what `to_json` returned. Raises ValueError or TypeError when `rows` are anything else."""
        for row in rows:
            self._keep(_measurement_of(row))
        if self.count:
            self._fit()

    def _keep(self, measurement: _Measurement) -> bool:
        """Returns whether it says anything new. The same peak again only makes others a little older."""
        kept = self._kept.setdefault(measurement.concurrent.tasks.bit_length(), deque(maxlen=KEPT_PER_SIZE))
        period = measurement.concurrent.period
        earlier = next((each for each in kept if period and each.concurrent.period == period), None)
        if earlier is not None:
            kept.remove(earlier)  # it is the same peak, or a lower one from earlier in the busy period
        kept.append(measurement)
        self.count = max(self.count, measurement.number)
        return earlier is None or earlier[1:] != measurement[1:]

    def _measurements(self) -> list[_Measurement]:
        return sorted((each for kept in self._kept.values() for each in kept), key=lambda each: each.number)

    def _fit(self) -> None:
        """Iteratively reweighted least squares of the relative errors, with Huber's weights.

        The median error decides what is an outlier, so a formula that is wrong everywhere is left behind at once.
        """
        measurements = self._measurements()
        ages = [0.5 ** ((self.count - each.number) / HALF_LIFE) for each in measurements]
        lowest = [-cost / scale for cost, scale in zip(self._prior, self._scales, strict=True)]
        for _ in range(_REWEIGHTINGS):
            errors = self._errors(measurements)
            usual = max(_NOISE, median(map(abs, errors)))
            weights = [age * min(1.0, usual / max(abs(error), 1e-9)) for age, error in zip(ages, errors, strict=True)]
            rows = [(weight, *self._equation(each)) for weight, each in zip(weights, measurements, strict=True)]
            parts = zip(self._prior, _solve(rows, lowest), self._scales, strict=True)
            self.costs = Costs(*(max(0.0, cost + deviation * scale) for cost, deviation, scale in parts))
        self.margin = _margin(self._errors(measurements), ages)

    def _errors(self, measurements: Sequence[_Measurement]) -> list[float]:
        """How much more was measured than is expected now, as a fraction of what is expected."""
        return [each.growth / max(1.0, self.costs.growth(each.concurrent)) - 1.0 for each in measurements]

    def _equation(self, measurement: _Measurement) -> tuple[list[float], float]:
        """One row of the regression, terms and target, as fractions of the growth that is expected now."""
        expected = max(1.0, self.costs.growth(measurement.concurrent))
        counts = measurement.concurrent.counts
        terms = [count * scale / expected for count, scale in zip(counts, self._scales, strict=True)]
        return terms, (measurement.growth - self._prior.growth(measurement.concurrent)) / expected


def _measurement_of(row: Any) -> _Measurement:
    """Raises ValueError or TypeError. A row of an earlier run may lack the longest one's length: a full window then."""
    number, tasks, audio_seconds, longer, growth = row[:5]
    (longest,) = row[5:] or [WINDOW_SECONDS]
    concurrent = ConcurrentTasks(int(tasks), float(audio_seconds), int(longer), float(longest))
    is_possible = concurrent.tasks >= 1 and 0 <= concurrent.audio_seconds < inf and 0 < float(growth) < inf
    if not is_possible or not 0 <= concurrent.longest <= WINDOW_SECONDS:
        raise ValueError(f"not a measurement: {concurrent}, {growth} bytes")
    return _Measurement(int(number), concurrent, float(growth))


def _margin(errors: Sequence[float], weights: Sequence[float]) -> float:
    """A fraction that is above nearly all errors."""
    least = _LEAST_MARGIN + _MARGIN_OF_ONE / len(errors)
    above = sum(weights) * (1.0 - _MARGIN_QUANTILE)
    for error, weight in sorted(zip(errors, weights, strict=True), reverse=True):
        above -= weight
        if above < 0:
            return min(_MOST_MARGIN, max(least, error))
    return least


def _solve(rows: Sequence[tuple[float, list[float], float]], lowest: Sequence[float]) -> list[float]:
    """The deviations from the prior that minimise the weighted squares of the rows plus the deviations' own.

    rows: weight, terms, target. lowest: the bound of each deviation; coordinate descent keeps to it at every step.
    """
    size = len(lowest)
    columns = [[terms[i] for _, terms, _ in rows] for i in range(size)]
    weighted = [[weight * terms[i] for weight, terms, _ in rows] for i in range(size)]
    targets = [target for _, _, target in rows]
    matrix = [[sum(map(mul, left, right)) for right in columns] for left in weighted]
    vector = [sum(map(mul, left, targets)) for left in weighted]
    # Without the diagonal, so that a sum over a row leaves out the part that is being solved for.
    couplings = [[0.0 if i == j else each for j, each in enumerate(row)] for i, row in enumerate(matrix)]
    divisors = [matrix[i][i] + _PRIOR_WEIGHT for i in range(size)]
    solution = [0.0] * size
    for _ in range(_SWEEPS):
        before = list(solution)
        for i in range(size):
            solution[i] = max(lowest[i], (vector[i] - sum(map(mul, couplings[i], solution))) / divisors[i])
        if solution == before:
            break
    return solution
