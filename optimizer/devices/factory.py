"""Which devices a server uses, with which workers, and how each is made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from config import Settings
from errors import StartError
from optimizer.common.clock import Clock
from optimizer.devices.device import Device
from optimizer.devices.discovery import DeviceSpec, cpu_device, discover_devices
from optimizer.devices.worker_process import ENGINE_FACTORIES, WorkerConfig
from optimizer.memory.estimator import MemoryEstimationPool
from whisper_core.worker.messages import Report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceFactory:
    """worker, devices: other ones than the settings and the machine say, for tests. on_report, on_exit: called from the
    devices' reader threads."""

    settings: Settings
    clock: Clock
    estimates: MemoryEstimationPool
    on_report: Callable[[Device, Report], None]
    on_exit: Callable[[Device], None]
    worker: WorkerConfig | None = None
    devices: Sequence[DeviceSpec] | None = None

    def find(self) -> tuple[Sequence[DeviceSpec], str | None]:
        """The devices to use; and, where the machine does not say what it has, why it can only be the CPU.

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

    def make(self, spec: DeviceSpec, *, is_optimized: bool) -> Device:
        """is_optimized: False for the plain path, which has openai-whisper's own engine."""
        config = self.worker or self._worker_config(is_optimized)
        title = spec.title
        if config.engine_factory != ENGINE_FACTORIES["batch"]:  # which takes other memory on the same device
            title = f"{title}, {config.engine_factory.rpartition(':')[2]}"
        self.estimates.know_device(spec.name, spec.kind, title)
        context_bytes = self.estimates.context_bytes(spec.kind)
        return Device(spec, config, self.clock, context_bytes, self.on_report, self.on_exit)

    def make_cpu(self, *, is_optimized: bool) -> Device:
        """The machine itself, which always works."""
        return self.make(cpu_device(self.settings), is_optimized=is_optimized)

    def _worker_config(self, is_optimized: bool) -> WorkerConfig:
        engine = self.settings.engine if is_optimized else "reference"
        return WorkerConfig(
            self.settings.models_dir,
            ENGINE_FACTORIES[engine],
            cpu_threads=self.settings.cpu_threads,
            log_level=self.settings.log_level,
        )
