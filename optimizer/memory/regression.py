"""Robust regression of what tasks that run together really take, around what the formula says of them.

The growth of an engine's memory with n tasks is taken for

    shared + n · per_task + seconds of their sound · per_second + tasks of more than one window · per_longer

because that is what can be told apart from outside: an engine says how far its memory grew since it was idle, not
whose the bytes are. Batches of different sizes tell the shared part from each task's own; as long as all were equally
large, the formula decides how their growth is divided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from operator import mul
from statistics import median
from typing import Any, NamedTuple

from whisper_core.text.transcript import WINDOW_SECONDS

HALF_LIFE = 100  # tasks after which a measurement counts half
KEPT_PER_SIZE = 16  # measurements of batches of 1, 2 to 3, 4 to 7 … tasks: a usual size does not crowd out others
FEW_MEASUREMENTS = 5

# As fractions: that the formula is wrong by all of a part is as likely as that a measurement is off by a tenth.
_PRIOR_DEVIATION = 1.0
_NOISE = 0.1
_PRIOR_WEIGHT = (_NOISE / _PRIOR_DEVIATION) ** 2
_SECONDS_TO_DOUBLE = 600.0  # how soon sound may double a task's own part, where the formula says that it adds less
_REWEIGHTINGS = 4
_SWEEPS = 40

_MARGIN_QUANTILE = 0.9  # what is above it is met by what the engine does when memory is short
_LEAST_MARGIN = 0.05
_MARGIN_OF_ONE = 0.15  # more than that while there is one measurement; of several their share of it
_MOST_MARGIN = 0.5


@dataclass(frozen=True)
class Batch:
    """Tasks of one kind that ran together: how many, seconds of sound of all, how many are longer than one window.

    period: a number for the time since the device was idle, in which peaks only rise; 0 when it is not known.
    """

    tasks: int
    audio_seconds: float
    longer: int
    period: int = field(default=0, compare=False)

    @classmethod
    def of(cls, audio_seconds: Sequence[float], period: int = 0) -> Batch:
        longer = sum(length > WINDOW_SECONDS for length in audio_seconds)
        return cls(len(audio_seconds), sum(audio_seconds), longer, period)


class Costs(NamedTuple):
    """Bytes, none negative. shared: once, however many tasks run. per_longer: of a task of more than one window, whose
    next window is encoded while one is decoded."""

    shared: float
    per_task: float
    per_second: float
    per_longer: float

    def growth(self, batch: Batch) -> float:
        """Of all the batch's tasks together."""
        return sum(cost * count for cost, count in zip(self, _counts(batch), strict=True))

    def own(self, audio_seconds: float) -> float:
        """Of one task, without what it shares. Never shrinks as audio_seconds grow."""
        longer = self.per_longer if audio_seconds > WINDOW_SECONDS else 0.0
        return self.per_task + self.per_second * max(0.0, audio_seconds) + longer

    def times(self, factor: float) -> Costs:
        return Costs(*(cost * factor for cost in self))


class _Measurement(NamedTuple):
    number: int  # counted from the first one ever
    batch: Batch
    growth: float


