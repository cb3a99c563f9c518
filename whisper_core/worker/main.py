"""The process that owns a device: takes commands from the server over a pipe, hosts one engine, reports.

torch is imported with the engine and not before, so this module is cheap to import. Three threads: the one that called
`run_worker` takes the commands in order and, between two of them, has the engine advance the tasks that it was given;
`commands` reads the pipe, so that a stop or the server's end is noticed while the engine works; `heartbeat` says that
the worker lives. A worker may also be a thread of the server, for tests.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from errors import DeviceLostError, EngineError, TranscriptionServerError
from logs import configure_logging
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.worker import messages as protocol
from whisper_core.worker.engine_protocol import Engine
from whisper_core.worker.inbox import WorkerInbox
from whisper_core.worker.messages import LoadModel, RunTask, UnloadModel

log = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
DETAIL_CHARACTERS = 8000  # of a traceback; its end says most
EXIT_SERVER_GONE = 0
EXIT_FAILED = 1
EXIT_DEVICE_LOST = 10


def run_worker(
    connection: Connection, device: str, engine_factory: str, cpu_threads: int, *, log_level: str = "INFO"
) -> None:
    """Serve a device until a Shutdown, the server's end or a lost device. Closes `connection` when it returns.

    device: `cpu` or `cuda:<n>`. engine_factory: dotted path `module:callable`, called as (device, cpu_threads).
    As a process's target it ends the process at once when the server is gone or the device is lost.
    """
    is_process = multiprocessing.parent_process() is not None
    end = os._exit if is_process else _leave_to_the_loop
    if is_process:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server then says Shutdown
        configure_logging(log_level)
    try:
        serve(connection, device, engine_factory, cpu_threads, on_server_gone=lambda: end(EXIT_SERVER_GONE))
    except DeviceLostError:
        log.error("device=%s event=device_lost", device)
        end(EXIT_DEVICE_LOST)
    except Exception:
        log.exception("device=%s event=worker_failed", device)
        end(EXIT_FAILED)
    finally:
        connection.close()


def serve(
    connection: Connection,
    device: str,
    engine_factory: str,
    cpu_threads: int,
    *,
    on_server_gone: Callable[[], None] = lambda: None,
    heartbeat_s: float = HEARTBEAT_S,
) -> None:
    """Answer commands until Shutdown or the end of the pipe. Raises DeviceLostError after it was reported.

    on_server_gone: called in the reading thread when the pipe ends; if it returns, the tasks are stopped.
    """
    inbox = WorkerInbox(connection, on_server_gone)
    inbox.start()
    try:
        engine = make_engine(engine_factory, device, cpu_threads)
        _Worker(engine, inbox, _Outbox(connection)).run(device, heartbeat_s)
    finally:
        inbox.stop()


def make_engine(factory: str, device: str, cpu_threads: int) -> Engine:
    """The engine that `module:callable` makes."""
    module_name, _, name = factory.partition(":")
    return cast(Engine, getattr(importlib.import_module(module_name), name)(device, cpu_threads))


def _leave_to_the_loop(status: int) -> None:
    """A thread has no process of its own to end; its loop ends by itself."""


class _Outbox:
    """The sending half of the pipe. Any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, report: protocol.Report) -> None:
        """Send, or do nothing when the server is gone: the reading thread sees that too and ends the worker."""
        data = protocol.encode(report)
        try:
            with self._lock:
                self._connection.send_bytes(data)
        except OSError:
            log.debug("event=report_undelivered type=%s", type(report).__name__)


