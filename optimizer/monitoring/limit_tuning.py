"""The limits of concurrency and batch size, as the tuner and a person change them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config import MAX_CONCURRENT_TASKS, Settings
from optimizer.common.clock import Clock
from optimizer.common.text import iso_time
from optimizer.monitoring.event_log import EventLog
from optimizer.monitoring.performance_monitor import Measured
from optimizer.monitoring.tuner import Tuner
from optimizer.monitoring.tuning import Bounds, Change, Observation, Point, Setting
from optimizer.planning.plan import PlanLimits
from whisper_core.models.registry import ModelRegistry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LimitsInForce:
    """Where the limits are read and changed; each may be called on any thread."""

    limits: Callable[[], PlanLimits]
    set_limits: Callable[[int | None, int | None], None]  # max_concurrent and max_batch; None leaves one as it is
    slots: Callable[[], Sequence[int]]  # of every device


class LimitTuning:
    """`observe` on one thread at a time, the rest on any."""

    def __init__(
        self,
        settings: Settings,
        event_log: EventLog,
        clock: Clock,
        in_force: LimitsInForce,
        is_optimized: Callable[[], bool],
        models: ModelRegistry | None = None,
    ) -> None:
        """is_optimized: False on the plain path, where there is nothing to tune. models: the server's; without one,
        openai-whisper's."""
        self._models = models or ModelRegistry()
        self._settings = settings
        self._event_log = event_log
        self._clock = clock
        self.in_force = in_force
        self._is_optimized = is_optimized
        self._lock = threading.Lock()
        self._tuner: Tuner | None = None
        self._last_change: tuple[datetime, str] | None = None

    @property
    def is_enabled(self) -> bool:
        return self._settings.enable_adaptive_optimization and self._is_optimized()

    def observe(self, measured: Measured) -> None:
        """Has the tuner look at one interval, and does what it says."""
        tuner, seen = self._current_tuner(), _observation(measured, self._models)
        with self._lock:
            change = tuner.observe(seen)
        if change is not None:
            self._apply(tuner)
            self._announce(change)

    def set_by_hand(self, max_concurrent: int | None, max_batch: int | None) -> None:
        """A person changes limits: in force at the next decision, and left alone by the tuner for a while."""
        chosen = {Setting.CONCURRENT: max_concurrent, Setting.BATCH: max_batch}
        if self.is_enabled:
            self._set_through_tuner(chosen)
        else:
            self._set_directly(chosen)

    def report(self) -> dict[str, Any]:
        """The field `adaptive` of GET /api/system."""
        limits, change = self.in_force.limits(), self._last_change
        return {
            "enabled": self.is_enabled,
            "max_concurrent_tasks": limits.most_running(self.in_force.slots()),
            "max_batch_size": limits.max_batch,
            "last_change": None if change is None else {"at": iso_time(change[0]), "text": change[1]},
        }

    def _set_through_tuner(self, chosen: dict[Setting, int | None]) -> None:
        tuner = self._current_tuner()
        for setting, value in chosen.items():
            if value is not None:
                with self._lock:
                    change = tuner.set_by_hand(setting, value)
                self._apply(tuner)
                self._announce(change)

    def _set_directly(self, chosen: dict[Setting, int | None]) -> None:
        before = self._point()
        self.in_force.set_limits(chosen[Setting.CONCURRENT], chosen[Setting.BATCH])
        for setting, value in chosen.items():
            if value is not None:
                text = f"{setting.env_name} was set to {value} by hand."
                self._announce(Change(setting, "by_hand", before.value(setting), value, text))

    def _apply(self, tuner: Tuner) -> None:
        """Until the tuner's point is in force: a person may change it at the same moment."""
        while True:
            point, limits = tuner.point, self.in_force.limits()
            is_auto = limits.max_concurrent is None and point.concurrent == limits.most_running(self.in_force.slots())
            self.in_force.set_limits(None if is_auto else point.concurrent, point.batch)
            if tuner.point == point:
                return

    def _point(self) -> Point:
        """As it is in force."""
        limits = self.in_force.limits()
        return Point(limits.most_running(self.in_force.slots()), limits.max_batch)

    def _current_tuner(self) -> Tuner:
        """With the bounds as they are now: what `auto` allows depends on the devices that are there."""
        settings, slots = self._settings, self.in_force.slots()
        highest = settings.max_concurrent or max(1, min(MAX_CONCURRENT_TASKS, sum(slots)))
        bounds = Bounds(
            concurrent=(min(settings.min_concurrent_tasks, highest), highest),
            batch=(settings.min_batch_size, settings.max_batch_size),
        )
        point = self._point()
        with self._lock:
            if self._tuner is None:
                self._tuner = Tuner(point, bounds)
            self._tuner.bounds = bounds
            return self._tuner

    def _announce(self, change: Change) -> None:
        log.info("event=tuning step=%s %s=%d: %s", change.step, change.setting.value, change.after, change.text)
        self._last_change = (self._clock.now(), change.text)
        self._event_log.add(
            "tuning",
            change.text,
            setting=change.setting.value,
            step=change.step,
            before=change.before,
            after=change.after,
            throughput_before=change.throughput_before,
            throughput_after=change.throughput_after,
        )


def _observation(measured: Measured, models: ModelRegistry) -> Observation:
    """The size of a model stands for what a second of its sound costs."""
    sample, total = measured.sample, sum(measured.audio.values())
    costs = {model: models.known(model).size_bytes / 1e9 for model in measured.audio}
    work = sum(seconds * costs[model] for model, seconds in measured.audio.items())
    return Observation(
        throughput=sample.throughput,
        work=work / sample.span_seconds if sample.span_seconds > 0 else 0.0,
        mix={model: seconds / total for model, seconds in measured.audio.items()} if total > 0 else {},
        running=sample.running,
        bound_fraction=measured.bound_fraction,
        is_disturbed=measured.models_loaded > 0,
    )
