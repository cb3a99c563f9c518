"""The server's handle on the process that owns a device.

torch lives in that process only: a CUDA error cannot be healed inside the process that had it, decoding would fight the
web threads for the interpreter lock, and a process that ends gives all its memory back. The same worker loop can run in
a thread, for tests and for debugging.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from config import EngineName
from errors import WorkerDiedError
from optimizer.devices.discovery import DeviceSpec
from whisper_core.worker import messages as protocol
from whisper_core.worker.main import run_worker

log = logging.getLogger(__name__)

ENGINE_FACTORIES: dict[EngineName, str] = {
    "batch": "whisper_core.engine.batch_engine:BatchEngine",
    "reference": "whisper_core.reference.engine:ReferenceEngine",
}


@dataclass(frozen=True)
class WorkerConfig:
    """models_dir: where the worker finds the weights.
    engine_factory: dotted path `module:callable`, called as (device, cpu_threads) inside the worker.
    """

    models_dir: Path
    engine_factory: str
    cpu_threads: int = 0
    in_thread: bool = False
    log_level: str = "INFO"


class Running(Protocol):
    """A started worker, whatever it runs in."""

    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool: ...


class DeviceWorker:
    """Starts the worker of one device, sends it commands and passes its reports on.

    on_report and on_exit are called from the thread `device-<name>`; on_exit once per start, when the worker is gone
    and every report that it managed to send has been passed on.
    """

    def __init__(
        self,
        spec: DeviceSpec,
        config: WorkerConfig,
        *,
        on_report: Callable[[protocol.Report], None],
        on_exit: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._config = config
        self._on_report = on_report
        self._on_exit = on_exit
        self._connection: Connection | None = None
        self._running: Running | None = None
        self._reader: threading.Thread | None = None
        self._send_lock = threading.Lock()
        self._is_passing_on = False

    @property
    def is_passing_on(self) -> bool:
        """Whether `on_report` has a report at this moment; until it returns nothing more is heard of the worker."""
        return self._is_passing_on

    @property
    def pid(self) -> int | None:
        """The worker's process id; None in a thread or before the start."""
        return getattr(self._running, "pid", None)

    def start(self) -> None:
        """Raises OSError when the system has no process or no pipe for it; nothing is left of the try then."""
        ours, theirs = multiprocessing.Pipe(duplex=True)
        arguments = (theirs, self.spec, self._config)
        if self._config.in_thread:
            thread = threading.Thread(target=_worker_main, args=arguments, name=f"worker-{self.spec.name}", daemon=True)
            thread.start()
            self._running = thread
        else:
            process = multiprocessing.get_context("spawn").Process(
                target=_worker_main, args=arguments, name=f"worker-{self.spec.name}"
            )
            try:
                process.start()
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()  # so that its end, and not ours, is the last one
            self._running = process
        self._connection = ours
        self._reader = threading.Thread(target=self._read, args=(ours, self._running), name=f"device-{self.spec.name}")
        self._reader.start()

    def send(self, command: protocol.Command) -> None:
        """Raises WorkerDiedError when the worker is gone; its on_exit follows."""
        connection = self._connection
        try:
            if connection is None:
                raise OSError("not started")
            with self._send_lock:
                connection.send_bytes(protocol.encode(command))
        except OSError as error:
            raise WorkerDiedError() from error

    def kill(self) -> None:
        """End the process at once; harmless when it is gone. A thread cannot be killed, so it loses its pipe."""
        if isinstance(self._running, threading.Thread):
            if self._connection is not None:
                self._connection.close()
        elif self._running is not None:
            self._running.kill()  # type: ignore[attr-defined]

    def stop(self, grace_s: float) -> None:
        """Ask for a shutdown, wait at most grace_s for it, then kill. Returns when the worker is gone."""
        try:
            self.send(protocol.Shutdown())
        except WorkerDiedError:
            log.debug("worker of %s was gone before it was stopped", self.spec.name)
        if self._running is not None:
            self._running.join(grace_s)
            if self._running.is_alive():
                self.kill()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join(10)

    def _read(self, connection: Connection, running: Running) -> None:
        """Pass reports on until the worker's end of the pipe closes."""
        try:
            while True:
                report = protocol.decode(connection.recv_bytes())
                self._is_passing_on = True
                self._on_report(report)  # type: ignore[arg-type]
                self._is_passing_on = False
        except (EOFError, OSError):
            log.debug("pipe of %s closed", self.spec.name)
        except Exception:
            # A report that cannot be read or handled: the two sides no longer agree, so begin anew.
            log.exception("device=%s event=report_failed", self.spec.name)
            self.kill()
        self._is_passing_on = False
        running.join(10)
        if not isinstance(running, threading.Thread):
            connection.close()
        self._on_exit()


def _worker_main(connection: Connection, spec: DeviceSpec, config: WorkerConfig) -> None:
    """Entry point of the worker. A process sees only its own card, which is then always `cuda:0`."""
    if spec.gpu_uuid is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.gpu_uuid
    device = "cpu" if spec.kind == "cpu" else "cuda:0"
    run_worker(connection, device, config.engine_factory, config.cpu_threads, log_level=config.log_level)
