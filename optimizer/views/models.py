"""Every model that can be asked for: the body of GET /api/models."""

from __future__ import annotations

from typing import Any

from config import Settings
from optimizer.devices.fleet import DeviceFleet
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.scheduling.model_library import ModelLibrary
from whisper_core.models.catalogue import MODEL_NAMES, model_info
from whisper_core.text.languages import LANGUAGES


class ModelViews:
    """Any thread, once the system is started."""

    def __init__(
        self, settings: Settings, *, devices: DeviceFleet, models: ModelLibrary, estimates: MemoryEstimationPool
    ) -> None:
        self._settings = settings
        self._devices = devices
        self._models = models
        self._estimates = estimates

    def models(self) -> dict[str, Any]:
        """The body of GET /api/models: every model, smallest first."""
        statuses, fetching = self._devices.statuses(), self._models.fetching()
        kind = statuses[0].spec.kind if statuses else "cpu"
        models = []
        for name in MODEL_NAMES:
            info = model_info(name)
            fetch = fetching.get(info.weights_name)
            models.append(
                {
                    "name": name,
                    "size_bytes": info.size_bytes,
                    "is_multilingual": info.is_multilingual,
                    "is_available": self._models.is_available(name),
                    "loaded_on": [status.spec.name for status in statuses if name in status.resident_models],
                    "memory_bytes": self._estimates.weights_bytes(name, kind),  # on the first device's kind
                    "fetch": {"done_bytes": fetch[0], "total_bytes": fetch[1]} if fetch else None,
                    "problem": self._models.model_view(name).failed_message,
                }
            )
        return {
            "models": models,
            "default": self._settings.default_model,
            "default_language": self._settings.default_language,
            "languages": LANGUAGES,
        }
