"""Models in memory whose files were replaced leave as soon as no task uses them; the next task has them loaded anew."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from errors import WorkerDiedError
from optimizer.devices.fleet import DeviceFleet
from optimizer.scheduling.event_messages import EventMessages


class ReplacedModels:
    """Belongs to the scheduler's thread, except for `note`."""

    def __init__(self, devices: DeviceFleet, messages: EventMessages) -> None:
        self._devices = devices
        self._messages = messages
        self._noted: deque[str] = deque()
        self._leaving: set[tuple[str, str]] = set()  # device and model

    def note(self, model: str) -> None:
        """Its files are others than they were. Any thread."""
        self._noted.append(model)

    def evict(self) -> None:
        """Those that no task uses now; before the next plan, so that no further task starts on them."""
        while self._noted:
            model = self._noted.popleft()
            self._leaving |= {(device.spec.name, model) for device in self._devices if model in device.models}
        for name, model in sorted(self._leaving):
            device = next((device for device in self._devices if device.spec.name == name), None)
            if device is None:  # it is gone with its machine, and its models with it
                self._leaving.discard((name, model))
                continue
            is_unused = model in device.models.loaded and model not in device.models_in_use
            if is_unused:
                self._messages.tell_replaced_model_evicted(model, name)
                with suppress(WorkerDiedError):  # then the model is gone with its worker
                    device.models.evict(model)
            if is_unused or model not in device.models:
                self._leaving.discard((name, model))
