"""What tasks that run together cost: the values that the formula, the regression and the estimates share.

The growth of an engine's memory with n tasks is taken to be

    shared + n · per_task + seconds of their sound · per_second + tasks of more than one window · per_longer

and, with word timestamps, what the longest of them adds, because windows are aligned one at a time,

    its window's length · per_text + that length² · per_scores

with the length as a fraction of 30 s. No more is taken apart, because no more can be told apart from outside: an
engine reports how far its memory grew since it was idle, not whose the bytes are.
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
    longest: float = WINDOW_SECONDS  # seconds of the longest one's first window; a full one when it is not known
    period: int = field(default=0, compare=False)  # number of the busy period; 0 when it is not known
    reserved_each: int = field(default=0, compare=False)  # bytes, on average; 0 when it is not known

    @classmethod
    def of(cls, audio_seconds: Sequence[float], period: int = 0, reserved_each: int = 0) -> ConcurrentTasks:
        longer = sum(length > WINDOW_SECONDS for length in audio_seconds)
        longest = min(WINDOW_SECONDS, max(audio_seconds))
        return cls(len(audio_seconds), sum(audio_seconds), longer, longest, period, reserved_each)

    @property
    def counts(self) -> tuple[float, ...]:
        """What each part of Costs is multiplied with."""
        window = _share_of_window(self.longest)
        return 1.0, float(self.tasks), self.audio_seconds, float(self.longer), window, window**2


class Costs(NamedTuple):
    """Bytes, never negative."""

    shared: float  # once, however many tasks run
    per_task: float
    per_second: float
    per_longer: float  # for a task of more than one window: its next one is encoded while one is decoded
    per_text: float = 0.0  # the pass for word timestamps over a full window: what grows with the text
    per_scores: float = 0.0  # and what grows with the text and with the sound

    def growth(self, concurrent: ConcurrentTasks) -> float:
        """What all these tasks take together."""
        return sum(cost * count for cost, count in zip(self, concurrent.counts, strict=True))

    def own(self, audio_seconds: float) -> float:
        """What one task takes, without what it shares. Never shrinks as audio_seconds grow.

        With word timestamps the pass counts with each task: nobody knows which of them will be the longest.
        """
        longer = self.per_longer if audio_seconds > WINDOW_SECONDS else 0.0
        window = _share_of_window(audio_seconds)
        aligned = self.per_text * window + self.per_scores * window**2
        return self.per_task + self.per_second * max(0.0, audio_seconds) + longer + aligned

    def times(self, factor: float) -> Costs:
        return Costs(*(cost * factor for cost in self))


def _share_of_window(audio_seconds: float) -> float:
    """How much of a window a recording fills at most.

    Its text may fill as much of the longest that there can be: 224 tokens in 30 s, or 7.5 in a second. English speech
    was measured at 3 to 4.
    """
    return min(1.0, max(0.0, audio_seconds) / WINDOW_SECONDS)
