"""What happens every PERFORMANCE_MONITOR_INTERVAL: a sample is kept, the tuner has its say, and notes are written down.

Runs on the monitor's thread. What cannot be stored now is tried again at the next tick; nothing here holds up a task.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from config import MAX_CONCURRENT_TASKS, Settings
from errors import TranscriptionServerError
from optimizer.common.clock import Clock
from optimizer.common.text import iso_time
from optimizer.devices.status import DeviceStatus
from optimizer.monitoring.event_log import EventLog
from optimizer.monitoring.metrics import Measured, PerformanceMonitor
from optimizer.monitoring.samples import SampleStore
from optimizer.monitoring.tuner import Tuner
from optimizer.monitoring.tuning import Bounds, Change, Observation, Point, Setting
from optimizer.monitoring.utilization import Level
from optimizer.planning.plan import PlanLimits
from optimizer.storage.documents import DocumentStore
from optimizer.tasks.task import TaskStatus
from whisper_core.models.fetch import model_info

log = logging.getLogger(__name__)

MAX_CHANGES = 500  # of one answer
SLOTS_LAST_S = 1.0


class Persistable(Protocol):
    """What is measured and wanted again after a restart; `load` raises TypeError, ValueError or AttributeError when it
    is given something else than `dump` gave."""

    def dump(self) -> Any: ...

    def load(self, dumped: Any, /) -> None: ...


@dataclass(frozen=True)
class MonitorHooks:
    """What is looked at and changed; each may be called on any thread.

    set_limits: takes max_concurrent and max_batch, None to leave one as it is; in force at the next decision.
    is_optimized: False on the plain path, where there is nothing to tune.
    """

    statuses: Callable[[], Sequence[DeviceStatus]]
    counts: Callable[[], Mapping[TaskStatus, int]]
    entered: Callable[[], Mapping[TaskStatus, int]]
    limits: Callable[[], PlanLimits]
    set_limits: Callable[[int | None, int | None], None]
    is_optimized: Callable[[], bool]


class Monitoring:
    """`open` once the database is there, `tick` and `close` on one thread at a time, the rest on any."""

    def __init__(
        self,
        settings: Settings,
        monitor: PerformanceMonitor,
        event_log: EventLog,
        history: SampleStore,
        document_store: DocumentStore,
        clock: Clock,
        watched: MonitorHooks,
        remembered: Mapping[str, Persistable],
    ) -> None:
        """remembered: by the name under which it is kept."""
        self._settings = settings
        self._monitor = monitor
        self._event_log = event_log
        self._history = history
        self._document_store = document_store
        self._clock = clock
        self._watched = watched
        self._lock = threading.Lock()
        self._tuner: Tuner | None = None
        self._remembered = remembered
        self._written: dict[str, Any] = {}
        self._known_slots: tuple[int, ...] = ()
        self._slots_at = float("-inf")
        self.last_occupancy: float | None = None  # of the last sample
        self._last_change: tuple[datetime, str] | None = None

    @property
    def is_tuning(self) -> bool:
        return self._settings.enable_adaptive_optimization and self._watched.is_optimized()

    def open(self) -> None:
        """Go on with what an earlier run knew. Raises StoreBusyError, DatabaseDamagedError."""
        self._event_log.open()
        for name, part in self._remembered.items():
            documents = self._document_store.read(name)
            if name not in documents:
                continue
            try:
                part.load(documents[name])
            except (AttributeError, TypeError, ValueError):
                log.warning("event=%s_unreadable: they are measured anew", name)

    def close(self) -> None:
        """Write down what is still only in memory."""
        self._try("measurements", self._write_remembered)
        self._try("journal", self._event_log.flush)

    def tick(self) -> Measured:
        """One sample, and what follows from it."""
        entered = self._watched.entered()
        measured = self._monitor.take(
            self.level(),
            [status.memory for status in self._watched.statuses()],
            (entered.get(TaskStatus.COMPLETED, 0), entered.get(TaskStatus.FAILED, 0)),
        )
        self.last_occupancy = measured.sample.occupancy
        self._try("history", lambda: self._history.add(measured.sample))
        if self.is_tuning:
            self._tune(measured)
        self.close()
        return measured

    def look(self) -> None:
        """The number of running or waiting tasks changed."""
        self._monitor.set_level(self.level())

    def set_by_hand(self, max_concurrent: int | None, max_batch: int | None) -> None:
        """A person changes limits: in force at the next decision, and left alone by the tuner for a while."""
        tuner, limits = self._current_tuner() if self.is_tuning else None, self._watched.limits()
        before = {Setting.CONCURRENT: self.level().limit, Setting.BATCH: limits.max_batch}
        if tuner is None:
            self._watched.set_limits(max_concurrent, max_batch)
        for setting, value in ((Setting.CONCURRENT, max_concurrent), (Setting.BATCH, max_batch)):
            if value is None:
                continue
            if tuner is None:
                text = f"{setting.value.upper()} was set to {value} by hand."
                self._tell(Change(setting, "by_hand", before[setting], value, text))
            else:
                with self._lock:
                    change = tuner.set_by_hand(setting, value)
                self._apply(tuner)
                self._tell(change)
        self.look()

    # --- for whoever asks --------------------------------------------------------------------------------------

    def level(self) -> Level:
        """How many tasks run and wait now."""
        counts, slots = self._watched.counts(), self._slots()
        limit = self._watched.limits().most_running(slots)
        return Level(
            running=counts.get(TaskStatus.PROCESSING, 0),
            waiting=counts.get(TaskStatus.PENDING, 0),
            retrying=counts.get(TaskStatus.RETRYING, 0),
            allowed=min(limit, sum(slots)),
            limit=limit,
        )

    def _slots(self) -> tuple[int, ...]:
        """Of every device. Asked for at most once a second: a whole status is much for every change of a task."""
        now = self._clock.monotonic()
        if now - self._slots_at >= SLOTS_LAST_S:
            self._known_slots = tuple(status.slots for status in self._watched.statuses())
            self._slots_at = now
        return self._known_slots

    def report(self) -> dict[str, Any]:
        """The parts of GET /api/system that are this room's."""
        limits, statuses = self._watched.limits(), self._watched.statuses()
        change = self._last_change
        return {
            "occupancy": round(self.level().occupancy, 4),
            "adaptive": {
                "enabled": self.is_tuning,
                "max_concurrent_tasks": limits.most_running(status.slots for status in statuses),
                "max_batch_size": limits.max_batch,
                "last_change": None if change is None else {"at": iso_time(change[0]), "text": change[1]},
            },
        }

    def history(self, hours: float) -> dict[str, Any]:
        """The body of GET /api/system/history. Raises StoreBusyError, DatabaseDamagedError."""
        since = self._clock.now().timestamp() - hours * 3600
        changes = self._event_log.events("tuning", limit=MAX_CHANGES, since=since)
        return {
            "samples": [sample.to_dict() for sample in self._history.read(hours)],
            "changes": [{"at": event.at, "text": event.text, "data": event.data} for event in reversed(changes)],
        }

    # --- inside ------------------------------------------------------------------------------------------------

    def _tune(self, measured: Measured) -> None:
        tuner, seen = self._current_tuner(), _observation(measured)
        with self._lock:
            change = tuner.observe(seen)
        if change is not None:
            self._apply(tuner)
            self._tell(change)

    def _apply(self, tuner: Tuner) -> None:
        """Until what is in force is what the tuner has: a person may change it in the same moment."""
        while True:
            concurrent, batch = point = tuner.point
            limits = self._watched.limits()
            slots = [status.slots for status in self._watched.statuses()]
            is_auto = limits.max_concurrent is None and concurrent == limits.most_running(slots)
            self._watched.set_limits(None if is_auto else concurrent, batch)
            if tuner.point == point:
                return

    def _current_tuner(self) -> Tuner:
        """With the bounds as they are now: a device more or less changes what `auto` allows."""
        slots = [status.slots for status in self._watched.statuses()]
        limits = self._watched.limits()
        highest = self._settings.max_concurrent or max(1, min(MAX_CONCURRENT_TASKS, sum(slots)))
        bounds = Bounds(
            (min(self._settings.min_concurrent_tasks, highest), highest),
            (self._settings.min_batch_size, self._settings.max_batch_size),
        )
        with self._lock:
            if self._tuner is None:
                self._tuner = Tuner(Point(limits.most_running(slots), limits.max_batch), bounds)
            self._tuner.bounds = bounds
            return self._tuner

    def _tell(self, change: Change) -> None:
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

    def _write_remembered(self) -> None:
        dumped = {name: part.dump() for name, part in self._remembered.items()}
        changed = {name: value for name, value in dumped.items() if value != self._written.get(name)}
        self._document_store.write(changed)
        self._written.update(changed)

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except TranscriptionServerError as error:
            log.warning("event=%s_not_written code=%s", what, error.code)


def _observation(measured: Measured) -> Observation:
    """A model's size stands for what a second of its sound costs."""
    sample, total = measured.sample, sum(measured.audio.values())
    costs = {model: model_info(model).size_bytes / 1e9 for model in measured.audio}
    work = sum(seconds * costs[model] for model, seconds in measured.audio.items())
    return Observation(
        throughput=sample.throughput,
        work=work / sample.span_seconds if sample.span_seconds > 0 else 0.0,
        mix={model: seconds / total for model, seconds in measured.audio.items()} if total > 0 else {},
        running=sample.running,
        bound_fraction=measured.bound_fraction,
        is_disturbed=measured.models_loaded > 0,
    )
