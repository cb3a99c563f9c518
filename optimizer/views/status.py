"""What the server says of itself: the bodies of GET /api/system and GET /api/models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from config import Settings
from optimizer.common.text import duration
from optimizer.devices.status import DeviceStatus, TaskOnDevice
from optimizer.monitoring.advice import Situation, advise, reasons_by_model
from optimizer.monitoring.tick import Monitoring
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ordering import DueTimes
from optimizer.scheduling.decision import DecisionMaker
from optimizer.scheduling.parts import SchedulerParts
from optimizer.tasks.task import TaskStatus
from optimizer.timing.speeds import SpeedTable
from version import __version__
from whisper_core.models.catalogue import MODEL_NAMES, model_info
from whisper_core.text.languages import LANGUAGES


class StatusViews:
    """Any thread, once the system is started."""

    def __init__(
        self, settings: Settings, parts: SchedulerParts, decisions: DecisionMaker, monitoring: Monitoring
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._decisions = decisions
        self._monitoring = monitoring

    def system(self) -> dict[str, Any]:
        """The body of GET /api/system. Memory in bytes; throughput in seconds of sound per second, over a minute."""
        statuses, counts, limits = self._parts.devices.statuses(), self._parts.queue.counts(), self._decisions.limits()
        advice = advise(self._situation(statuses))
        return {
            "version": __version__,
            "path": "optimized" if self._parts.path.is_optimized() else "plain",
            "path_reason": self._parts.path.plain_reason,
            "devices": [_device(status, self._parts.speeds) for status in statuses],
            "counts": {status.value: counts.get(status, 0) for status in TaskStatus},
            "throughput": {"audio_seconds_per_second": round(self._parts.monitor.throughput(), 3)},
            "limits": {
                # Where the setting is `auto`, as many tasks as the devices have slots.
                "max_concurrent_tasks": limits.most_running(status.slots for status in statuses),
                "max_batch_size": limits.max_batch,
            },
            "settings": self._settings.public_values(),
            "fetches": [
                {"model": model, "done_bytes": done, "total_bytes": total}
                for model, (done, total) in self._parts.models.fetching().items()
            ],
            "advice": [each.text for each in advice],
            "advice_items": [each.to_dict() for each in advice],
            "is_public": self._settings.is_public,
            **self._monitoring.report(),
            "memory_estimates": self._parts.estimates.accuracy(),
            "forecasts": asdict(self._parts.forecasts.accuracy()),
            "wait_bound": _wait_bound(self._parts.due_times, limits),
        }

    def models(self) -> dict[str, Any]:
        """The body of GET /api/models: every model, smallest first."""
        statuses, fetching = self._parts.devices.statuses(), self._parts.models.fetching()
        kind = statuses[0].spec.kind if statuses else "cpu"
        models = []
        for name in MODEL_NAMES:
            info = model_info(name)
            fetch = fetching.get(name)
            models.append(
                {
                    "name": name,
                    "size_bytes": info.size_bytes,
                    "is_multilingual": info.is_multilingual,
                    "is_available": self._parts.models.is_available(name),
                    "loaded_on": [status.spec.name for status in statuses if name in status.resident_models],
                    "memory_bytes": self._parts.estimates.weights_bytes(name, kind),  # on the first device's kind
                    "fetch": {"done_bytes": fetch[0], "total_bytes": fetch[1]} if fetch else None,
                    "problem": self._parts.models.model_view(name).failed_message,
                }
            )
        return {
            "models": models,
            "default": self._settings.default_model,
            "default_language": self._settings.default_language,
            "languages": LANGUAGES,
        }

    def _situation(self, statuses: list[DeviceStatus]) -> Situation:
        counts = self._parts.queue.counts()
        return Situation(
            settings=self._settings,
            limits=self._decisions.limits(),
            statuses=statuses,
            waiting=counts[TaskStatus.PENDING] + counts[TaskStatus.RETRYING],
            reasons=reasons_by_model(self._parts.queue.waiting(), self._decisions.reason),
            is_bound=self._monitoring.level().is_bound,
            occupancy=self._monitoring.last_occupancy,
            free_disk_bytes=self._parts.files.free_bytes(),
            is_plain=not self._parts.path.is_optimized(),
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


def _device(status: DeviceStatus, speeds: SpeedTable) -> dict[str, Any]:
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
        "models": [asdict(model) for model in status.models],
        "tasks": [_task(task, status, speeds) for task in status.tasks],
    }


def _task(task: TaskOnDevice, status: DeviceStatus, speeds: SpeedTable) -> dict[str, Any]:
    eta_s = speeds.running_eta(task.model, status.spec.name, task.work_left_seconds, len(status.tasks))
    return {**asdict(task), "peak_bytes": None, "eta_seconds": eta_s}  # the peak is measured when the task is done
