"""Every model that can be asked for: the body of GET /api/models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from config import Settings
from optimizer.common.kinds import DeviceKind
from optimizer.devices.fleet import DeviceFleet
from optimizer.devices.status import DeviceStatus
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.path import SchedulingPath
from optimizer.timing.speeds import SpeedTable
from whisper_core.models.catalogue import ModelInfo
from whisper_core.text.languages import LANGUAGES


@dataclass(frozen=True)
class _Now:
    """What every model's entry needs of the system."""

    statuses: list[DeviceStatus]
    fetching: Mapping[str, tuple[int, int]]  # by the weights' name
    speeds: Mapping[str, float]

    @property
    def first_kind(self) -> DeviceKind:
        return self.statuses[0].spec.kind if self.statuses else "cpu"


class ModelViews:
    """Any thread, once the system is started."""

    def __init__(
        self,
        settings: Settings,
        *,
        path: SchedulingPath,
        devices: DeviceFleet,
        models: ModelLibrary,
        estimates: MemoryEstimationPool,
        speeds: SpeedTable,
    ) -> None:
        self._settings = settings
        self._path = path
        self._devices = devices
        self._models = models
        self._estimates = estimates
        self._speeds = speeds

    def models(self) -> dict[str, Any]:
        """The body of GET /api/models: every model that the engine can compute, openai-whisper's smallest first,
        then those that people brought; and what they brought in vain."""
        now = _Now(self._devices.statuses(), self._models.fetching(), self._speeds.fastest())
        has_int8 = self._path.no_int8_reason() is None
        return {
            "models": [
                self._model(info, now)
                for info in self._models.registry.models()
                if has_int8 or info.precision != "int8"
            ],
            "broken_models": [asdict(broken) for broken in self._models.registry.broken_models()],
            "default": self.default_model(),
            "default_language": self._settings.default_language,
            "languages": LANGUAGES,
        }

    def default_model(self) -> str:
        """The model of a task that names none: DEFAULT_MODEL, or where there are no int8 models the one of its file."""
        default = self._models.registry.known(self._settings.default_model)
        return default.name if self._path.no_int8_reason() is None else default.weights_name

    def _model(self, info: ModelInfo, now: _Now) -> dict[str, Any]:
        name, fetch, speed = info.name, now.fetching.get(info.weights_name), now.speeds.get(info.name)
        return {
            "name": name,
            "precision": info.precision,
            "weights": info.weights_name,
            "device_kinds": ["cpu"] if info.is_for_cpus_only else ["cpu", "cuda"],
            "size_bytes": info.size_bytes,
            "is_brought": info.is_brought,
            "is_multilingual": info.is_multilingual,
            "is_available": self._models.is_available(name),
            "loaded_on": [status.spec.name for status in now.statuses if name in status.resident_models],
            "memory_bytes": self._estimates.weights_bytes(name, "cpu" if info.is_for_cpus_only else now.first_kind),
            "speed": None if speed is None else round(speed, 2),
            "word_error_rate": info.word_error_rate,
            "fetch": {"done_bytes": fetch[0], "total_bytes": fetch[1]} if fetch else None,
            "problem": self._models.model_view(name).failed_message,
        }
