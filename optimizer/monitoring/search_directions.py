"""Where the tuner may go next: neighbouring values, except in directions that were refused or paused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from optimizer.monitoring.tuning import Bounds, Direction, Point, Setting

REST_SAMPLES, LONGEST_REST_SAMPLES = 30, 960
PAUSE_SAMPLES = 60  # after a person set the value
STEP_UP, STEP_DOWN = 1.6, 0.75  # factors


@dataclass
class _Direction:
    """The outcome of earlier trials in one direction of one setting."""

    refusals: int = 0
    rests_until: int = 0


class SearchDirections:
    """Which directions rest, and for how long. Time is the number of the current sample."""

    def __init__(self) -> None:
        self._directions: dict[tuple[Setting, Direction], _Direction] = {}
        self._paused_until: dict[Setting, int] = {}
        self._last_kept: Direction = 1

    def may_try(self, setting: Setting, direction: Direction, now: int) -> bool:
        is_paused = now < self._paused_until.get(setting, 0)
        return not is_paused and now >= self._of(setting, direction).rests_until

    def neighbours(self, point: Point, bounds: Bounds) -> Iterator[tuple[Setting, int, str]]:
        """Other values of one setting, with the reason to try them; first in the direction that paid last."""
        up_first: tuple[Direction, Direction] = (1, -1)
        down_first: tuple[Direction, Direction] = (-1, 1)
        for setting in Setting:
            for direction in up_first if self._last_kept > 0 else down_first:
                value = self._next_value(setting, direction, point, bounds)
                if value != point.value(setting):
                    yield setting, value, _aim(setting, direction)

    def keep(self, setting: Setting, direction: Direction, now: int) -> None:
        """A trial in this direction paid: go on, and leave the way back alone for a while."""
        self._last_kept = direction
        self._of(setting, direction).refusals = 0
        self._of(setting, -1 if direction > 0 else 1).rests_until = now + REST_SAMPLES

    def refuse(self, setting: Setting, direction: Direction) -> None:
        """A trial in this direction did not pay."""
        self._of(setting, direction).refusals += 1

    def rest(self, setting: Setting, direction: Direction, now: int) -> int:
        """Leaves this direction alone; returns for how many samples, which doubles with every refusal in a row."""
        state = self._of(setting, direction)
        samples: int = min(LONGEST_REST_SAMPLES, REST_SAMPLES * 2 ** max(0, state.refusals - 1))
        state.rests_until = now + samples
        return samples

    def pause(self, setting: Setting, now: int) -> None:
        """Leaves the setting alone, since a person chose its value."""
        self._paused_until[setting] = now + PAUSE_SAMPLES

    def _next_value(self, setting: Setting, direction: Direction, point: Point, bounds: Bounds) -> int:
        """One step further; upwards one more for every refusal, because small steps may hide a gain."""
        value = point.value(setting)
        if direction < 0:
            return bounds.clamp(setting, min(value - 1, round(value * STEP_DOWN)))
        for _ in range(1 + self._of(setting, 1).refusals):
            value = max(value + 1, round(value * STEP_UP))
        return bounds.clamp(setting, value)

    def _of(self, setting: Setting, direction: Direction) -> _Direction:
        return self._directions.setdefault((setting, direction), _Direction())


def _aim(setting: Setting, direction: Direction) -> str:
    if setting is Setting.BATCH:
        return f"to see whether {'larger' if direction > 0 else 'smaller'} rounds get more done"
    if direction > 0:
        return "tasks wait, and more of them at a time may get more done"
    return "to see whether fewer at a time get as much done, so that each text comes sooner"
