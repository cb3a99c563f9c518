"""What tasks of one kind take on devices of one title: learned from measurements, with a margin on top.

Three numbers: predicted is what the regression expects, reserved is that with the margin, measured is what came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from optimizer.memory.costs import ConcurrentTasks, Costs
from optimizer.memory.regression import Calibration

KEPT_PREDICTIONS = 20
_GROWTH_WHEN_SHORT = 1.5  # times the reservation under which memory ran out
MOST_PRESSURE = 4.0
_RELIEF_PER_TASK = 0.93  # half of the rise is gone after ten tasks without trouble


@dataclass(frozen=True)
class Prediction:
    """Bytes of one task, its part of what tasks share included."""

    predicted: int  # before the measurement was known
    reserved: int
    measured: int

    @property
    def error(self) -> float:
        """How far the prediction was off, as a fraction of the measurement."""
        return abs(self.predicted - self.measured) / self.measured


class CostModel:
    """Not thread-safe."""

    def __init__(self, prior: Costs, calibration_factor: float) -> None:
        """prior: by the formula. calibration_factor: what to multiply it with while there are few measurements."""
        self._prior = prior
        self._calibration = Calibration(prior)
        self._calibration_factor = calibration_factor
        self._predictions: deque[Prediction] = deque(maxlen=KEPT_PREDICTIONS)
        self.pressure = 1.0  # multiplies reservations; above 1 while memory has lately run out

    @property
    def count(self) -> int:
        """Measurements ever."""
        return self._calibration.count

    @property
    def is_calibrated(self) -> bool:
        return self._calibration.is_calibrated

    @property
    def margin(self) -> float:
        """What is reserved beyond the prediction, as a fraction of it."""
        return (1.0 + self._usual_margin) * self.pressure - 1.0

    @property
    def to_reserve(self) -> Costs:
        """The predicted costs with the margin. A few measurements of small bursts say little of large ones, so they may
        raise what the formula reserves and not lower it.

        The pressure is the last factor, so that costs raised to the limit are MOST_PRESSURE times the unraised ones to
        the last bit.
        """
        costs = self._calibration.costs
        if not self.is_calibrated:
            costs = Costs(*map(max, costs, self._prior))
        return costs.times(1.0 + self._usual_margin).times(self.pressure)

    @property
    def predictions(self) -> Sequence[Prediction]:
        """The latest ones."""
        return tuple(self._predictions)

    def predict(self, concurrent: ConcurrentTasks) -> int:
        """Bytes of one of these tasks, with its part of what they share, without the margin."""
        return round(self._calibration.costs.growth(concurrent) / concurrent.tasks)

    def record(self, concurrent: ConcurrentTasks, growth: int, reserved: int) -> Prediction:
        """A task of `concurrent` is done, and they took `growth` bytes in all. reserved: for one task, with its part of
        what they share."""
        prediction = Prediction(self.predict(concurrent), reserved, round(growth / concurrent.tasks))
        self._predictions.append(prediction)
        self._calibration.add(concurrent, growth)
        self.pressure = 1.0 + (self.pressure - 1.0) * _RELIEF_PER_TASK
        return prediction

    def record_out_of_memory(self, estimate: float, reserved: float) -> None:
        """Memory ran out for a task that had `reserved` bytes. estimate: what would be reserved for it now.

        The next reservation is half as large again as that one, within MOST_PRESSURE. Of several tasks that met the
        same shortage only the first one raises it.
        """
        wanted = reserved * _GROWTH_WHEN_SHORT
        self.pressure = min(MOST_PRESSURE, self.pressure * max(1.0, wanted / max(1.0, estimate)))

    def relieve(self, factor: float) -> bool:
        """Time went by without trouble: keeps `factor` of the rise. Returns whether there was any."""
        had_pressure = self.pressure > 1.0
        rise = (self.pressure - 1.0) * factor
        self.pressure = 1.0 + rise if rise > 0.01 else 1.0
        return had_pressure

    def to_json(self) -> dict[str, Any]:
        return {
            "measurements": self._calibration.to_json(),
            "forecasts": [[each.predicted, each.reserved, each.measured] for each in self._predictions],
            "pressure": round(self.pressure, 3),
        }

    def restore(self, document: Any) -> None:
        """Restores what `to_json` returned. Raises KeyError, TypeError or ValueError for anything else."""
        predictions = [Prediction(*(int(nbytes) for nbytes in each)) for each in document["forecasts"]]
        if any(prediction.measured <= 0 for prediction in predictions):
            raise ValueError("a prediction without a measurement")
        self.pressure = min(MOST_PRESSURE, max(1.0, float(document["pressure"])))
        self._calibration.restore(document["measurements"])
        self._predictions.extend(predictions)

    @property
    def _usual_margin(self) -> float:
        """The margin while memory has not lately run out."""
        margin = self._calibration.margin
        return margin if self.is_calibrated else max(margin, self._calibration_factor - 1.0)


def accuracy_of(cost_models: Sequence[CostModel]) -> dict[str, Any]:
    """How well the tasks of these kinds, at least one, were predicted; they are shown as one.

    count: measurements ever. median_error: of the latest predictions, as a fraction of what was measured; None before
    there is one. is_calibrated, margin, last: of the kind that was measured most; last: bytes of its latest task.
    """
    most = max(cost_models, key=lambda each: each.count)
    errors = [prediction.error for each in cost_models for prediction in each.predictions]
    return {
        "count": sum(each.count for each in cost_models),
        "median_error": round(median(errors), 4) if errors else None,
        "is_calibrated": most.is_calibrated,
        "margin": round(most.margin, 4),
        "last": asdict(most.predictions[-1]) if most.predictions else None,
    }
