"""What was done since the start, as sums that only grow: whoever reads them twice knows what happened in between."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

WAIT_BOUNDS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)


class Distribution:
    """How many values lie at or below each bound. Not thread-safe."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def up_to(self) -> list[int]:
        """For each bound, and last of all values."""
        sums, count = [], 0
        for each in self._counts:
            sums.append(count := count + each)
        return sums


@dataclass(frozen=True)
class Totals:
    """A copy, of one moment."""

    audio_seconds: Mapping[tuple[str, str], float]  # transcribed, by device and model
    waits: tuple[int, ...]  # tasks that began, by WAIT_BOUNDS_S; see Distribution.up_to
    wait_seconds: float  # of all of them
    moved_to_cpu: int  # tasks that a GPU's memory did not hold
