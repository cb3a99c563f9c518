"""The server's handle on the process that owns a device.

torch lives in that process only: a process cannot recover from a CUDA error, decoding would fight the web threads for
the interpreter lock, and a process that ends gives all its memory back. The same worker loop can run in a thread, for
tests and for debugging.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from errors import WorkerDiedError
from logs import LogFormat
from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.probes import MemoryReading, MemorySource
from whisper_core.worker import messages as protocol
from whisper_core.worker.main import run_worker

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = (
    10.0  # for a worker that no longer reads its pipe: the scheduler's thread must not wait for it for ever
)
MAX_REPORTS_AT_ONCE = 64  # that are recorded together: none waits for very many others


@dataclass(frozen=True)
class WorkerConfig:
    engine_factory: str  # dotted path `module:callable`, called as (device, cpu_threads) inside the worker
    cpu_threads: int = 0
    in_thread: bool = False
    log_level: str = "INFO"
    log_format: LogFormat = "text"


OnReports = Callable[[list[protocol.Report]], None]
OnExit = Callable[[], None]


class Worker(Protocol):
    """A device's worker, as its device needs it."""

    @property
    def is_report_being_handled(self) -> bool:
        """Whether `on_reports` has one at this moment; until it returns, the worker's next one waits."""

    @property
    def pid(self) -> int | None:
        """The worker's process id; None in a thread or before the start."""

    @property
    def exit_code(self) -> int | None:
        """Of a process that ended by itself, as multiprocessing gives it: negative for a signal's number. Otherwise
        None, also for one that `kill` has ended."""

    @property
    def is_lost(self) -> bool:
        """Whether its latest exit says nothing of its tasks: the machine that it ran on is gone, or the way to it. Also
        of one that was killed for its silence."""

    @property
    def is_preparing(self) -> bool:
        """Whether its tasks wait for what they need, a recording or weights, to come to the machine that it runs on."""

    def read_memory(self, source: MemorySource) -> MemoryReading | None:
        """What is known of its device's memory. None when nothing is. source: of this machine."""

    def start(self, on_reports: OnReports, on_exit: OnExit) -> None:
        """Start it, or start it again after an exit. Raises OSError when the system has no process or no pipe for it.

        on_reports: gets all that have arrived, in order. Both are called on the thread `device-<name>`; on_exit once
        per start, when the worker is gone and every report that it managed to send has been handled.
        """

    def send(self, command: protocol.Command) -> None:
        """Raises WorkerDiedError when the worker is gone, or does not take the command in SEND_TIMEOUT_S and is killed;
        its on_exit follows."""

    def kill(self) -> None:
        """End it at once; harmless when it is gone."""

    def stop(self, grace_s: float) -> None:
        """Ask for a shutdown, wait at most grace_s for it, then kill. Returns when the worker is gone."""


class _Running(Protocol):
    """A started worker, whatever it runs in."""

    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool: ...


