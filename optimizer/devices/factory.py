"""Which devices a server uses, and how each is made, with its worker."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from cluster_settings import NO_DEVICES
from config import Settings
from errors import StartError
from optimizer.common.clock import Clock
from optimizer.common.kinds import CPU_DEVICE
from optimizer.devices.device import Device, WorkerListener
from optimizer.devices.discovery import DeviceSpec, cpu_device, discover_devices
from optimizer.devices.engines import BATCH, REFERENCE
from optimizer.devices.worker_process import DeviceWorker, Worker, WorkerConfig
from optimizer.memory.estimator import MemoryEstimationPool
from whisper_core.worker.engine_spec import EngineSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceFactory:
    settings: Settings
    clock: Clock
    estimates: MemoryEstimationPool
    engine: EngineSpec = BATCH  # of the optimized path
    worker: WorkerConfig | None = None  # instead of what the settings say, for tests
    devices: Sequence[DeviceSpec] | None = None  # instead of the machine's own, for tests

    @property
    def may_use_cpu(self) -> bool:
        """Whether this machine's CPU may become a device, be it as a stand-in."""
        return self.settings.devices != NO_DEVICES

    def discover(self) -> tuple[Sequence[DeviceSpec], str | None]:
        """The devices to use; and, when the machine's own could not be read, a sentence that says so.

        Raises StartError when a device that was asked for is not there, or not for the engine.
        """
        if self.devices is not None:
            return self.devices, None
        if self.engine.is_for_cpus_only and self.may_use_cpu:
            return [self._cpu_instead()], None
        try:
            return discover_devices(self.settings), None
        except StartError:
            raise
        except Exception:
            log.exception("event=devices_unreadable")
            return [cpu_device(self.settings)], "the machine's devices could not be read"

    def make(
        self, spec: DeviceSpec, listener: WorkerListener, *, is_optimized: bool, worker: Worker | None = None
    ) -> Device:
        """is_optimized: False for the plain path, which uses openai-whisper's own engine. worker: of a device of
        another machine."""
        config = self.worker_config(is_optimized=is_optimized)
        title = spec.title
        if config.engine_factory != BATCH.factory:  # another engine takes other memory on the same device
            title = f"{title}, {config.engine_factory.rpartition(':')[2]}"
        self.estimates.add_device(spec.name, spec.kind, title)
        return Device(
            spec,
            worker or DeviceWorker(spec, config),
            self.clock,
            listener,
            context_bytes=self.estimates.context_bytes(spec.kind),
            models_dir=self.settings.models_dir,
            model_sources=self.settings.model_sources,
            gets_own_weights=worker is not None,
        )

    def make_cpu(self, listener: WorkerListener, *, is_optimized: bool) -> Device:
        """The machine itself, which always works."""
        return self.make(cpu_device(self.settings), listener, is_optimized=is_optimized)

    def worker_config(self, *, is_optimized: bool) -> WorkerConfig:
        """How a device's worker is started."""
        return self.worker or WorkerConfig(
            (self.engine if is_optimized else REFERENCE).factory,
            cpu_threads=self.settings.cpu_threads,
            log_level=self.settings.log_level,
            log_format=self.settings.log_format,
        )

    def _cpu_instead(self) -> DeviceSpec:
        """The one device of an engine that computes on CPUs only."""
        if self.settings.devices not in ("auto", CPU_DEVICE):
            raise StartError(
                f"ENGINE={self.settings.engine} computes on the CPU only, but DEVICES asks for {self.settings.devices}."
            )
        return cpu_device(self.settings)
