"""What the live feed still has to send, thinned out: each task's state once a round, the system's once a second.

Any thread adds to it, and none of them waits; only the thread that emits empties it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from optimizer.tasks.events import Event, EventsMissed, TaskChanged, TaskDeleted, TranscriptEdited, WindowFinished
from web.live.commands import Command

SYSTEM_INTERVAL_S = 1.0
MAX_WINDOWS = 64  # of one task in a round; the oldest are dropped, and who watches the task sees the gap and asks again
MAX_COMMANDS = 1000


@dataclass(frozen=True)
class Batch:
    """What is sent in one round, in this order."""

    commands: tuple[Command, ...]
    windows: tuple[tuple[WindowFinished, ...], ...]  # one entry for each task, with its windows in order
    changed: tuple[str, ...]  # ids of tasks
    deleted: tuple[tuple[str, str], ...]  # ids of tasks, each with its owner
    is_system_due: bool
    edited: tuple[TranscriptEdited, ...] = ()  # the last one of each task
    has_missed: bool = False  # other events may be missing


class Outbox:
    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._filled = threading.Condition()
        self._is_closed = False
        self._commands: deque[Command] = deque()
        self._windows: dict[str, deque[WindowFinished]] = {}
        self._changed: dict[str, None] = {}
        self._edited: dict[str, TranscriptEdited] = {}
        self._deleted: dict[str, str] = {}  # owners by the tasks' ids
        self._has_missed = False
        self._is_system_stale = False
        self._system_due_at = 0.0

    def add_event(self, event: Event) -> None:
        """Called by the system for every event."""
        with self._filled:
            if isinstance(event, WindowFinished):
                self._windows.setdefault(event.task_id, deque(maxlen=MAX_WINDOWS)).append(event)
            elif isinstance(event, TaskChanged):
                self._changed[event.task_id] = None
            elif isinstance(event, TranscriptEdited):
                self._edited[event.task_id] = event
            elif isinstance(event, TaskDeleted):
                self._add_deleted(event)
            elif isinstance(event, EventsMissed):
                self._has_missed = True
            # Every other event of a task changes counts or progress as well.
            self._is_system_stale |= not isinstance(event, TranscriptEdited)
            self._filled.notify()

    def try_add_command(self, command: Command) -> bool:
        """False when commands come faster than they are executed."""
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

    def next_batch(self, timeout_s: float) -> Batch | None:
        """Waits until something is due and returns all of it: an empty batch after `timeout_s`, None once closed."""
        with self._filled:
            if not (self._is_closed or self._is_due()):
                self._filled.wait(min(timeout_s, self._seconds_to_system()))
            return None if self._is_closed else self._drain()

    def _add_deleted(self, event: TaskDeleted) -> None:
        self._windows.pop(event.task_id, None)
        self._changed.pop(event.task_id, None)
        self._edited.pop(event.task_id, None)
        self._deleted[event.task_id] = event.owner

    def _is_due(self) -> bool:
        pending = (self._commands, self._windows, self._changed, self._edited, self._deleted)
        return any(pending) or self._has_missed or self._is_system_due()

    def _is_system_due(self) -> bool:
        return self._is_system_stale and self._monotonic() >= self._system_due_at

    def _seconds_to_system(self) -> float:
        """At most one interval, so that a test's clock is read again as well."""
        if not self._is_system_stale:
            return float("inf")
        return max(0.0, min(SYSTEM_INTERVAL_S, self._system_due_at - self._monotonic()))

    def _drain(self) -> Batch:
        is_system_due = self._is_system_due()
        if is_system_due:
            self._is_system_stale = False
            self._system_due_at = self._monotonic() + SYSTEM_INTERVAL_S
        batch = Batch(
            tuple(self._commands),
            tuple(tuple(windows) for windows in self._windows.values()),
            tuple(self._changed),
            tuple(self._deleted.items()),
            is_system_due,
            tuple(self._edited.values()),
            self._has_missed,
        )
        self._has_missed = False
        for pending in (self._commands, self._windows, self._changed, self._edited, self._deleted):
            pending.clear()
        return batch
