"""What the server's own loop does for every device in every round, besides planning: real devices, workers that do
nothing."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.scheduling.scenarios import SLOTS
from benchmarks.scheduling.world import Service
from optimizer.common.clock import SystemClock
from optimizer.common.kinds import AUTO_DEVICE
from optimizer.devices.device import Device
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import RunningTask
from optimizer.devices.worker_process import OnExit, OnReports
from optimizer.memory.ledger import model_owner
from optimizer.memory.probes import MemoryReading, MemorySource
from optimizer.queue.index import QueueIndex
from optimizer.queue.ordering import DueTimes
from optimizer.scheduling.crash_attribution import CrashAttribution
from optimizer.scheduling.device_views import DeviceViews
from optimizer.tasks.task import Priority, Task, TaskOptions, TaskStatus
from whisper_core.text.transcript import Checkpoint
from whisper_core.worker import messages as protocol

REPEATS = 50
_CARD_BYTES, _MODEL_BYTES, _TASK_BYTES = 24 * 1024**3, 8 * 1024**3, 256 * 1024**2


@dataclass(frozen=True)
class LoopCosts:
    """Medians of a round's CPU time in milliseconds, with every slot of every device taken."""

    devices: int
    supervising_ms: float  # workers that no longer answer, and the ledgers' own check
    views_ms: float  # what the planner is shown, as far as it looks when nothing waits
    briefs_ms: float  # and what more of it when it looks at every running task


class _IdleWorker:
    pid = None
    exit_code = None
    is_lost = is_preparing = is_report_being_handled = False

    def read_memory(self, source: MemorySource) -> MemoryReading | None:
        return None

    def start(self, on_reports: OnReports, on_exit: OnExit) -> None:
        return

    def send(self, command: protocol.Command) -> None:
        return

    def kill(self) -> None:
        return

    def stop(self, grace_s: float) -> None:
        return


class _Listener:
    def on_reports(self, device: Device, reports: Sequence[protocol.Report], /) -> None:
        return

    def on_exit(self, device: Device, /) -> None:
        return


def measure(count: int, service: Service, slots: int = SLOTS) -> LoopCosts:
    """count: of devices."""
    due_times = DueTimes(service.work_seconds)
    waiting = QueueIndex(due_times).ready(0.0)
    views = DeviceViews(CrashAttribution(SystemClock()), due_times)
    devices = [_busy_device(number, slots) for number in range(count)]
    gc.freeze()

    def supervise() -> None:
        for device in devices:
            device.supervise(time.monotonic())
            device.pool.check()

    def view() -> None:
        for device in devices:
            views.device_view(device, waiting)

    def brief() -> None:
        for device in devices:
            tuple(views.device_view(device, waiting).running_brief)

    supervising, viewing, briefing = (_median_ms(each) for each in (supervise, view, brief))
    return LoopCosts(count, supervising, viewing, briefing - viewing)


def _median_ms(once: Callable[[], None]) -> float:
    found = []
    for _ in range(REPEATS):
        began = time.thread_time()
        once()
        found.append(1000 * (time.thread_time() - began))
    return statistics.median(found)


def _busy_device(number: int, slots: int) -> Device:
    spec = DeviceSpec(f"cuda:{number}", "cuda", "a card", _CARD_BYTES)
    device = Device(
        spec, _IdleWorker(), SystemClock(), _Listener(), context_bytes=0, models_dir=Path("models"), model_sources=""
    )
    device.supervisor.start()
    device.supervisor.mark_ready()
    device.slots = slots
    device.pool.try_reserve(model_owner("base"), _MODEL_BYTES)
    for place in range(slots):
        task = _task(number * slots + place + 1)
        reservation = device.pool.try_reserve(task.id, _TASK_BYTES)
        assert reservation is not None
        now = time.monotonic()
        device.running[task.id] = RunningTask(
            task, reservation, now, now, has_progressed=True, latest=Checkpoint("en", 3000, 24_000)
        )
    return device


def _task(seq: int) -> Task:
    return Task(
        id=f"task{seq:08}", seq=seq, filename="a.mp3", status=TaskStatus.PROCESSING, options=TaskOptions(model="base"),
        priority=Priority.NORMAL, requested_device=AUTO_DEVICE, size_bytes=1, sha256="0" * 64,
        created_at=datetime.now(UTC), max_attempts=3, audio_seconds=240.0, owner=f"owner{seq % 100}",
    )  # fmt: skip
