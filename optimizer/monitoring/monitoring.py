"""The monitoring's share of a tick: a sample is kept, the tuner looks at it, measurements and events are written down.

Runs on the monitor's thread, with what else OptimizedWhisperSystem does every PERFORMANCE_MONITOR_INTERVAL. What cannot
be stored now is tried again at the next tick; nothing here holds up a task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from errors import TranscriptionServerError
from optimizer.common.clock import Clock
from optimizer.devices.status import DeviceStatus
from optimizer.monitoring.event_log import EventLog
from optimizer.monitoring.extra_metrics import ExtraMetrics
from optimizer.monitoring.limit_tuning import LimitTuning
from optimizer.monitoring.performance_monitor import Measured, PerformanceMonitor
from optimizer.monitoring.sample_store import SampleStore
from optimizer.monitoring.utilization import Utilization
from optimizer.storage.documents import Persistence
from optimizer.tasks.task import TaskStatus

log = logging.getLogger(__name__)

MAX_CHANGES = 500  # of one answer
SLOTS_LAST_S = 1.0


@dataclass(frozen=True)
class MonitorHooks:
    """What is looked at; each may be called on any thread."""

    statuses: Callable[[], Sequence[DeviceStatus]]
    counts: Callable[[], Mapping[TaskStatus, int]]  # tasks by status, now
    entered: Callable[[], Mapping[TaskStatus, int]]  # how many tasks have come into each status since the start


class Monitoring:
    """`open` once the database is there, `tick` and `flush` on one thread at a time, the rest on any."""

    def __init__(
        self,
        *,
        monitor: PerformanceMonitor,
        tuning: LimitTuning,
        samples: SampleStore,
        event_log: EventLog,
        persistence: Persistence,
        clock: Clock,
        hooks: MonitorHooks,
        extra: ExtraMetrics,
    ) -> None:
        """persistence: of measurements that outlive a restart."""
        self.extra = extra
        self._monitor = monitor
        self._tuning = tuning
        self._samples = samples
        self._event_log = event_log
        self._persistence = persistence
        self._clock = clock
        self._hooks = hooks
        self._known_slots: Sequence[int] = ()
        self._slots_read_at = float("-inf")
        self.last_occupancy: float | None = None  # of the latest sample

    def open(self) -> None:
        """Continues from what an earlier run measured. Raises StoreBusyError, DatabaseDamagedError."""
        self._event_log.open()
        self._persistence.load()

    def flush(self) -> None:
        """Writes down what is still only in memory."""
        self._try("measurements", self._persistence.save)
        self._try("event_log", self._event_log.flush)

    def tick(self) -> Measured:
        """Makes one sample, and does what follows from it."""
        entered = self._hooks.entered()
        measured = self._monitor.finish_interval(
            self.utilization(),
            [status.memory for status in self._hooks.statuses()],
            (entered.get(TaskStatus.COMPLETED, 0), entered.get(TaskStatus.FAILED, 0)),
        )
        self.last_occupancy = measured.sample.occupancy
        sample = replace(measured.sample, extra={each.name: each.value for each in self.extra.values()})
        self._try("sample", lambda: self._samples.add(sample))
        if self._tuning.is_enabled:
            self._tuning.observe(measured)
        self.flush()
        return measured

    def update_utilization(self) -> None:
        """The number of running or waiting tasks has changed."""
        self._monitor.set_utilization(self.utilization())

    def set_by_hand(self, max_concurrent: int | None, max_batch: int | None) -> None:
        """A person changes limits: in force at the next decision, and left alone by the tuner for a while."""
        self._tuning.set_by_hand(max_concurrent, max_batch)
        self.update_utilization()

    # --- answers -----------------------------------------------------------------------------------------------

    def utilization(self) -> Utilization:
        """How many tasks run and wait now."""
        counts, slots = self._hooks.counts(), self._slots()
        limit = self._tuning.in_force.limits().most_running(slots)
        return Utilization(
            running=counts.get(TaskStatus.PROCESSING, 0),
            waiting=counts.get(TaskStatus.PENDING, 0),
            retrying=counts.get(TaskStatus.RETRYING, 0),
            allowed=min(limit, sum(slots)),
            limit=limit,
        )

    def report(self) -> dict[str, Any]:
        """Monitoring's fields of GET /api/system."""
        return {"occupancy": round(self.utilization().occupancy, 4), "adaptive": self._tuning.report()}

    def history(self, hours: float) -> dict[str, Any]:
        """The body of GET /api/system/history. Raises StoreBusyError, DatabaseDamagedError."""
        since = self._clock.now().timestamp() - hours * 3600
        changes = self._event_log.events("tuning", limit=MAX_CHANGES, since=since)
        return {
            "samples": [sample.to_dict() for sample in self._samples.read(hours)],
            "changes": [{"at": event.at, "text": event.text, "data": event.data} for event in reversed(changes)],
            "extra_metrics": [
                {"name": each.name, "title": each.title, "unit": each.unit} for each in self.extra.metrics
            ],
        }

    # --- inside ------------------------------------------------------------------------------------------------

    def _slots(self) -> Sequence[int]:
        """Of every device. Read at most once a second: a whole status costs too much for every change of a task."""
        now = self._clock.monotonic()
        if now - self._slots_read_at >= SLOTS_LAST_S:
            self._known_slots = self._tuning.in_force.slots()
            self._slots_read_at = now
        return self._known_slots

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except TranscriptionServerError as error:
            log.warning("event=%s_not_written code=%s", what, error.code)
