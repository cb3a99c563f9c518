"""How many tasks ran and waited, averaged over time: a look every half minute would miss what happens in between."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """Tasks at one moment. allowed: how many limits and slots let run. limit: how many the limit alone lets run."""

    running: int = 0
    waiting: int = 0
    retrying: int = 0
    allowed: int = 1
    limit: int = 1

    @property
    def occupancy(self) -> float:
        """Running tasks of those that may run, 0 to 1."""
        return min(1.0, self.running / max(1, self.allowed))

    @property
    def is_bound(self) -> bool:
        """Whether the limit is what keeps a task waiting."""
        return self.waiting > 0 and self.running >= self.limit


@dataclass(frozen=True)
class MeanLevel:
    """Averages over `span_seconds`. bound_fraction: of the time in which the limit kept a task waiting."""

    span_seconds: float
    running: float
    waiting: float
    retrying: float
    occupancy: float
    bound_fraction: float


class LevelMeter:
    """One thread at a time. Times are monotonic seconds that never go back."""

    def __init__(self, now: float) -> None:
        self._level = Level()
        self._since = now  # of the level
        self._began = now  # of the average
        self._sums = [0.0] * 5

    def set(self, level: Level, now: float) -> None:
        """From now on it is this."""
        self._add(now)
        self._level = level

    def take(self, now: float) -> MeanLevel:
        """The average since the last `take`."""
        self._add(now)
        span = now - self._began
        means = [total / span for total in self._sums] if span > 0 else list(_figures(self._level))
        self._began, self._sums = now, [0.0] * 5
        return MeanLevel(span, *means)

    def _add(self, now: float) -> None:
        span = now - self._since
        self._since = now
        self._sums = [total + span * value for total, value in zip(self._sums, _figures(self._level), strict=True)]


def _figures(level: Level) -> tuple[float, ...]:
    return (level.running, level.waiting, level.retrying, level.occupancy, float(level.is_bound))
