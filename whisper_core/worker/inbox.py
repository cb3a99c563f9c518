"""What the server has told a worker: commands in order, and, ahead of them, which tasks are to stop."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Union

from whisper_core.worker import messages as protocol
from whisper_core.worker.messages import LoadModel, RunTask, Shutdown, StopTask, UnloadModel

log = logging.getLogger(__name__)

WorkCommand = Union[LoadModel, UnloadModel, RunTask]

_LOOK_S = 0.5  # how often the reading thread looks whether it shall end; what arrives wakes it at once


class WorkerInbox:
    """Reads the pipe in a thread of its own. After a Shutdown or the pipe's end every task is to stop.

    on_server_gone: called in the reading thread at the pipe's end.
    """

    def __init__(self, connection: Connection, on_server_gone: Callable[[], None]) -> None:
        self._connection = connection
        self._on_server_gone = on_server_gone
        self._commands: queue.SimpleQueue[WorkCommand | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._tasks: dict[str, str] = {}  # lease token -> task id, of the tasks that are here
        self._stopped: set[str] = set()  # lease tokens, of those too
        self._stepping_aside: set[str] = set()
        self._is_closing = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._read, name="commands", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the reading thread; the pipe can then be closed."""
        self._is_closing.set()
        self._thread.join()

    @property
    def is_over(self) -> bool:
        """Whether the last command has been given out. Of the thread that takes them."""
        return self._is_over

    def next_command(self, *, waits: bool) -> WorkCommand | None:
        """The next command; None when none comes any more, or, without waiting, when none is here now.

        Tasks that were to run before a Shutdown still come, so that each is answered; they are to stop.
        """
        while not self._is_over:
            try:
                command = self._commands.get(block=waits)
            except queue.Empty:
                return None
            self._is_over = command is None
            if not self._is_closing.is_set() or isinstance(command, RunTask):
                return command
        return None

    def should_stop(self, lease_token: str) -> bool:
        if self._is_closing.is_set():
            return True
        with self._lock:
            return lease_token in self._stopped

    def should_preempt(self, lease_token: str) -> bool:
        with self._lock:
            return lease_token in self._stepping_aside

    def forget(self, lease_token: str) -> None:
        """The task has been answered."""
        with self._lock:
            self._tasks.pop(lease_token, None)
            self._stopped.discard(lease_token)
            self._stepping_aside.discard(lease_token)

    def task_ids(self) -> tuple[str, ...]:
        """The tasks that are here: not begun yet, or running."""
        with self._lock:
            return tuple(self._tasks.values())

    def _read(self) -> None:
        try:
            while not self._is_closing.is_set():
                if self._connection.poll(_LOOK_S):
                    self._take(protocol.decode(self._connection.recv_bytes()))
        except (EOFError, OSError):
            log.info("event=server_gone")
            self._on_server_gone()
        except (KeyError, TypeError, ValueError):
            log.exception("event=unreadable_command")  # the two sides do not agree: end, and be started anew
            self._on_server_gone()
        finally:
            self._is_closing.set()
            self._commands.put(None)

    def _take(self, message: protocol.Command | protocol.Report) -> None:
        match message:
            case Shutdown():
                self._is_closing.set()
            case StopTask():
                with self._lock:
                    if message.lease_token in self._tasks:  # else it was answered already
                        (self._stepping_aside if message.at_window else self._stopped).add(message.lease_token)
            case RunTask():
                with self._lock:
                    self._tasks[message.lease_token] = message.task_id
                self._commands.put(message)
            case LoadModel() | UnloadModel():
                self._commands.put(message)
            case _:
                raise TypeError(f"{type(message).__name__} is not a command")
