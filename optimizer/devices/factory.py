"""Which devices a server uses, and how each is made, with its worker."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from config import Settings
from errors import StartError
from optimizer.common.clock import Clock
from optimizer.devices.device import Device, WorkerListener
from optimizer.devices.discovery import DeviceSpec, cpu_device, discover_devices
from optimizer.devices.worker_process import ENGINE_FACTORIES, DeviceWorker, WorkerConfig
from optimizer.memory.estimator import MemoryEstimationPool

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceFactory:
    settings: Settings
    clock: Clock
    estimates: MemoryEstimationPool
    worker: WorkerConfig | None = None  # instead of what the settings say, for tests
    devices: Sequence[DeviceSpec] | None = None  # instead of the machine's own, for tests

    def discover(self) -> tuple[Sequence[DeviceSpec], str | None]:
        """The devices to use; and, when the machine's own could not be read, a sentence that says so.

        Raises StartError when a device that was asked for is not there.
        """
        if self.devices is not None:
            return self.devices, None
        try:
            return discover_devices(self.settings), None
        except StartError:
            raise
        except Exception:
            log.exception("event=devices_unreadable")
            return [cpu_device(self.settings)], "the machine's devices could not be read"

    def make(self, spec: DeviceSpec, listener: WorkerListener, *, is_optimized: bool) -> Device:
        """is_optimized: False for the plain path, which uses openai-whisper's own engine."""
        config = self.worker or self._worker_config(is_optimized)
        title = spec.title
        if config.engine_factory != ENGINE_FACTORIES["batch"]:  # another engine takes other memory on the same device
            title = f"{title}, {config.engine_factory.rpartition(':')[2]}"
        self.estimates.add_device(spec.name, spec.kind, title)
        return Device(
            spec,
            DeviceWorker(spec, config),
            self.clock,
            listener,
            context_bytes=self.estimates.context_bytes(spec.kind),
            models_dir=self.settings.models_dir,
        )

    def make_cpu(self, listener: WorkerListener, *, is_optimized: bool) -> Device:
        """The machine itself, which always works."""
        return self.make(cpu_device(self.settings), listener, is_optimized=is_optimized)

    def _worker_config(self, is_optimized: bool) -> WorkerConfig:
        engine = self.settings.engine if is_optimized else "reference"
        return WorkerConfig(
            ENGINE_FACTORIES[engine],
            cpu_threads=self.settings.cpu_threads,
            log_level=self.settings.log_level,
            log_format=self.settings.log_format,
        )
