"""Which limits to change when the measurements say so: hill climbing with hysteresis over how much runs at once.

A change is a trial: some samples before it, some after it, and it stays only if that paid. More of something must gain
throughput; fewer tasks at a time may stay when they lose nothing, since then each text comes sooner. A direction that
was refused is left alone for a time that doubles, so the system settles. Only samples count in which the limit was
what held tasks back: where memory is what binds, or too little waits, nothing can be learned and nothing is changed.

The way of a sample: `observe` drops it if it cannot be used or the last change has not settled, adds it to the history
of the point in force, and then either judges the trial under way or looks for a new one.
"""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.monitoring.search_directions import PAUSE_SAMPLES, SearchDirections
from optimizer.monitoring.throughput_history import ALL_SAMPLES, EARLY_SAMPLES, ThroughputHistory, ThroughputSummary
from optimizer.monitoring.trial import CONFIDENCE, GAIN, Trial, effect
from optimizer.monitoring.tuning import Bounds, Change, Direction, Observation, Point, Setting

BASE_SAMPLES = 10  # of a point, before something else is tried
SETTLING_SAMPLES = 1  # after a change, while tasks from before still run
GIVE_UP_SAMPLES = 10  # unusable ones that end a trial
BOUND_FRACTION = 0.8  # the least share of a sample in which the limit must have held tasks back


class Tuner:
    """Pure: it is told what was measured and says what to change. One thread at a time."""

    def __init__(self, point: Point, bounds: Bounds) -> None:
        """point: the values in force. bounds: may be replaced between two observations."""
        self.point = point
        self.bounds = bounds
        self._number = 0  # of the latest sample
        self._history = ThroughputHistory()
        self._directions = SearchDirections()
        self._trial: Trial | None = None
        self._settling = SETTLING_SAMPLES

    def observe(self, seen: Observation) -> Change | None:
        """Takes in one sample. Returns what to change before the next one; after "kept" there is nothing to do."""
        self._number += 1
        if not self._is_usable(seen):
            return self._count_unusable()
        if self._settling > 0:
            self._settling -= 1
            return None
        self._history.add(self._number, self.point, seen)
        return self._explore() if self._trial is None else self._judge(self._trial)

    def set_by_hand(self, setting: Setting, value: int) -> Change:
        """A person chose this value: it holds, tuning starts from it, and leaves this setting alone for a while."""
        before = self.point.value(setting)
        self._trial = None
        self._directions.pause(setting, self._number)
        self._move(self.point.with_value(setting, value))
        text = f"{setting.env_name} was set to {value} by hand; tuning leaves it alone for {PAUSE_SAMPLES} samples."
        return Change(setting, "by_hand", before, value, text)

    def _is_usable(self, seen: Observation) -> bool:
        has_settled = seen.running <= self.point.concurrent * 1.1 + 0.5
        return not seen.is_disturbed and seen.work > 0 and seen.bound_fraction >= BOUND_FRACTION and has_settled

    def _count_unusable(self) -> Change | None:
        """Ends a trial that cannot be measured."""
        trial = self._trial
        if trial is None:
            return None
        trial.unusable += 1
        if trial.unusable < GIVE_UP_SAMPLES:
            return None
        return self._take_back(trial, "too little work was waiting to tell what it brings")

    def _move(self, point: Point) -> None:
        self.point = point
        self._settling = SETTLING_SAMPLES

    # --- a trial under way -------------------------------------------------------------------------------------

    def _judge(self, trial: Trial) -> Change | None:
        before = self._history.summary(trial.origin)
        after = self._history.summary(trial.tried, since=trial.began)
        if before is None or after is None:
            return None
        if after.is_other_work_than(before):
            if after.count < ALL_SAMPLES:
                return None
            return self._take_back(trial, "other models ran than before, so its effect cannot be told")
        stays = trial.verdict(before, self._history.best(before, besides=trial.tried), after)
        if stays is None:
            return None
        return self._keep(trial, before, after) if stays else self._refuse(trial, before, after)

    def _keep(self, trial: Trial, before: ThroughputSummary, after: ThroughputSummary) -> Change:
        self._trial = None
        self._directions.keep(trial.setting, trial.direction, self._number)
        return trial.kept(before, after)

    def _refuse(self, trial: Trial, before: ThroughputSummary, after: ThroughputSummary) -> Change:
        self._directions.refuse(trial.setting, trial.direction)
        return self._take_back(trial, effect(before, after), before, after)

    def _take_back(
        self,
        trial: Trial,
        why: str,
        before: ThroughputSummary | None = None,
        after: ThroughputSummary | None = None,
    ) -> Change:
        rest = self._directions.rest(trial.setting, trial.direction, self._number)
        self._trial = None
        self._move(trial.origin)
        text = (
            f"{trial.setting.env_name} is {trial.origin.value(trial.setting)} again: {why}."
            f" Not tried again for {rest} samples."
        )
        return trial.taken_back(text, before, after)

    # --- a new one ---------------------------------------------------------------------------------------------

    def _explore(self) -> Change | None:
        here = self._history.summary(self.point)
        if here is None or here.count < BASE_SAMPLES:
            return None
        for setting, value, why in (*self._known_better(here), *self._directions.neighbours(self.point, self.bounds)):
            before = self.point.value(setting)
            direction: Direction = 1 if value > before else -1
            if self._directions.may_try(setting, direction, self._number):
                trial = Trial(setting, self.point, self.point.with_value(setting, value), self._number)
                self._trial = trial
                self._move(trial.tried)
                return trial.begun(f"{setting.env_name} from {before} to {value}: {why}.", here)
        return None

    def _known_better(self, here: ThroughputSummary) -> Iterator[tuple[Setting, int, str]]:
        """Values that did better than the present one when they were in force: worth another trial."""
        for point in self._history:
            setting = self.point.only_difference(point)
            known = self._history.summary(point)
            if setting is None or known is None or known.count < EARLY_SAMPLES or known.is_other_work_than(here):
                continue
            gain, error = known.gain_over(here)
            if gain - CONFIDENCE * error > 0 and gain > GAIN:
                value = point.value(setting)
                if self.bounds.contains(setting, value):
                    yield setting, value, f"it got {gain:.0%} more done at {value}"
