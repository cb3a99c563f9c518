"""A scheduler whose loop really runs, on a real queue and database, with workers that the test plays itself."""

from __future__ import annotations

import queue as queues
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from optimizer.devices.device import Device, WorkerListener
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.fleet import DeviceFleet
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.monitoring.event_log import EventLog
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.planning.inputs import ModelView
from optimizer.planning.plan import PlanLimits
from optimizer.queue.changes import Complete, RequestedChange
from optimizer.queue.ordering import FIRST_COME
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.event_messages import EventMessages
from optimizer.scheduling.inbox import Inbox
from optimizer.scheduling.path import SchedulingPath
from optimizer.scheduling.storage_retry import StorageRetry
from optimizer.scheduling.wiring import SchedulerParts, build_scheduler
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event, EventBus, TaskChanged
from optimizer.tasks.task import Task
from optimizer.timing.forecast_accuracy import ForecastTracker
from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.timing.speeds import SpeedTable
from tests.optimizer.devices.fake_worker import FakeWorker, device_of
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import new_task, window
from whisper_core.text.transcript import Transcript
from whisper_core.worker import messages as protocol
from whisper_core.worker.messages import MemoryReport

GB = 10**9
CPU = DeviceSpec("cpu", "cpu", "a processor", 100 * GB)
CARD = DeviceSpec("cuda:0", "cuda", "a card", 100 * GB)
WAIT_S = 20.0  # for what another thread does; never reached unless something is wrong
LONGEST_NAP_S = 3600.0  # so that a loop which is not woken does nothing

Command = TypeVar("Command", bound=protocol.Command)
Result = TypeVar("Result")


class PlayedWorker(FakeWorker):
    """Every message crosses in its real form. The test's own thread is the worker's reader thread."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._commands: queues.SimpleQueue[protocol.Command] = queues.SimpleQueue()

    def send(self, command: protocol.Command) -> None:
        super().send(command)
        self._commands.put(cast(protocol.Command, protocol.decode(protocol.encode(command))))

    def expect(self, kind: type[Command]) -> Command:
        """The next command, which must be of this kind."""
        command = self._commands.get(timeout=WAIT_S)
        assert isinstance(command, kind), command
        return command

    def has_commands(self) -> bool:
        return not self._commands.empty()

    def report(self, *reports: protocol.Report) -> None:
        """Several have arrived before the first one was handled."""
        self.on_reports([cast(protocol.Report, protocol.decode(protocol.encode(report))) for report in reports])

    def ready(self, slots: int = 8) -> None:
        self.report(protocol.WorkerReady(self.name, "fake", 1, MemoryReport(0, 0), slots))

    def finish_window(self, run: protocol.RunTask, index: int) -> None:
        self.report(protocol.WindowDone(run.task_id, run.attempt_id, window(index)))

    def finish(self, run: protocol.RunTask, text: str = "Hello.") -> None:
        self.report(protocol.TaskDone(run.task_id, run.attempt_id, Transcript(text, "en", ()), 1000, 1.0))

    def fail(self, run: protocol.RunTask, code: str = "engine_error") -> None:
        self.report(protocol.TaskFailed(run.task_id, run.attempt_id, code, "It failed."))


class PlayedFactory:
    """In the place of DeviceFactory."""

    may_use_cpu = True

    def __init__(self, clock: FakeClock) -> None:
        self.workers: dict[str, PlayedWorker] = {}
        self._clock = clock

    def make(self, spec: DeviceSpec, listener: WorkerListener, *, is_optimized: bool) -> Device:
        worker = self.workers[spec.name] = PlayedWorker(spec.name)
        return device_of(spec, worker, self._clock, 0, listener)

    def make_cpu(self, listener: WorkerListener, *, is_optimized: bool) -> Device:
        return self.make(CPU, listener, is_optimized=is_optimized)


class WatchedQueue(IntelligentQueueManager):
    """Counts the loop's iterations, and raises instead of a method's answer what a test wants.

    faults: by method, each once.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.iterations = 0
        self.iterated = threading.Condition()
        self.faults: dict[str, list[Exception]] = {}

    def next_delay_end_in(self) -> float | None:
        """The loop asks for it at the beginning of every iteration, when it has carried out its last decision."""
        with self.iterated:
            self.iterations += 1
            self.iterated.notify_all()
        return super().next_delay_end_in()

    def wait_for_an_iteration(self, wake: Callable[[], None]) -> None:
        """Of those that begin after `wake`."""
        before = self.iterations
        wake()
        with self.iterated:
            assert self.iterated.wait_for(lambda: self.iterations > before, WAIT_S)

    def waiting(self) -> Any:
        return self._or_fault("waiting", super().waiting)

    def claim_all(self, *args: Any, **more: Any) -> list[Task | None]:
        return self._or_fault("claim", lambda: super(WatchedQueue, self).claim_all(*args, **more))

    def requeue(self, *args: Any, **more: Any) -> Task | None:
        return self._or_fault("requeue", lambda: super(WatchedQueue, self).requeue(*args, **more))

    def record(self, requested: Sequence[RequestedChange]) -> list[Task | None]:
        completes = any(isinstance(each.change, Complete) for each in requested)
        return self._or_fault(
            "complete" if completes else "record", lambda: super(WatchedQueue, self).record(requested)
        )

    def _or_fault(self, method: str, call: Callable[[], Result]) -> Result:
        if self.faults.get(method):
            raise self.faults[method].pop(0)
        return call()


