"""What the server says of itself: the body of GET /api/system."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from config import Settings
from optimizer.common.text import duration, iso_time
from optimizer.devices.fleet import DeviceFleet
from optimizer.devices.status import DeviceStatus, TaskOnDevice
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.monitoring.advice import Situation, advise, reasons_by_model
from optimizer.monitoring.figures import Figures
from optimizer.monitoring.monitoring import Monitoring
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ordering import DueTimes
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.decision import DecisionMaker
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.path import SchedulingPath
from optimizer.scheduling.running_progress import RunningProgress
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.retention import RetentionRules
from optimizer.tasks.task import TaskStatus, num_waiting
from optimizer.timing.forecast_accuracy import ForecastTracker
from version import __version__


class StatusViews:
    """Any thread, once the system is started."""

    def __init__(
        self,
        settings: Settings,
        *,
        path: SchedulingPath,
        decisions: DecisionMaker,
        queue: IntelligentQueueManager,
        due_times: DueTimes,
        files: TaskFiles,
        devices: DeviceFleet,
        models: ModelLibrary,
        estimates: MemoryEstimationPool,
        forecasts: ForecastTracker,
        progress: RunningProgress,
        monitor: PerformanceMonitor,
        monitoring: Monitoring,
        decoder_measures: Callable[[], Mapping[str, str]],
        rules: Callable[[], RetentionRules],
    ) -> None:
        self._settings = settings
        self._path = path
        self._decisions = decisions
        self._queue = queue
        self._due_times = due_times
        self._files = files
        self._devices = devices
        self._models = models
        self._estimates = estimates
        self._forecasts = forecasts
        self._progress = progress
        self._monitor = monitor
        self._monitoring = monitoring
        self._decoder_measures = decoder_measures
        self._rules = rules

    def system(self) -> dict[str, Any]:
        """The body of GET /api/system. Memory in bytes; throughput in seconds of sound per second, over a minute."""
        statuses, counts, limits = self._devices.statuses(), self._queue.counts(), self._decisions.limits()
        advice = advise(self._situation(statuses))
        return {
            "version": __version__,
            "path": "optimized" if self._path.is_optimized() else "plain",
            "path_reason": self._path.plain_reason,
            "devices": [_device(status, self._progress) for status in statuses],
            "counts": {status.value: counts.get(status, 0) for status in TaskStatus},
            "throughput": {"audio_seconds_per_second": round(self._monitor.throughput(), 3)},
            "limits": {
                # Where the setting is `auto`, as many tasks as the devices have slots.
                "max_concurrent_tasks": limits.most_running(status.slots for status in statuses),
                "max_batch_size": limits.max_batch,
            },
            "settings": self._settings.public_values(),
            "fetches": [
                {"model": model, "done_bytes": done, "total_bytes": total}
                for model, (done, total) in self._models.fetching().items()
            ],
            "advice": [each.text for each in advice],
            "advice_items": [each.to_dict() for each in advice],
            "is_public": self._settings.is_public,
            "decoder": dict(self._decoder_measures()),
            **self._monitoring.report(),
            "memory_estimates": self._estimates.accuracy(),
            "forecasts": asdict(self._forecasts.accuracy()),
            "wait_bound": _wait_bound(self._due_times, limits),
            "retention": _retention(self._rules()),
        }

    def figures(self) -> Figures:
        return Figures(
            is_optimized=self._path.is_optimized(),
            counts=self._queue.counts(),
            entered=self._queue.entered(),
            failures=self._queue.failures(),
            throughput=self._monitor.throughput(),
            totals=self._monitor.totals(),
            devices=self._devices.statuses(),
            extra=self._monitoring.extra.values(),
        )

    def _situation(self, statuses: list[DeviceStatus]) -> Situation:
        return Situation(
            settings=self._settings,
            limits=self._decisions.limits(),
            statuses=statuses,
            waiting=num_waiting(self._queue.counts()),
            reasons=reasons_by_model(self._queue.waiting(), self._decisions.reason),
            is_bound=self._monitoring.utilization().is_bound,
            occupancy=self._monitoring.last_occupancy,
            free_disk_bytes=self._files.free_bytes(),
            is_plain=not self._path.is_optimized(),
        )


def _wait_bound(due_times: DueTimes, limits: PlanLimits) -> dict[str, Any]:
    """How long after a task another one of the same owner and priority may still come and pass it; see `planner`."""
    patience_s = due_times.max_patience_s and due_times.max_patience_s + limits.overtake_limit_s
    if patience_s <= 0:
        return {"patience_seconds": 0.0, "text": "Tasks run in order of arrival, so none is passed by a later one."}
    text = (
        f"Short tasks go first, but none is passed by one of the same person and priority that came more than"
        f" {duration(patience_s)} after it."
    )
    return {"patience_seconds": patience_s, "text": text}


def _retention(rules: RetentionRules) -> dict[str, Any]:
    """How long recordings and texts are kept, and before when nothing is removed."""
    return {
        "media_days": rules.media.days if rules.media else None,
        "media_from": iso_time(rules.media.acts_from) if rules.media else None,
        "text_days": rules.text.days if rules.text else None,
        "text_from": iso_time(rules.text.acts_from) if rules.text else None,
    }


def _device(status: DeviceStatus, progress: RunningProgress) -> dict[str, Any]:
    memory = status.memory
    return {
        "name": status.spec.name,
        "kind": status.spec.kind,
        "title": status.spec.title,
        "state": status.state.value,
        "total": memory.total,
        "reserved": memory.reserved,
        "used": memory.used,
        "free": memory.free,
        "headroom": memory.headroom,
        "others": memory.others,
        "resident_models": list(status.resident_models),
        "running": list(status.running),
        "slots": status.slots,
        "models": [{**asdict(model), "state": model.state.value} for model in status.models],
        "tasks": [_task(task, status.spec.name, progress) for task in status.tasks],
    }


def _task(task: TaskOnDevice, device: str, progress: RunningProgress) -> dict[str, Any]:
    fields = asdict(task)
    audio_left_seconds = fields.pop("audio_left_seconds")
    return {
        **fields,
        "work_left_seconds": audio_left_seconds,
        "peak_bytes": None,  # measured when the task is done
        "eta_seconds": progress.eta_seconds(task.model, device, audio_left_seconds),
    }