class DeviceWorker:
    """The `Worker` that runs in a process of its own, or in a thread."""

    def __init__(self, spec: DeviceSpec, config: WorkerConfig) -> None:
        self._spec = spec
        self.config = config
        self._connection: Connection | None = None
        self._running: _Running | None = None
        self._reader: threading.Thread | None = None
        self._send_lock = threading.Lock()
        self._is_report_being_handled = False
        self._is_killed = False

    @property
    def is_report_being_handled(self) -> bool:
        return self._is_report_being_handled

    @property
    def pid(self) -> int | None:
        return getattr(self._running, "pid", None)

    @property
    def exit_code(self) -> int | None:
        return None if self._is_killed else getattr(self._running, "exitcode", None)

    @property
    def is_lost(self) -> bool:
        return False

    @property
    def is_preparing(self) -> bool:
        return False

    def read_memory(self, source: MemorySource) -> MemoryReading | None:
        return source.read(self._spec.kind, self._spec.gpu_uuid, self.pid)

    def start(self, on_reports: OnReports, on_exit: OnExit) -> None:
        ours, theirs = multiprocessing.Pipe(duplex=True)
        bound_sends(ours)
        self._is_killed = False
        arguments = (theirs, self._spec, self.config)
        if self.config.in_thread:
            thread = threading.Thread(
                target=_worker_main, args=arguments, name=f"worker-{self._spec.name}", daemon=True
            )
            thread.start()
            self._running = thread
        else:
            process = multiprocessing.get_context("spawn").Process(
                target=_worker_main, args=arguments, name=f"worker-{self._spec.name}"
            )
            try:
                process.start()
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()  # the child's copy must be the only one, or its death would not close the pipe
            self._running = process
        self._connection = ours
        self._reader = threading.Thread(
            target=self._read, args=(ours, self._running, on_reports, on_exit), name=f"device-{self._spec.name}"
        )
        self._reader.start()

    def send(self, command: protocol.Command) -> None:
        connection = self._connection
        try:
            if connection is None:
                raise OSError("not started")
            with self._send_lock:
                connection.send_bytes(protocol.encode(command))
        except BlockingIOError as error:
            log.error("device=%s event=worker_hung reason=it takes no commands", self._spec.name)
            self.kill()  # it may have got half of the command
            raise WorkerDiedError() from error
        except OSError as error:
            raise WorkerDiedError() from error

    def kill(self) -> None:
        """A thread cannot be killed, so it loses its pipe."""
        self._is_killed = True
        if isinstance(self._running, threading.Thread):
            if self._connection is not None:
                self._connection.close()
        elif self._running is not None:
            self._running.kill()  # type: ignore[attr-defined]

    def stop(self, grace_s: float) -> None:
        try:
            self.send(protocol.Shutdown())
        except WorkerDiedError:
            log.debug("worker of %s was gone before it was stopped", self._spec.name)
        if self._running is not None:
            self._running.join(grace_s)
            if self._running.is_alive():
                self.kill()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join(10)

    def _read(self, connection: Connection, running: _Running, on_reports: OnReports, on_exit: OnExit) -> None:
        """Read reports and have them handled, all that are there at a time, until the worker closes its end."""
        try:
            while True:
                reports: list[protocol.Report] = []
                try:
                    _receive(connection, reports)
                finally:
                    self._is_report_being_handled = True
                    if reports:
                        on_reports(reports)
                    self._is_report_being_handled = False
        except (EOFError, OSError):
            log.debug("pipe of %s closed", self._spec.name)
        except Exception:
            # A report that cannot be read or handled: the two sides no longer agree, so start over with a new worker.
            log.exception("device=%s event=report_failed", self._spec.name)
            self.kill()
        self._is_report_being_handled = False
        running.join(10)
        if not isinstance(running, threading.Thread):
            connection.close()
        on_exit()


def _receive(connection: Connection, reports: list[protocol.Report]) -> None:
    """Adds the next report, and what else is there by then. Raises when the pipe is at its end, or cannot be read."""
    while not reports or (len(reports) < MAX_REPORTS_AT_ONCE and connection.poll()):
        reports.append(protocol.decode(connection.recv_bytes()))  # type: ignore[arg-type]


def bound_sends(connection: Connection) -> None:
    """Lets a write that waits longer than SEND_TIMEOUT_S fail with BlockingIOError. Reads wait as before."""
    seconds = int(SEND_TIMEOUT_S)
    with socket.socket(fileno=os.dup(connection.fileno())) as pipe:
        pipe.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", seconds, int((SEND_TIMEOUT_S - seconds) * 1e6))
        )


def _worker_main(connection: Connection, spec: DeviceSpec, config: WorkerConfig) -> None:
    """Entry point of the worker. A process sees only its own card, which is then always `cuda:0`."""
    if spec.gpu_uuid is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.gpu_uuid
    device = "cpu" if spec.kind == "cpu" else "cuda:0"
    run_worker(
        connection,
        device,
        config.engine_factory,
        config.cpu_threads,
        log_level=config.log_level,
        log_format=config.log_format,
    )
