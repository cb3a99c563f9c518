"""The devices of one server, and the CPU that steps in for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

from optimizer.common.kinds import CPU_DEVICE
from optimizer.devices.device import Device, WorkerListener
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.factory import DeviceFactory
from optimizer.devices.status import DeviceState, DeviceStatus, RunningTask
from optimizer.devices.worker_process import Worker

log = logging.getLogger(__name__)


class DeviceFleet:
    """Empty until `open`. Any thread may iterate over the devices and call `statuses`, `names` and `may_use_cpu`; the
    rest belongs to the scheduler's thread."""

    def __init__(self, factory: DeviceFactory) -> None:
        self._factory = factory
        self._devices: list[Device] = []
        self._listener: WorkerListener | None = None
        self._is_optimized = True

    def __iter__(self) -> Iterator[Device]:
        return iter(tuple(self._devices))

    def discover(self) -> tuple[Sequence[DeviceSpec], str | None]:
        """See `DeviceFactory.discover`."""
        return self._factory.discover()

    def open(self, specs: Sequence[DeviceSpec], listener: WorkerListener, *, is_optimized: bool) -> None:
        """Make these devices; nothing is started. is_optimized: False for the plain path, which has its own engine."""
        self._listener = listener
        self._is_optimized = is_optimized
        self._devices = [self._factory.make(spec, listener, is_optimized=is_optimized) for spec in specs]

    def start(self) -> None:
        for device in self:
            device.start()

    def stop(self, grace_s: float) -> None:
        """Tell all workers at once, then wait for each. Tasks that they had stay in their devices' `running`."""
        stoppers = [
            threading.Thread(target=device.stop, args=(grace_s,), name=f"stop-{device.spec.name}") for device in self
        ]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()

    def device_named(self, name: str) -> Device:
        """Raises StopIteration for a name that no device has: our own bug."""
        return next(device for device in self if device.spec.name == name)

    def running_tasks(self) -> list[RunningTask]:
        """Of all devices."""
        return [running for device in self for running in device.running.values()]

    def usable(self) -> list[Device]:
        return [device for device in self if device.state is not DeviceState.UNAVAILABLE]

    def ensure_cpu(self) -> Device:
        """The CPU as a device.

        Where there are GPUs it is started when it is first wanted, and takes only tasks that ask for it: those that a
        GPU had no memory for, and those of int8 models.
        """
        known = next((device for device in self if device.spec.name == CPU_DEVICE), None)
        if known is not None:
            return known
        if self._listener is None:
            raise RuntimeError("the fleet is not open")
        cpu = self._factory.make_cpu(self._listener, is_optimized=self._is_optimized)
        cpu.accepts_auto = False
        log.info("device=%s event=wanted", cpu.spec.name)
        cpu.start()
        self._devices.append(cpu)
        return cpu

    def fall_back_to_cpu(self) -> None:
        """Have the CPU take every task when no device can be used any more; nothing while one can."""
        if not self._factory.may_use_cpu or any(device.accepts_auto for device in self.usable()):
            return
        cpu = self.ensure_cpu()
        if cpu.state is not DeviceState.UNAVAILABLE:  # otherwise not even its worker starts; readiness says so
            log.warning("device=%s event=fallback: no other device can be used", cpu.spec.name)
            cpu.accepts_auto = True

    # --- devices of other machines -----------------------------------------------------------------------------

    def add(self, spec: DeviceSpec, worker: Worker) -> None:
        """A device that another machine has. Its name must not be one's that is here."""
        if self._listener is None:
            raise RuntimeError("the fleet is not open")
        device = self._factory.make(spec, self._listener, is_optimized=self._is_optimized, worker=worker)
        log.info("device=%s event=added title=%r memory_gb=%.1f", spec.name, spec.title, spec.total_bytes / 1e9)
        device.start()
        self._devices.append(device)

    def remove(self, worker: Worker) -> tuple[str, list[RunningTask]] | None:
        """The device of this worker is gone with its machine, and its worker's exit has been applied.

        Returns its name, and tasks that it has all the same: they were handed to it after that, and are the caller's to
        give back. None where there is no such device.
        """
        device = next((device for device in self if device.worker is worker), None)
        if device is None:
            return None
        self._devices.remove(device)
        log.warning("device=%s event=removed", device.spec.name)
        device.stop(0.0)
        return device.spec.name, device.apply_exit()[1]

    # --- any thread --------------------------------------------------------------------------------------------

    def statuses(self) -> list[DeviceStatus]:
        return [device.status() for device in self]

    def names(self) -> list[str]:
        return [device.spec.name for device in self]

    def may_use_cpu(self) -> bool:
        """Whether tasks that ask for the CPU can run: it is a device that can be used, or could be started as one."""
        is_unusable = any(device.spec.name == CPU_DEVICE and device.state is DeviceState.UNAVAILABLE for device in self)
        return self._factory.may_use_cpu and not is_unusable
