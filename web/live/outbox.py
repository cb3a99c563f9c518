"""What the live feed still has to send, thinned out: one state and one progress a task, the system once a second.

Filled from any thread in no time, emptied by the one thread that emits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

from optimizer.tasks.events import Event, TaskChanged, TaskDeleted, WindowFinished

SYSTEM_INTERVAL_S = 1.0
# More windows of one task than this between two rounds are dropped; watchers see the gap and ask again.
MAX_WINDOWS = 64
MAX_COMMANDS = 1000


@dataclass(frozen=True)
class Watch:
    """sid: of the client that wants the task's segments. first: how many it has."""

    sid: str
    task_id: str
    first: int


@dataclass(frozen=True)
class Unwatch:
    sid: str
    task_id: str


Command = Union[Watch, Unwatch]


@dataclass(frozen=True)
class Batch:
    """One round's work, to be sent in this order. windows: by task, each task's in order."""

    commands: tuple[Command, ...]
    windows: tuple[tuple[WindowFinished, ...], ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    is_system_due: bool


class Outbox:
    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._filled = threading.Condition()
        self._is_closed = False
        self._commands: deque[Command] = deque()
        self._windows: dict[str, deque[WindowFinished]] = {}
        self._changed: dict[str, None] = {}
        self._deleted: dict[str, None] = {}
        self._is_system_stale = False
        self._system_due_at = 0.0

    def note(self, event: Event) -> None:
        """A listener of the system's."""
        with self._filled:
            if isinstance(event, WindowFinished):
                self._windows.setdefault(event.task_id, deque(maxlen=MAX_WINDOWS)).append(event)
            elif isinstance(event, TaskChanged):
                self._changed[event.task_id] = None
            elif isinstance(event, TaskDeleted):
                self._note_deleted(event.task_id)
            self._is_system_stale = True  # whatever happens to a task changes counts or progress too
            self._filled.notify()

    def try_command(self, command: Command) -> bool:
        """False when clients ask faster than they are answered."""
        with self._filled:
            if len(self._commands) >= MAX_COMMANDS:
                return False
            self._commands.append(command)
            self._filled.notify()
            return True

    def close(self) -> None:
        with self._filled:
            self._is_closed = True
            self._filled.notify()

    def take(self, timeout_s: float) -> Batch | None:
        """Everything that is due, waiting for the first of it; an empty batch after `timeout_s`; None once closed."""
        with self._filled:
            if not (self._is_closed or self._is_due()):
                self._filled.wait(min(timeout_s, self._seconds_to_system()))
            return None if self._is_closed else self._empty_out()

    def _note_deleted(self, task_id: str) -> None:
        self._windows.pop(task_id, None)
        self._changed.pop(task_id, None)
        self._deleted[task_id] = None

    def _is_due(self) -> bool:
        return bool(self._commands or self._windows or self._changed or self._deleted) or self._is_system_due()

    def _is_system_due(self) -> bool:
        return self._is_system_stale and self._monotonic() >= self._system_due_at

    def _seconds_to_system(self) -> float:
        """At most one interval, so that a clock that is moved by hand is looked at again too."""
        if not self._is_system_stale:
            return float("inf")
        return max(0.0, min(SYSTEM_INTERVAL_S, self._system_due_at - self._monotonic()))

    def _empty_out(self) -> Batch:
        is_system_due = self._is_system_due()
        if is_system_due:
            self._is_system_stale = False
            self._system_due_at = self._monotonic() + SYSTEM_INTERVAL_S
        batch = Batch(
            tuple(self._commands),
            tuple(tuple(windows) for windows in self._windows.values()),
            tuple(self._changed),
            tuple(self._deleted),
            is_system_due,
        )
        for pending in (self._commands, self._windows, self._changed, self._deleted):
            pending.clear()
        return batch
