"""The process that owns a device: it takes commands from the server over a pipe, hosts one engine, and reports.

torch is imported together with the engine, so this module is cheap to import. A worker has three threads of its own:
the one that called `run_worker` executes the commands and advances the engine (`command_loop`); `commands` reads the
pipe, so that a stop or the end of the server is noticed while the engine works; `heartbeat` tells the server that the
worker is alive. `speakers` is added with the first task whose speakers are wanted (`speaker_desk`). The engine may add
others: the batch engine has `encoder` and `open`. A worker can also be a thread of the server, for tests.
"""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import cast

from errors import DeviceLostError
from logs import LogFormat, configure_logging
from whisper_core.worker.command_loop import CommandLoop
from whisper_core.worker.engine_protocol import Engine
from whisper_core.worker.inbox import WorkerInbox
from whisper_core.worker.outbox import WorkerOutbox

log = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
CPU_NICENESS = 5  # of a worker that computes on the CPU: the server is answered first
EXIT_SERVER_GONE = 0
EXIT_FAILED = 1
EXIT_DEVICE_LOST = 10


def run_worker(
    connection: Connection,
    device: str,
    engine_factory: str,
    cpu_threads: int,
    *,
    log_level: str = "INFO",
    log_format: LogFormat = "text",
) -> None:
    """Serves a device until a Shutdown, the end of the server or the loss of the device, then closes `connection`.

    device: `cpu` or `cuda:<n>`. engine_factory: dotted path `module:callable`, called as (device, cpu_threads).
    As the target of a process it ends the process at once when the server is gone or the device is lost.
    """
    is_process = multiprocessing.parent_process() is not None
    end = os._exit if is_process else _let_the_loop_end
    if is_process:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server then sends Shutdown
        configure_logging(log_level, log_format=log_format)
        if device == "cpu" and hasattr(os, "nice"):
            os.nice(CPU_NICENESS)
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
    """Executes commands until a Shutdown or the end of the pipe. Raises DeviceLostError after reporting it.

    on_server_gone: called in the reading thread when the pipe ends; if it returns, the tasks are stopped.
    """
    inbox = WorkerInbox(connection, on_server_gone)
    inbox.start()
    try:
        engine = make_engine(engine_factory, device, cpu_threads)
        if multiprocessing.parent_process() is not None:
            _keep_out_of_collections()
        CommandLoop(engine, inbox, WorkerOutbox(connection)).run(device, heartbeat_s)
    finally:
        inbox.stop()


def make_engine(factory: str, device: str, cpu_threads: int) -> Engine:
    """The engine that `module:callable` returns."""
    module_name, _, name = factory.partition(":")
    return cast(Engine, getattr(importlib.import_module(module_name), name)(device, cpu_threads))


def _keep_out_of_collections() -> None:
    """What is there now stays as long as the process does: modules, above all. Engines collect garbage whenever they
    become idle, which without this takes 0.1 s."""
    gc.collect()
    gc.freeze()


def _let_the_loop_end(status: int) -> None:
    """For a worker that is a thread: it has no process to end, and its loop ends by itself."""
