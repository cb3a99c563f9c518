"""What is known of the memory that one kind of tasks takes on one kind of device, and how well it was foretold."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from optimizer.memory.regression import Batch, Calibration, Costs

KEPT_FORECASTS = 20
_GROWTH_WHEN_SHORT = 1.5  # of a reservation under which memory ran out
MOST_PRESSURE = 4.0
_RELIEF_PER_TASK = 0.93  # half of the rise is gone after ten tasks without trouble


@dataclass(frozen=True)
class Forecast:
    """Bytes of one task with its share of what is shared: as foretold, as promised, and as it turned out."""

    predicted: int
    reserved: int
    measured: int

    @property
    def error(self) -> float:
        """Of the prediction, as a fraction of the measurement."""
        return abs(self.predicted - self.measured) / self.measured


class CostModel:
    """Not thread-safe. count: measurements ever. pressure: at least 1; above it while memory has lately run out."""

    def __init__(self, prior: Costs, calibration_factor: float) -> None:
        self._calibration = Calibration(prior)
        self._calibration_factor = calibration_factor
        self._forecasts: deque[Forecast] = deque(maxlen=KEPT_FORECASTS)
        self.pressure = 1.0

    @property
    def count(self) -> int:
        return self._calibration.count

    @property
    def is_calibrated(self) -> bool:
        return self._calibration.is_calibrated

    @property
    def margin(self) -> float:
        """What is promised beyond what is predicted, as a fraction of that."""
        return (1.0 + self._usual_margin) * self.pressure - 1.0

    @property
    def promised(self) -> Costs:
        """What is to be reserved: the prediction with the margin.

        The pressure is the last factor, so that a promise raised to the limit is MOST_PRESSURE times the unraised one
        to the last bit.
        """
        return self._calibration.costs.times(1.0 + self._usual_margin).times(self.pressure)

    @property
    def forecasts(self) -> Sequence[Forecast]:
        """The latest ones, each made before its measurement was known."""
        return tuple(self._forecasts)

    def record(self, batch: Batch, growth: int, reserved: int) -> Forecast:
        """A task of `batch` is done, which took `growth` bytes in all. reserved: for one task, with its share."""
        predicted = self._calibration.costs.growth(batch)
        forecast = Forecast(round(predicted / batch.tasks), reserved, round(growth / batch.tasks))
        self._forecasts.append(forecast)
        self._calibration.add(batch, growth)
        self.pressure = 1.0 + (self.pressure - 1.0) * _RELIEF_PER_TASK
        return forecast

    def ran_out(self, promised: float, reserved: float) -> None:
        """Memory ran out for a task under a promise of `reserved` bytes. promised: what it would be promised now.

        The next promise is half as much again as that one, as far as MOST_PRESSURE lets it be. Of several tasks that
        met the same shortage only the first one raises it.
        """
        wanted = reserved * _GROWTH_WHEN_SHORT
        self.pressure = min(MOST_PRESSURE, self.pressure * max(1.0, wanted / max(1.0, promised)))

    def relieve(self, factor: float) -> bool:
        """Time went by without trouble: `factor` of the rise is left. Whether there was any."""
        had_pressure = self.pressure > 1.0
        rise = (self.pressure - 1.0) * factor
        self.pressure = 1.0 + rise if rise > 0.01 else 1.0
        return had_pressure

    def to_json(self) -> dict[str, Any]:
        return {
            "measurements": self._calibration.to_json(),
            "forecasts": [[each.predicted, each.reserved, each.measured] for each in self._forecasts],
            "pressure": round(self.pressure, 3),
        }

    def restore(self, document: Any) -> None:
        """What `to_json` gave. Raises KeyError, TypeError or ValueError when it is something else."""
        forecasts = [Forecast(*(int(nbytes) for nbytes in each)) for each in document["forecasts"]]
        if any(forecast.measured <= 0 for forecast in forecasts):
            raise ValueError("a forecast of nothing")
        self.pressure = min(MOST_PRESSURE, max(1.0, float(document["pressure"])))
        self._calibration.restore(document["measurements"])
        self._forecasts.extend(forecasts)

    @property
    def _usual_margin(self) -> float:
        """The margin while memory has not lately run out."""
        margin = self._calibration.margin
        return margin if self.is_calibrated else max(margin, self._calibration_factor - 1.0)


def accuracy_of(memories: Sequence[CostModel]) -> dict[str, Any]:
    """Of kinds of tasks that are shown as one. At least one kind.

    count: measurements ever. median_error: of the latest forecasts, as a fraction of what was measured; None before
    there is one. is_calibrated, margin, last: of the kind that was measured most; last: bytes of its latest task.
    """
    most = max(memories, key=lambda memory: memory.count)
    errors = [forecast.error for memory in memories for forecast in memory.forecasts]
    return {
        "count": sum(memory.count for memory in memories),
        "median_error": round(median(errors), 4) if errors else None,
        "is_calibrated": most.is_calibrated,
        "margin": round(most.margin, 4),
        "last": asdict(most.forecasts[-1]) if most.forecasts else None,
    }
