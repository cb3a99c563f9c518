"""What the tuner is told and what it answers: settings, observations, changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

Direction = Literal[-1, 1]
Step = Literal["tried", "kept", "taken_back", "by_hand"]


class Setting(Enum):
    CONCURRENT = "max_concurrent_tasks"
    BATCH = "max_batch_size"

    @property
    def env_name(self) -> str:
        """As it is written in the settings file."""
        return self.value.upper()


class Point(NamedTuple):
    """One value of each setting."""

    concurrent: int
    batch: int

    def value(self, setting: Setting) -> int:
        return self.concurrent if setting is Setting.CONCURRENT else self.batch

    def with_value(self, setting: Setting, value: int) -> Point:
        return self._replace(concurrent=value) if setting is Setting.CONCURRENT else self._replace(batch=value)

    def only_difference(self, other: Point) -> Setting | None:
        """The one setting in which they differ; None when they are equal or differ in both."""
        differing = [setting for setting in Setting if self.value(setting) != other.value(setting)]
        return differing[0] if len(differing) == 1 else None


class Bounds(NamedTuple):
    """The lowest and the highest value of each setting."""

    concurrent: tuple[int, int]
    batch: tuple[int, int]

    def of(self, setting: Setting) -> tuple[int, int]:
        return self.concurrent if setting is Setting.CONCURRENT else self.batch

    def contains(self, setting: Setting, value: int) -> bool:
        lowest, highest = self.of(setting)
        return lowest <= value <= highest

    def clamp(self, setting: Setting, value: int) -> int:
        lowest, highest = self.of(setting)
        return min(max(value, lowest), highest)


@dataclass(frozen=True)
class Observation:
    """One sample as the tuner sees it."""

    throughput: float  # seconds of sound transcribed per second
    work: float  # the same with each model's sound weighted by what it costs: a minute of a large model counts for more
    mix: Mapping[str, float]  # each model's share of the sound, 0 to 1
    running: float  # tasks, on average
    bound_fraction: float  # share of the time in which the limit kept a task waiting
    is_disturbed: bool = False  # something else took time, such as loading a model


@dataclass(frozen=True)
class Change:
    """What the tuner did to a setting, and why."""

    setting: Setting
    step: Step
    before: int
    after: int
    text: str
    throughput_before: float | None = None  # seconds of sound per second; None where it was not measured
    throughput_after: float | None = None
