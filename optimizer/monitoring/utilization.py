"""How many tasks run and wait, averaged over time: one look per sample would miss what happens in between."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Utilization:
    """Tasks at one moment."""

    running: int = 0
    waiting: int = 0
    retrying: int = 0
    allowed: int = 1  # tasks that the limit and the devices' slots together let run
    limit: int = 1  # tasks that the limit alone lets run

    @property
    def occupancy(self) -> float:
        """Running tasks as a fraction of those that may run, 0 to 1."""
        return min(1.0, self.running / max(1, self.allowed))

    @property
    def is_bound(self) -> bool:
        """Whether the limit is what keeps a task waiting."""
        return self.waiting > 0 and self.running >= self.limit


@dataclass(frozen=True)
class MeanUtilization:
    """Averages over `span_seconds`."""

    span_seconds: float
    running: float
    waiting: float
    retrying: float
    occupancy: float
    bound_fraction: float  # share of the time in which the limit kept a task waiting


class UtilizationMeter:
    """One thread at a time. Times are monotonic seconds and never go back."""

    def __init__(self, now: float) -> None:
        self._current = Utilization()
        self._since = now  # when it became current
        self._began = now  # the span that is averaged
        self._sums = [0.0] * 5

    def set(self, current: Utilization, now: float) -> None:
        """It is so from now on."""
        self._add_elapsed(now)
        self._current = current

    def restart(self, now: float) -> MeanUtilization:
        """The average since the last restart; a new span begins."""
        self._add_elapsed(now)
        span = now - self._began
        means = [total / span for total in self._sums] if span > 0 else list(_figures(self._current))
        self._began, self._sums = now, [0.0] * 5
        return MeanUtilization(span, *means)

    def _add_elapsed(self, now: float) -> None:
        elapsed = now - self._since
        self._since = now
        figures = _figures(self._current)
        self._sums = [total + elapsed * value for total, value in zip(self._sums, figures, strict=True)]


def _figures(current: Utilization) -> tuple[float, ...]:
    """In the order of MeanUtilization's fields."""
    return (current.running, current.waiting, current.retrying, current.occupancy, float(current.is_bound))
