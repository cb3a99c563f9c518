"""What to change when the measurements say so: hill climbing, with hysteresis, over how much runs at the same time.

A change is a trial: some samples before it, some after it, and it stays only if that paid. More of something must gain
throughput; fewer tasks at a time may stay when they lose nothing, since then each text comes sooner. A direction that
was refused is left alone for a time that doubles, so the system settles. Only samples count in which the limit was
what held tasks back: where memory binds, or too little waits, nothing can be learned and nothing is changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import sqrt
from statistics import fmean, variance
from typing import Literal

GAIN = 0.03  # more than measuring the same thing twice differs by
TOLERANCE = 0.02  # what fewer tasks at a time may lose against the best that is known; below GAIN, so nothing swings
CONFIDENCE = 1.8  # standard errors that a result must be clear of before all samples are there
LEAST_NOISE = 0.02  # of one sample; a few that happen to agree do not make it less
BASE_SAMPLES = 10
EARLY_SAMPLES, ALL_SAMPLES = 5, 20
SETTLING_SAMPLES = 1  # after a change: tasks of before still run in it
GIVE_UP_SAMPLES = 10  # of a trial that cannot be measured
REST_SAMPLES, LONGEST_REST_SAMPLES = 30, 960
PAUSE_SAMPLES = 60  # after a person set the value
REMEMBERED_SAMPLES = 240
BOUND_FRACTION = 0.8
SAME_MIX = 0.3  # the difference, 0 to 1, from which on two times had different work
STEP_UP, STEP_DOWN = 1.6, 0.75

Direction = Literal[-1, 1]
Step = Literal["tried", "kept", "taken_back", "by_hand"]


class Setting(Enum):
    CONCURRENT = "max_concurrent_tasks"
    BATCH = "max_batch_size"


Point = tuple[int, int]
"""max_concurrent_tasks, max_batch_size."""


@dataclass(frozen=True)
class Observation:
    """One sample as the tuner sees it.

    throughput: seconds of sound done per second. work: the same with each model's sound weighted by what it costs, so
    that a minute of a large model counts for more than one of a small model. mix: each model's share of the sound, 0
    to 1. running: tasks, on average. bound_fraction: of the time, in which tasks waited and the limit held them back.
    is_disturbed: something else took time, such as loading a model.
    """

    throughput: float
    work: float
    mix: Mapping[str, float]
    running: float
    bound_fraction: float
    is_disturbed: bool = False


@dataclass(frozen=True)
class Change:
    """before, after: of the setting. Throughputs are seconds of sound per second, None where they were not measured."""

    setting: Setting
    step: Step
    before: int
    after: int
    text: str
    throughput_before: float | None = None
    throughput_after: float | None = None


@dataclass(frozen=True)
class Bounds:
    """lowest and highest value, by setting; in the order of Point."""

    concurrent: tuple[int, int]
    batch: tuple[int, int]

    def of(self, setting: Setting) -> tuple[int, int]:
        return self.concurrent if setting is Setting.CONCURRENT else self.batch


@dataclass
class _Trial:
    setting: Setting
    origin: Point
    began: int
    unusable: int = 0


@dataclass(frozen=True)
class _Entry:
    number: int
    seen: Observation


@dataclass
class _Direction:
    """What became of trials in one direction of one setting."""

    refusals: int = 0
    rests_until: int = 0


@dataclass(frozen=True)
class _Measured:
    """What several samples say together. error: the standard error of `work`."""

    count: int
    work: float
    error: float
    throughput: float
    mix: Mapping[str, float]

    @classmethod
    def of(cls, seen: Sequence[Observation]) -> _Measured:
        """Of at least one."""
        works = [each.work for each in seen]
        work = fmean(works)
        noise = max(variance(works) if len(works) > 1 else 0.0, (LEAST_NOISE * work) ** 2)
        models = {model for each in seen for model in each.mix}
        return cls(
            count=len(seen),
            work=work,
            error=sqrt(noise / len(seen)),
            throughput=fmean(each.throughput for each in seen),
            mix={model: fmean(each.mix.get(model, 0.0) for each in seen) for model in models},
        )

    def gain_over(self, other: _Measured) -> tuple[float, float]:
        """As a fraction, and its standard error."""
        return self.work / other.work - 1, sqrt(self.error**2 + other.error**2) / other.work

    def is_other_work_than(self, other: _Measured) -> bool:
        models = {*self.mix, *other.mix}
        return sum(abs(self.mix.get(model, 0.0) - other.mix.get(model, 0.0)) for model in models) / 2 > SAME_MIX


@dataclass
class Tuner:
    """Pure: it is told what was measured and says what to change; one thread at a time.

    point: the values in force. bounds: may be changed between two observations.
    """

    point: Point
    bounds: Bounds
    _number: int = 0
    _book: dict[Point, deque[_Entry]] = field(default_factory=dict)
    _trial: _Trial | None = None
    _settling: int = SETTLING_SAMPLES
    _directions: dict[tuple[Setting, Direction], _Direction] = field(default_factory=dict)
    _paused_until: dict[Setting, int] = field(default_factory=dict)
    _last_kept: Direction = 1

    def observe(self, seen: Observation) -> Change | None:
        """Take in one sample; what to change now, in force before the next one. `kept` changes nothing more."""
        self._number += 1
        if not self._is_usable(seen):
            return self._miss()
        if self._settling > 0:
            self._settling -= 1
            return None
        self._remember(seen)
        return self._explore() if self._trial is None else self._judge(self._trial)

    def set_by_hand(self, setting: Setting, value: int) -> Change:
        """A person chose this value: it holds, tuning starts from it, and leaves this setting alone for a while."""
        before = self._value(setting)
        self._trial = None
        self._paused_until[setting] = self._number + PAUSE_SAMPLES
        self._move(self._with(setting, value))
        name = setting.value.upper()
        text = f"{name} was set to {value} by hand; tuning leaves it alone for {PAUSE_SAMPLES} samples."
        return Change(setting, "by_hand", before, value, text)

    # --- measuring ---------------------------------------------------------------------------------------------

    def _is_usable(self, seen: Observation) -> bool:
        has_settled = seen.running <= self.point[0] * 1.1 + 0.5
        return not seen.is_disturbed and seen.work > 0 and seen.bound_fraction >= BOUND_FRACTION and has_settled

    def _miss(self) -> Change | None:
        trial = self._trial
        if trial is None:
            return None
        trial.unusable += 1
        if trial.unusable < GIVE_UP_SAMPLES:
            return None
        return self._take_back(trial, "too little work was waiting to tell what it brings")

    def _remember(self, seen: Observation) -> None:
        self._book.setdefault(self.point, deque(maxlen=ALL_SAMPLES)).append(_Entry(self._number, seen))
        oldest = self._number - REMEMBERED_SAMPLES
        for point, entries in list(self._book.items()):
            while entries and entries[0].number < oldest:
                entries.popleft()
            if not entries:
                del self._book[point]

    def _measured(self, point: Point, since: int = 0) -> _Measured | None:
        """None with fewer samples than say anything."""
        seen = [entry.seen for entry in self._book.get(point, ()) if entry.number > since]
        return _Measured.of(seen) if len(seen) >= EARLY_SAMPLES - 1 else None

    # --- a trial -----------------------------------------------------------------------------------------------

    def _judge(self, trial: _Trial) -> Change | None:
        here, origin = self._measured(self.point, since=trial.began), self._measured(trial.origin)
        if here is None or origin is None:
            return None
        if here.is_other_work_than(origin):
            is_over = here.count >= ALL_SAMPLES
            return (
                self._take_back(trial, "other models ran than before, so its effect cannot be told")
                if is_over
                else None
            )
        saves = self._saves(trial)
        reference, wanted = (self._best(origin), -TOLERANCE) if saves else (origin, GAIN)
        gain, error = here.gain_over(reference)
        is_clear = abs(gain - wanted) > CONFIDENCE * error
        if here.count >= ALL_SAMPLES or (
            is_clear and here.count >= (EARLY_SAMPLES if gain > wanted else EARLY_SAMPLES - 1)
        ):
            return self._keep(trial, origin, here) if gain > wanted else self._refuse(trial, origin, here)
        return None

    def _saves(self, trial: _Trial) -> bool:
        """Whether it is worth something by itself: fewer tasks at a time that get as much done end sooner, each."""
        return trial.setting is Setting.CONCURRENT and self.point < trial.origin

    def _best(self, origin: _Measured) -> _Measured:
        """The most that is known of this work: many small losses in a row must not add up."""
        known = [self._measured(point) for point in self._book if point != self.point]
        same = [
            each
            for each in known
            if each is not None and each.count >= EARLY_SAMPLES and not each.is_other_work_than(origin)
        ]
        return max([origin, *same], key=lambda each: each.work)

    def _keep(self, trial: _Trial, before: _Measured, after: _Measured) -> Change:
        self._trial = None
        direction = self._direction_of(trial)
        self._last_kept = direction
        self._state(trial.setting, direction).refusals = 0
        opposite: Direction = -1 if direction > 0 else 1
        self._state(trial.setting, opposite).rests_until = self._number + REST_SAMPLES
        text = f"{trial.setting.value.upper()}={self._value(trial.setting)} stays: {_effect(before, after)}."
        return self._change(trial, "kept", trial.origin, self.point, text, before, after)

    def _refuse(self, trial: _Trial, before: _Measured, after: _Measured) -> Change:
        state = self._state(trial.setting, self._direction_of(trial))
        state.refusals += 1
        return self._take_back(trial, _effect(before, after), before, after)

    def _take_back(
        self, trial: _Trial, why: str, before: _Measured | None = None, after: _Measured | None = None
    ) -> Change:
        tried = self.point
        state = self._state(trial.setting, self._direction_of(trial))
        rest = min(LONGEST_REST_SAMPLES, REST_SAMPLES * 2 ** max(0, state.refusals - 1))
        state.rests_until = self._number + rest
        self._trial = None
        self._move(trial.origin)
        text = (
            f"{trial.setting.value.upper()} is {self._value(trial.setting)} again: {why}."
            f" Not tried again for {rest} samples."
        )
        return self._change(trial, "taken_back", tried, trial.origin, text, before, after)

    # --- where to go -------------------------------------------------------------------------------------------

    def _explore(self) -> Change | None:
        here = self._measured(self.point)
        if here is None or here.count < BASE_SAMPLES:
            return None
        for setting, value, why in (*self._known_better(here), *self._neighbours()):
            before = self._value(setting)
            direction: Direction = 1 if value > before else -1
            if self._may_try(setting, direction):
                self._trial = _Trial(setting, self.point, self._number)
                self._move(self._with(setting, value))
                text = f"{setting.value.upper()} from {before} to {value}: {why}."
                return Change(setting, "tried", before, value, text, throughput_before=here.throughput)
        return None

    def _known_better(self, here: _Measured) -> Iterator[tuple[Setting, int, str]]:
        """A value measured earlier that did better than this one does: back there, if it still does."""
        for point in self._book:
            setting = self._only_difference(point)
            known = self._measured(point)
            if setting is None or known is None or known.count < EARLY_SAMPLES or known.is_other_work_than(here):
                continue
            gain, error = known.gain_over(here)
            if gain - CONFIDENCE * error > 0 and gain > GAIN:
                value = point[0] if setting is Setting.CONCURRENT else point[1]
                if self._is_within(setting, value):
                    yield setting, value, f"it got {gain:.0%} more done at {value}"

    def _only_difference(self, point: Point) -> Setting | None:
        if point[0] != self.point[0] and point[1] == self.point[1]:
            return Setting.CONCURRENT
        return Setting.BATCH if point[0] == self.point[0] and point[1] != self.point[1] else None

    def _neighbours(self) -> Iterator[tuple[Setting, int, str]]:
        for setting in Setting:
            for direction in (1, -1) if self._last_kept > 0 else (-1, 1):
                value = self._next_value(setting, 1 if direction > 0 else -1)
                if value != self._value(setting):
                    yield setting, value, _aim(setting, direction)

    def _next_value(self, setting: Setting, direction: Direction) -> int:
        """One rung further; upwards one more for every time that was refused, as small steps may hide a gain."""
        value = self._value(setting)
        lowest, highest = self.bounds.of(setting)
        for _ in range(1 + self._state(setting, 1).refusals if direction > 0 else 1):
            value = (
                max(value + 1, round(value * STEP_UP)) if direction > 0 else min(value - 1, round(value * STEP_DOWN))
            )
        return min(max(value, lowest), highest)

    def _may_try(self, setting: Setting, direction: Direction) -> bool:
        is_paused = self._number < self._paused_until.get(setting, 0)
        return not is_paused and self._number >= self._state(setting, direction).rests_until

    # --- small things ------------------------------------------------------------------------------------------

    def _state(self, setting: Setting, direction: Direction) -> _Direction:
        return self._directions.setdefault((setting, direction), _Direction())

    def _direction_of(self, trial: _Trial) -> Direction:
        return 1 if self.point > trial.origin else -1

    def _value(self, setting: Setting) -> int:
        return self.point[0] if setting is Setting.CONCURRENT else self.point[1]

    def _with(self, setting: Setting, value: int) -> Point:
        return (value, self.point[1]) if setting is Setting.CONCURRENT else (self.point[0], value)

    def _is_within(self, setting: Setting, value: int) -> bool:
        lowest, highest = self.bounds.of(setting)
        return lowest <= value <= highest

    def _move(self, point: Point) -> None:
        self.point = point
        self._settling = SETTLING_SAMPLES

    def _change(
        self, trial: _Trial, step: Step, before: Point, after: Point, text: str,
        measured_before: _Measured | None, measured_after: _Measured | None,
    ) -> Change:  # fmt: skip
        at = 0 if trial.setting is Setting.CONCURRENT else 1
        return Change(
            trial.setting,
            step,
            before[at],
            after[at],
            text,
            throughput_before=None if measured_before is None else measured_before.throughput,
            throughput_after=None if measured_after is None else measured_after.throughput,
        )


def _effect(before: _Measured, after: _Measured) -> str:
    gain, _ = after.gain_over(before)
    return (
        f"throughput went from {before.throughput:.1f} to {after.throughput:.1f} seconds of sound per second"
        f" ({gain:+.0%} of work)"
    )


def _aim(setting: Setting, direction: int) -> str:
    if setting is Setting.BATCH:
        return (
            "to see whether larger rounds get more done"
            if direction > 0
            else "to see whether smaller rounds get more done"
        )
    if direction > 0:
        return "tasks wait, and more of them at a time may get more done"
    return "to see whether fewer at a time get as much done, so that each text comes sooner"