class Rig:
    """Started by `running_rig`. Its tasks are prepared; models are always there."""

    def __init__(self, data_dir: Path, specs: Sequence[DeviceSpec], path: SchedulingPath, retry_delay_s: float) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.asked_to_prepare: list[str] = []
        self.store = TaskStore(data_dir)
        self.store.open()
        self.files = TaskFiles(data_dir)
        self.files.make_folders()
        bus, self.inbox = EventBus(), Inbox()
        bus.add_listener(self.events.append)
        bus.add_listener(lambda event: self.inbox.wake() if isinstance(event, TaskChanged) else None)
        self.queue = WatchedQueue(
            self.store,
            self.clock,
            boot_id="boot",
            max_queued=1000,
            retry_delay=lambda attempt: retry_delay_s,
            on_change=bus.publish_task_changed,
        )
        self.queue.recover()
        self._factory = PlayedFactory(self.clock)
        self.devices = DeviceFleet(cast(Any, self._factory))
        self.event_log = EventLog(self.store.database, self.clock)
        self.speeds = SpeedTable()
        self.monitor = PerformanceMonitor(self.clock, self.speeds, interval_s=60, on_sample=lambda: None)
        self.forecasts = ForecastTracker()
        scheduling = build_scheduler(self._parts(path, bus), PlanLimits(), LONGEST_NAP_S)
        self.scheduler, self.decisions = scheduling.scheduler, scheduling.decisions
        self.attribution, self.progress = scheduling.attribution, scheduling.progress
        self.devices.open(specs, scheduling.reports, is_optimized=path.is_optimized())

    def _parts(self, path: SchedulingPath, events: EventBus) -> SchedulerParts:
        return SchedulerParts(
            clock=self.clock,
            path=path,
            events=events,
            messages=EventMessages(self.event_log),
            inbox=self.inbox,
            storage_retry=StorageRetry(),
            queue=self.queue,
            files=self.files,
            make_samples_again=self._make_samples_again,
            devices=self.devices,
            models=cast(Any, SimpleNamespace(model_view=lambda model: ModelView(is_available=True))),
            estimates=MemoryEstimationPool(1.2),
            monitor=self.monitor,
            speeds=self.speeds,
            times=RuntimeEstimates(self.speeds),
            due_times=FIRST_COME,
            forecasts=self.forecasts,
            may_move_to_cpu=self.devices.may_use_cpu,
        )

    def worker(self, name: str = "cpu") -> PlayedWorker:
        return self._factory.workers[name]

    def device(self, name: str = "cpu") -> Device:
        return self.devices.device_named(name)

    def _make_samples_again(self, task_id: str) -> None:
        self.queue.samples.mark_missing(task_id)
        self.asked_to_prepare.append(task_id)

    def submit(self, task_id: str, **changes: object) -> None:
        self.files.audio_path(task_id).write_bytes(b"samples")
        self.queue.submit(new_task(task_id, **changes))

    def start_task(self, task_id: str, **changes: object) -> protocol.RunTask:
        """Submit it, have its model loaded if it is the first, and return the command that the worker got."""
        loads_model = not self.device().models.statuses(())
        self.submit(task_id, **changes)
        if loads_model:
            load = self.worker().expect(protocol.LoadModel)
        run = self.worker().expect(protocol.RunTask)
        if loads_model:
            self.worker().report(protocol.ModelLoaded(load.model, weights_bytes=0, seconds=1.0))  # 0: not measured
        self.settle()
        return run

    def settle(self) -> None:
        """Returns when the loop has run all it was sent, and has decided at least once since."""
        for _ in range(2):  # one that is under way may be past what was sent
            self.queue.wait_for_an_iteration(self.inbox.wake)

    def owners(self, name: str = "cpu") -> set[str]:
        """Who has memory of the device reserved, besides the worker itself."""
        return {entry.owner for entry in self.device(name).pool.snapshot().reservations} - {"context"}

    @contextmanager
    def busy_loop(self) -> Iterator[None]:
        """The scheduler's thread does nothing inside this block."""
        is_busy, is_over = threading.Event(), threading.Event()

        def hold() -> None:
            is_busy.set()
            assert is_over.wait(WAIT_S)

        self.inbox.post(hold)
        assert is_busy.wait(WAIT_S)
        try:
            yield
        finally:
            is_over.set()


@contextmanager
def running_rig(
    data_dir: Path,
    specs: Sequence[DeviceSpec] = (CPU,),
    *,
    path: SchedulingPath | None = None,
    retry_delay_s: float = 10.0,
) -> Iterator[Rig]:
    rig = Rig(data_dir, specs, path or SchedulingPath(), retry_delay_s)
    rig.scheduler.start()
    try:
        yield rig
    finally:
        rig.scheduler.stop()
        rig.store.close()
