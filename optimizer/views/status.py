"""What the server says of itself: the bodies of GET /api/system and GET /api/models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from config import Settings
from optimizer.common.text import duration
from optimizer.devices.status import DeviceStatus, TaskOnDevice
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.monitoring.advice import Advice
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ordering import DueTimes
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.tasks.task import TaskStatus
from version import __version__
from whisper_core.models.catalogue import MODEL_NAMES, model_info
from whisper_core.text.languages import LANGUAGES


def system_report(
    settings: Settings,
    *,
    statuses: Sequence[DeviceStatus],
    counts: Mapping[TaskStatus, int],
    throughput: float,
    limits: PlanLimits,
    fetching: Mapping[str, tuple[int, int]],
    plain_reason: str | None,
    advice: Sequence[Advice],
    eta_seconds: Callable[[str, str, float, int], float | None],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Bytes of memory, seconds of sound per second over the last minute.

    limits: in force now; where the setting is `auto`, as many tasks as the devices have slots. eta_seconds: until so
    many seconds of sound are done with a model on a device that has so many tasks. more: what other parts have to say.
    """
    return {
        "version": __version__,
        "path": "optimized" if plain_reason is None else "plain",
        "path_reason": plain_reason,
        "devices": [_device(status, eta_seconds) for status in statuses],
        "counts": {status.value: counts.get(status, 0) for status in TaskStatus},
        "throughput": {"audio_seconds_per_second": round(throughput, 3)},
        "limits": {
            "max_concurrent_tasks": limits.most_running(status.slots for status in statuses),
            "max_batch_size": limits.max_batch,
        },
        "settings": settings.public_values(),
        "fetches": [
            {"model": model, "done_bytes": done, "total_bytes": total} for model, (done, total) in fetching.items()
        ],
        "advice": [each.text for each in advice],
        "advice_items": [each.to_dict() for each in advice],
        "is_public": settings.is_public,
        **more,
    }


def wait_bound(due_times: DueTimes, limits: PlanLimits) -> dict[str, Any]:
    """How much later a task may come at most that passes one of its owner and priority; see `policy`."""
    patience_s = due_times.max_patience_s and due_times.max_patience_s + limits.overtake_limit_s
    if patience_s <= 0:
        return {"patience_seconds": 0.0, "text": "Tasks run in order of arrival, so none is passed by a later one."}
    text = (
        f"Short tasks go first, but none is passed by one of the same person and priority that came more than"
        f" {duration(patience_s)} after it."
    )
    return {"patience_seconds": patience_s, "text": text}


def models_report(
    settings: Settings, library: ModelLibrary, estimates: MemoryEstimationPool, statuses: Sequence[DeviceStatus]
) -> dict[str, Any]:
    """Every model, smallest first; memory_bytes is what its weights take on the first device's kind."""
    kind = statuses[0].spec.kind if statuses else "cpu"
    fetching = library.fetching()
    models = []
    for name in MODEL_NAMES:
        info = model_info(name)
        fetch = fetching.get(name)
        models.append(
            {
                "name": name,
                "size_bytes": info.size_bytes,
                "is_multilingual": info.is_multilingual,
                "is_available": library.is_available(name),
                "loaded_on": [status.spec.name for status in statuses if name in status.resident_models],
                "memory_bytes": estimates.weights_bytes(name, kind),
                "fetch": {"done_bytes": fetch[0], "total_bytes": fetch[1]} if fetch else None,
                "problem": library.view(name).failed_message,
            }
        )
    return {
        "models": models,
        "default": settings.default_model,
        "default_language": settings.default_language,
        "languages": LANGUAGES,
    }


def _device(status: DeviceStatus, eta_seconds: Callable[[str, str, float, int], float | None]) -> dict[str, Any]:
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
        "tasks": [_task(task, status, eta_seconds) for task in status.tasks],
    }


def _task(
    task: TaskOnDevice, status: DeviceStatus, eta_seconds: Callable[[str, str, float, int], float | None]
) -> dict[str, Any]:
    """peak_bytes: known once the task is done, so it stays null here."""
    eta_s = eta_seconds(task.model, status.spec.name, task.work_left_seconds, len(status.tasks))
    return {**asdict(task), "peak_bytes": None, "eta_seconds": eta_s}