class Calibration:
    """`costs` follow the measurements, the latest most; odd ones count little. Not thread-safe."""

    def __init__(self, prior: Costs) -> None:
        self._prior = prior
        least_slope = prior.per_task / _SECONDS_TO_DOUBLE
        self._scales = prior._replace(per_second=max(prior.per_second, least_slope))
        self._kept: dict[int, deque[_Measurement]] = {}
        self.count = 0
        self.costs = prior
        self.margin = _LEAST_MARGIN + _MARGIN_OF_ONE

    @property
    def is_calibrated(self) -> bool:
        """Whether there are measurements enough for the margin to be theirs."""
        return self.count >= FEW_MEASUREMENTS

    def add(self, batch: Batch, growth: float) -> None:
        """One measurement, in bytes, with the batch that took them. Takes a few milliseconds."""
        self._keep(_Measurement(self.count + 1, batch, growth))
        self._fit()

    def to_json(self) -> list[list[float]]:
        return [
            [each.number, each.batch.tasks, round(each.batch.audio_seconds, 1), each.batch.longer, each.growth]
            for each in self._measurements()
        ]

    def restore(self, rows: Any) -> None:
        """Measurements from `to_json`. Raises ValueError or TypeError when they are something else."""
        for number, tasks, audio_seconds, longer, growth in rows:
            batch = Batch(int(tasks), float(audio_seconds), int(longer))
            if batch.tasks < 1 or not 0 <= batch.audio_seconds < inf or not 0 < float(growth) < inf:
                raise ValueError(f"no measurement: {batch}, {growth} bytes")
            self._keep(_Measurement(int(number), batch, float(growth)))
        if self.count:
            self._fit()

    def _keep(self, measurement: _Measurement) -> None:
        kept = self._kept.setdefault(measurement.batch.tasks.bit_length(), deque(maxlen=KEPT_PER_SIZE))
        period = measurement.batch.period
        earlier = next((each for each in kept if period and each.batch.period == period), None)
        if earlier is not None:
            kept.remove(earlier)  # the same peak, or what it was before it rose
        kept.append(measurement)
        self.count = max(self.count, measurement.number)

    def _measurements(self) -> list[_Measurement]:
        return sorted((each for kept in self._kept.values() for each in kept), key=lambda each: each.number)

    def _fit(self) -> None:
        """Iteratively reweighted least squares of the relative errors, with Huber's weights. What counts as odd depends
        on how far off the others are, so that a formula that is wrong everywhere is left behind at once."""
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
        """By how much more was measured than is expected now, as fractions of that."""
        return [each.growth / max(1.0, self.costs.growth(each.batch)) - 1.0 for each in measurements]

    def _equation(self, measurement: _Measurement) -> tuple[list[float], float]:
        """Terms and target, as fractions of what is expected now."""
        expected = max(1.0, self.costs.growth(measurement.batch))
        counts = _counts(measurement.batch)
        terms = [count * scale / expected for count, scale in zip(counts, self._scales, strict=True)]
        return terms, (measurement.growth - self._prior.growth(measurement.batch)) / expected


def _margin(errors: Sequence[float], weights: Sequence[float]) -> float:
    """What is above nearly all errors."""
    least = _LEAST_MARGIN + _MARGIN_OF_ONE / len(errors)
    above = sum(weights) * (1.0 - _MARGIN_QUANTILE)
    for error, weight in sorted(zip(errors, weights, strict=True), reverse=True):
        above -= weight
        if above < 0:
            return min(_MOST_MARGIN, max(least, error))
    return least


def _counts(batch: Batch) -> tuple[float, float, float, float]:
    """What each of Costs is multiplied with."""
    return 1.0, float(batch.tasks), batch.audio_seconds, float(batch.longer)


def _solve(rows: Sequence[tuple[float, list[float], float]], lowest: Sequence[float]) -> list[float]:
    """Deviations from the prior, each at least its `lowest`, with the least sum of squares: the rows' by their weights,
    and the deviations' own by the prior's. Coordinate descent, which keeps to the bounds at every step."""
    size = len(lowest)
    columns = [[terms[i] for _, terms, _ in rows] for i in range(size)]
    weighted = [[weight * terms[i] for weight, terms, _ in rows] for i in range(size)]
    targets = [target for _, _, target in rows]
    matrix = [[sum(map(mul, left, right)) for right in columns] for left in weighted]
    vector = [sum(map(mul, left, targets)) for left in weighted]
    solution = [0.0] * size
    for _ in range(_SWEEPS):
        for i in range(size):
            rest = sum(matrix[i][j] * solution[j] for j in range(size) if j != i)
            solution[i] = max(lowest[i], (vector[i] - rest) / (matrix[i][i] + _PRIOR_WEIGHT))
    return solution
