"""A device's worker that the test plays itself, and a device around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from errors import WorkerDiedError
from optimizer.common.clock import Clock
from optimizer.devices.device import Device, WorkerListener
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import OnExit, OnReports
from optimizer.memory.probes import MemoryReading, MemorySource
from whisper_core.worker import messages as protocol


class FakeWorker:
    """Remembers commands and does nothing; the test calls `on_reports` and `on_exit` as the reader thread would.

    is_gone: as a worker whose process has ended.
    """

    pid = 77
    exit_code: int | None = None
    is_lost = False
    is_preparing = False

    def __init__(self) -> None:
        self.sent: list[protocol.Command] = []
        self.spec = DeviceSpec("cpu", "cpu", "a processor", 0)
        self.starts = 0
        self.kills = 0
        self.is_gone = False
        self.is_report_being_handled = False
        self.start_error: OSError | None = None
        self.on_reports: OnReports
        self.on_exit: OnExit

    def read_memory(self, source: MemorySource) -> MemoryReading | None:
        return source.read(self.spec.kind, self.spec.gpu_uuid, self.pid)

    def start(self, on_reports: OnReports, on_exit: OnExit) -> None:
        self.starts += 1
        self.on_reports, self.on_exit = on_reports, on_exit
        if self.start_error is not None:
            raise self.start_error

    def send(self, command: protocol.Command) -> None:
        if self.is_gone:
            raise WorkerDiedError()
        self.sent.append(command)

    def kill(self) -> None:
        self.kills += 1

    def stop(self, grace_s: float) -> None:
        self.is_gone = True


class RememberingListener:
    """Whose worker exited."""

    def __init__(self) -> None:
        self.exits: list[Device] = []

    def on_reports(self, device: Device, reports: Sequence[protocol.Report], /) -> None:
        return

    def on_exit(self, device: Device, /) -> None:
        self.exits.append(device)


def device_of(
    spec: DeviceSpec,
    worker: FakeWorker,
    clock: Clock,
    context_bytes: int,
    listener: WorkerListener | None = None,
    *,
    gets_own_weights: bool = False,
) -> Device:
    worker.spec = spec
    return Device(
        spec,
        worker,
        clock,
        listener or RememberingListener(),
        context_bytes=context_bytes,
        models_dir=Path("models"),
        model_sources="local",
        gets_own_weights=gets_own_weights,
    )
