"""The server's handle on a device's worker on another machine.

To its device it is what DeviceWorker is: commands go one way and reports the other, and when the node, its worker or
the way to it is lost, that is the worker's exit.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from errors import WorkerDiedError
from optimizer.cluster import messages
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import MAX_REPORTS_AT_ONCE, OnExit, OnReports, WorkerConfig
from optimizer.memory.probes import MemoryReading, MemorySource
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)


class CommandSink(Protocol):
    """The way to the bridge."""

    def send(self, message: messages.ToBridge) -> bool:
        """False when there is no way at the moment. Any thread."""


class _Exited:
    """The last thing that a run's thread gets, unless it gets the run's successor."""


class _Run:
    """One start of the worker, with the thread `device-<name>` that handles what it reports."""

    def __init__(self, number: int, device: str, on_reports: OnReports, on_exit: OnExit) -> None:
        self.number = number
        self.is_over = threading.Event()  # its exit is known
        self.is_report_being_handled = False
        self._device = device
        self._on_reports = on_reports
        self._on_exit = on_exit
        self._arrived: queue.SimpleQueue[bytes | _Exited] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name=f"device-{device}")
        self.fail: Callable[[], None] = lambda: None

    def take(self, reports: bytes) -> None:
        self._arrived.put(reports)

    def end(self) -> None:
        """What has arrived is handled before the exit is."""
        self.is_over.set()
        self._arrived.put(_Exited())

    def _work(self) -> None:
        waiting: list[protocol.Report] = []
        arrived: bytes | _Exited = b""
        try:
            while not isinstance(arrived, _Exited):
                arrived = self._arrived.get()
                while not isinstance(arrived, _Exited):
                    waiting += [protocol.decode(line) for line in arrived.splitlines()]  # type: ignore[misc]
                    if len(waiting) >= MAX_REPORTS_AT_ONCE or self._arrived.empty():
                        break
                    arrived = self._arrived.get()
                if waiting:
                    self.is_report_being_handled = True
                    self._on_reports(waiting)
                    self.is_report_being_handled = False
                    waiting = []
        except Exception:
            # As DeviceWorker: the two sides no longer agree, so start over with a new worker.
            log.exception("device=%s event=report_failed", self._device)
            self.fail()
        self.is_report_being_handled = False
        self._on_exit()


class RemoteWorker:
    """See optimizer.devices.worker_process.Worker. What the bridge says of it comes in by `take_…`, on one thread."""

    pid: int | None = None  # it is no process of this machine

    def __init__(self, spec: DeviceSpec, config: WorkerConfig, bridge: CommandSink) -> None:
        self._spec = spec
        self._config = config
        self._bridge = bridge
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._runs = 0
        self._reading: MemoryReading | None = None
        self._is_node_gone = False
        self._is_preparing = False
        self._is_reachable = True
        self.exit_code: int | None = None
        self.is_lost = False

    @property
    def is_report_being_handled(self) -> bool:
        return self._run is not None and self._run.is_report_being_handled

    @property
    def is_preparing(self) -> bool:
        return self._is_preparing

    def read_memory(self, source: MemorySource) -> MemoryReading | None:
        """As the node read it last."""
        return self._reading

    # --- what its device does ----------------------------------------------------------------------------------

    def start(self, on_reports: OnReports, on_exit: OnExit) -> None:
        """On a node that is gone nothing starts, and nothing is heard of it: the device is about to be removed."""
        with self._lock:
            if self._is_node_gone:
                return
            self._runs += 1
            run = self._run = _Run(self._runs, self._spec.name, on_reports, on_exit)
            run.fail = self.kill
            self.exit_code, self.is_lost, self._is_preparing, self._is_reachable = None, False, False, True
            run.thread.start()
        start = messages.StartWorker(
            self._spec.name,
            run.number,
            self._config.engine_factory,
            self._config.cpu_threads,
            self._config.log_level,
        )
        if not self._bridge.send(start):
            self._end(run, None, is_lost=True)

    def send(self, command: protocol.Command) -> None:
        run = self._run
        if run is None or run.is_over.is_set():
            raise WorkerDiedError()
        if not self._bridge.send(messages.SendCommand(self._spec.name, run.number, protocol.encode(command))):
            raise WorkerDiedError()

    def kill(self) -> None:
        """Its exit follows at once, whether the node can be reached or not. If it cannot, that is why nothing was
        heard, and says nothing of the worker."""
        run = self._run
        if run is not None and not run.is_over.is_set():
            self._bridge.send(messages.KillWorker(self._spec.name, run.number))
            self._end(run, None, is_lost=not self._is_reachable)

    def stop(self, grace_s: float) -> None:
        run = self._run
        if run is None:
            return
        try:
            self.send(protocol.Shutdown())
        except WorkerDiedError:
            log.debug("worker of %s was gone before it was stopped", self._spec.name)
        if not run.is_over.wait(grace_s):
            self.kill()
        if run.thread is not threading.current_thread():
            run.thread.join(10)

    # --- what the bridge says of it ----------------------------------------------------------------------------

    def take_reports(self, message: messages.Reports) -> None:
        if (run := self._run_of(message.run)) is not None:
            run.take(message.body)

    def take_preparing(self, message: messages.Preparing) -> None:
        if self._run_of(message.run) is not None:
            self._is_preparing = message.is_preparing

    def take_reachable(self, message: messages.Reachable) -> None:
        if self._run_of(message.run) is not None:
            self._is_reachable = message.is_reachable

    def take_memory(self, message: messages.MemoryRead) -> None:
        self._reading = MemoryReading(message.total, message.free, message.ours)

    def take_exit(self, message: messages.WorkerExited) -> None:
        if (run := self._run_of(message.run)) is not None:
            self._end(run, message.exit_code, is_lost=message.is_lost)

    def lose_node(self, then: Callable[[], None]) -> None:
        """Its node, or every way to it, is lost: that is its exit, unless it has one. then: called once that has been
        handled, on whatever thread."""
        with self._lock:
            self._is_node_gone = True
            run = self._run
        if run is None:
            then()
            return
        self._end(run, None, is_lost=True)
        threading.Thread(target=_call_after, args=(run.thread, then), name=f"gone-{self._spec.name}").start()

    def _run_of(self, number: int) -> _Run | None:
        """None when that run is over."""
        run = self._run
        return run if run is not None and run.number == number and not run.is_over.is_set() else None

    def _end(self, run: _Run, exit_code: int | None, *, is_lost: bool) -> None:
        """Once for each run."""
        with self._lock:
            if run.is_over.is_set():
                return
            self.exit_code, self.is_lost, self._is_preparing = exit_code, is_lost, False
            run.end()


def _call_after(thread: threading.Thread, then: Callable[[], None]) -> None:
    thread.join()
    then()
