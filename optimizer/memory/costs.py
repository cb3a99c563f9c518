"""What tasks that run together cost: the values that the formula, the regression and the estimates share.

The growth of an engine's memory with n tasks is taken to be

    shared + n · per_task + seconds of their sound · per_second + tasks of more than one window · per_longer

because that much can be told apart from outside: an engine reports how far its memory grew since it was idle, not whose
the bytes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from whisper_core.common.units import WINDOW_SECONDS


@dataclass(frozen=True)
class ConcurrentTasks:
    """Tasks of one kind that ran together."""

    tasks: int
    audio_seconds: float  # of all of them
    longer: int  # how many are longer than one window
    period: int = field(default=0, compare=False)  # number of the busy period; 0 when it is not known

    @classmethod
    def of(cls, audio_seconds: Sequence[float], period: int = 0) -> ConcurrentTasks:
        longer = sum(length > WINDOW_SECONDS for length in audio_seconds)
        return cls(len(audio_seconds), sum(audio_seconds), longer, period)

    @property
    def counts(self) -> tuple[float, float, float, float]:
        """What each part of Costs is multiplied with."""
        return 1.0, float(self.tasks), self.audio_seconds, float(self.longer)


class Costs(NamedTuple):
    """Bytes, never negative."""

    shared: float  # once, however many tasks run
    per_task: float
    per_second: float
    per_longer: float  # for a task of more than one window: its next one is encoded while one is decoded

    def growth(self, concurrent: ConcurrentTasks) -> float:
        """What all these tasks take together."""
        return sum(cost * count for cost, count in zip(self, concurrent.counts, strict=True))

    def own(self, audio_seconds: float) -> float:
        """What one task takes, without what it shares. Never shrinks as audio_seconds grow."""
        longer = self.per_longer if audio_seconds > WINDOW_SECONDS else 0.0
        return self.per_task + self.per_second * max(0.0, audio_seconds) + longer

    def times(self, factor: float) -> Costs:
        return Costs(*(cost * factor for cost in self))