class _TaskReports:
    """What the engine tells of one task, as reports under the task's lease token. See engine_protocol.TaskObserver."""

    def __init__(self, command: RunTask, inbox: WorkerInbox, outbox: _Outbox) -> None:
        self._task_id = command.task_id
        self._token = command.lease_token
        self._inbox = inbox
        self._outbox = outbox
        self._began = time.perf_counter()

    def window(self, window: WindowResult) -> None:
        self._outbox.send(protocol.WindowDone(self._task_id, self._token, window))

    def should_stop(self) -> bool:
        return self._inbox.should_stop(self._token)

    def should_preempt(self) -> bool:
        return self._inbox.should_preempt(self._token)

    def note(self, code: str, data: dict[str, int | float | str]) -> None:
        self._outbox.send(protocol.TaskNote(self._task_id, self._token, code, data))

    def done(self, transcript: Transcript, peak_bytes: int) -> None:
        seconds = time.perf_counter() - self._began
        self._end(protocol.TaskDone(self._task_id, self._token, transcript, peak_bytes, seconds))

    def stopped(self) -> None:
        self._end(protocol.TaskStopped(self._task_id, self._token))

    def failed(self, error: Exception) -> None:
        known = _as_known(error)
        log.warning("task=%s event=task_failed code=%s", self._task_id, known.code, exc_info=error)
        detail = "".join(traceback.format_exception(error))[-DETAIL_CHARACTERS:]
        self._end(protocol.TaskFailed(self._task_id, self._token, known.code, known.message, detail))

    def _end(self, report: protocol.Report) -> None:
        self._outbox.send(report)
        self._inbox.forget(self._token)


class _Worker:
    """Takes commands and has the engine work, in turn."""

    def __init__(self, engine: Engine, inbox: WorkerInbox, outbox: _Outbox) -> None:
        self._engine = engine
        self._inbox = inbox
        self._outbox = outbox
        self._is_over = threading.Event()

    def run(self, device: str, heartbeat_s: float) -> None:
        engine = self._engine
        ready = protocol.WorkerReady(device, engine.title, os.getpid(), engine.memory(), engine.slots)
        self._outbox.send(ready)
        heartbeat = threading.Thread(target=self._send_heartbeats, args=(heartbeat_s,), name="heartbeat", daemon=True)
        heartbeat.start()
        try:
            self._work()
        finally:
            self._is_over.set()
            heartbeat.join()

    def _work(self) -> None:
        """Until no command comes any more and every task was answered. What came together is begun together."""
        while self._engine.is_busy or not self._inbox.is_over:
            command = self._inbox.next_command(waits=not self._engine.is_busy)
            if command is not None:
                self._obey(command)
            elif self._engine.is_busy:
                self._engine.advance()

    def _obey(self, command: LoadModel | UnloadModel | RunTask) -> None:
        match command:
            case LoadModel():
                self._load(command)
            case UnloadModel():
                self._engine.unload(command.model)
                self._outbox.send(protocol.ModelUnloaded(command.model))
            case RunTask():
                self._begin(command)

    def _load(self, command: LoadModel) -> None:
        began = time.perf_counter()
        try:
            weights_bytes = self._engine.load(command.model, Path(command.models_dir))
        except Exception as error:  # whatever it is, it is this model's, unless the device is lost
            known = _as_known(error)
            log.warning("event=load_failed model=%s code=%s", command.model, known.code, exc_info=error)
            self._outbox.send(protocol.ModelLoadFailed(command.model, known.code, known.message))
            if isinstance(error, DeviceLostError):
                raise
            return
        self._outbox.send(protocol.ModelLoaded(command.model, weights_bytes, time.perf_counter() - began))

    def _begin(self, command: RunTask) -> None:
        watch = _TaskReports(command, self._inbox, self._outbox)
        if watch.should_stop() or watch.should_preempt():
            watch.stopped()
        else:
            self._engine.begin(command, watch)

    def _send_heartbeats(self, interval_s: float) -> None:
        try:
            while not self._is_over.wait(interval_s):
                self._outbox.send(protocol.Heartbeat(self._engine.memory(), self._inbox.task_ids()))
        except Exception:
            # Without heartbeats the server takes the worker for hung and starts it again, which is right.
            log.exception("event=heartbeat_failed")


def _as_known(error: Exception) -> TranscriptionServerError:
    return error if isinstance(error, TranscriptionServerError) else EngineError()
