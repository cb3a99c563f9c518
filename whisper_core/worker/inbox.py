"""What the server tells a worker: commands in order, and which tasks should stop, known ahead of the commands."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Union

from whisper_core.worker import messages
from whisper_core.worker.messages import Command, LoadModel, Report, RunTask, Shutdown, StopTask, UnloadModel

log = logging.getLogger(__name__)

WorkCommand = Union[LoadModel, UnloadModel, RunTask]

_POLL_S = 0.5  # how often the reading thread checks whether it should end; a message wakes it at once


class WorkerInbox:
    """Reads the pipe in a thread of its own. After a Shutdown or the end of the pipe every task should stop.

    on_server_gone: called in the reading thread at the end of the pipe.
    """

    def __init__(self, connection: Connection, on_server_gone: Callable[[], None]) -> None:
        self._connection = connection
        self._on_server_gone = on_server_gone
        self._commands: queue.SimpleQueue[WorkCommand | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unanswered: set[str] = set()  # attempt ids of the tasks that have not been answered yet
        self._stopped: set[str] = set()  # attempt ids, some of those in _unanswered
        self._preempted: set[str] = set()  # likewise
        self._num_stop_tasks = 0  # that were added to either
        self._is_closing = threading.Event()
        self._is_exhausted = False
        self._thread = threading.Thread(target=self._read, name="commands", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the reading thread; the pipe can be closed afterwards."""
        self._is_closing.set()
        self._thread.join()

    @property
    def is_exhausted(self) -> bool:
        """Whether the last command has been returned. Only for the thread that calls `next_command`."""
        return self._is_exhausted

    def next_command(self, *, waits: bool) -> WorkCommand | None:
        """The next command. None after the last one and, with waits=False, when none has arrived.

        Tasks that arrived before a Shutdown are still returned, with `should_stop` true, so that each is answered.
        """
        while not self._is_exhausted:
            try:
                command = self._commands.get(block=waits)
            except queue.Empty:
                return None
            self._is_exhausted = command is None
            if not self._is_closing.is_set() or isinstance(command, RunTask):
                return command
        return None

    # An engine asks the last two of every task between two steps, or once the first has grown. Looking into a set is
    # atomic, so they take no lock.

    def num_stops(self) -> int:
        """Grows after any task has been told to stop or to make way."""
        return self._num_stop_tasks + self._is_closing.is_set()

    def should_stop(self, attempt_id: str) -> bool:
        return attempt_id in self._stopped or self._is_closing.is_set()

    def should_preempt(self, attempt_id: str) -> bool:
        return attempt_id in self._preempted

    def remove_task(self, attempt_id: str) -> None:
        """Called when the task has been answered."""
        with self._lock:
            self._unanswered.discard(attempt_id)
            self._stopped.discard(attempt_id)
            self._preempted.discard(attempt_id)

    def _read(self) -> None:
        try:
            while not self._is_closing.is_set():
                if self._connection.poll(_POLL_S):
                    self._receive(messages.decode(self._connection.recv_bytes()))
        except (EOFError, OSError):
            log.info("event=server_gone")
            self._on_server_gone()
        except (KeyError, TypeError, ValueError):
            log.exception("event=unreadable_command")  # the two sides differ in version: end, and be started again
            self._on_server_gone()
        finally:
            self._is_closing.set()
            self._commands.put(None)

    def _receive(self, message: Command | Report) -> None:
        match message:
            case Shutdown():
                self._is_closing.set()
            case StopTask():
                with self._lock:
                    if message.attempt_id in self._unanswered:  # otherwise it has been answered already
                        (self._preempted if message.at_window else self._stopped).add(message.attempt_id)
                        self._num_stop_tasks += 1  # last, because who sees it looks into the sets
            case RunTask():
                with self._lock:
                    self._unanswered.add(message.attempt_id)
                self._commands.put(message)
            case LoadModel() | UnloadModel():
                self._commands.put(message)
            case _:
                raise TypeError(f"{type(message).__name__} is not a command")
