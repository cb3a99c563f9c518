"""What the server says of itself: the bodies of GET /api/system and GET /api/models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config import Settings
from optimizer.device import DeviceStatus
from optimizer.memory_estimation import MemoryEstimationPool
from optimizer.model_library import ModelLibrary
from optimizer.policy import PlanLimits
from optimizer.task import TaskStatus
from version import __version__
from whisper_core.languages import LANGUAGES
from whisper_core.models import MODEL_NAMES, model_info


def system_report(
    settings: Settings,
    *,
    statuses: Sequence[DeviceStatus],
    counts: Mapping[TaskStatus, int],
    throughput: float,
    limits: PlanLimits,
    fetching: Mapping[str, tuple[int, int]],
    plain_reason: str | None,
) -> dict[str, Any]:
    """Bytes of memory, seconds of sound per second over the last minute.

    limits: in force now; where the setting is `auto`, as many tasks as the devices have slots.
    """
    return {
        "version": __version__,
        "path": "optimized" if plain_reason is None else "plain",
        "path_reason": plain_reason,
        "devices": [_device(status) for status in statuses],
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
        "advice": _advice(settings, statuses),
        "is_public": settings.is_public,
    }


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


def _device(status: DeviceStatus) -> dict[str, Any]:
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
        "resident_models": list(status.resident_models),
        "running": list(status.running),
        "slots": status.slots,
    }


def _advice(settings: Settings, statuses: Sequence[DeviceStatus]) -> list[str]:
    """What only a person can change."""
    advice = [
        f"{status.spec.name} keeps failing: look for its last errors in the log."
        for status in statuses
        if status.is_unstable
    ]
    if settings.is_public:
        advice.append(
            "HOST is open to other machines and there are no accounts: whoever reaches the port sees all texts."
        )
    return advice
