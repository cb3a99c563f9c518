"""Requests that wait for their task's end, as other projects' APIs do: the answer to an upload is its transcript.

Nothing is asked again and again: the system's events wake who waits. Who waits wants the task: when the client hangs
up, its task is cancelled, unless another request waits for the same one. When the server stops, they are answered at
once and their tasks stay.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app
from werkzeug.exceptions import ClientDisconnected

from errors import (
    ShuttingDownError,
    TaskCancelledError,
    TaskNotFoundError,
    TooManyWaitingError,
    TranscriptionServerError,
    error_class_of,
)
from optimizer.tasks.events import Event, EventsMissed, TaskChanged, TaskDeleted, WindowFinished
from optimizer.tasks.task import Task, TaskStatus
from whisper_core.text.transcript import Segment, Transcript

if TYPE_CHECKING:
    from web.http.system_port import SystemPort

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0  # whether the client is still there
MAX_WINDOWS = 64  # that are kept for a slow reader; a gap is filled from the system
_PLACES_PER_THREAD = 8
_ROOM = "transcription_waiting_room"  # its key in the application's `extensions`


def waiting_places(web_threads: int) -> int:
    """How many requests may wait at a time; each has a thread. web_threads: the setting."""
    return _PLACES_PER_THREAD * web_threads


def add_waiting_room(app: Flask, system: SystemPort) -> None:
    app.extensions[_ROOM] = WaitingRoom(system, waiting_places(system.settings.web_threads))


def waiting_room_of(app: Flask) -> WaitingRoom:
    return cast("WaitingRoom", app.extensions[_ROOM])


def current_room() -> WaitingRoom:
    return waiting_room_of(current_app)


@dataclass(frozen=True)
class Result:
    task: Task
    transcript: Transcript


class WaitingRoom:
    """Any thread."""

    def __init__(self, system: SystemPort, places: int) -> None:
        self._system = system
        self._places = places
        self._taken = 0
        self._watches: dict[str, list[TaskWatch]] = {}  # by task; a task's list is never empty
        self._is_closed = False
        self._lock = threading.Lock()
        system.add_listener(self._note)

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @contextmanager
    def place(self) -> Iterator[None]:
        """For one request, before its upload, so that none is sent in vain. Raises TooManyWaitingError."""
        with self._lock:
            if self._is_closed:
                raise ShuttingDownError()
            if self._taken >= self._places:
                raise TooManyWaitingError()
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1

    @contextmanager
    def watching(self, task_id: str, is_client_gone: Callable[[], bool]) -> Iterator[TaskWatch]:
        """What happens to the task from now on. Left before the task's end, the task is cancelled: nobody wants it.

        is_client_gone: see `web.http.client_presence`.
        """
        watch = TaskWatch(self._system, task_id, is_client_gone)
        with self._lock:
            self._watches.setdefault(task_id, []).append(watch)
            if self._is_closed:
                watch.close()
        try:
            yield watch
        finally:
            if self._forget(task_id, watch) and not watch.is_over and not self._is_closed:
                self._cancel(task_id)

    def close(self) -> None:
        """Answers all of them: the server stops. Their tasks stay."""
        with self._lock:
            self._is_closed = True
            watches = [watch for those in self._watches.values() for watch in those]
        for watch in watches:
            watch.close()

    def _note(self, event: Event) -> None:
        """Called by the system for every event."""
        if not self._watches:
            return
        with self._lock:
            match event:
                case TaskChanged() | TaskDeleted() | WindowFinished():
                    watches = list(self._watches.get(event.task_id, ()))
                case EventsMissed():
                    watches = [watch for those in self._watches.values() for watch in those]
                case _:
                    return
        for watch in watches:
            watch.note(event)

    def _forget(self, task_id: str, watch: TaskWatch) -> bool:
        """Whether that was the last one of its task."""
        with self._lock:
            others = [each for each in self._watches[task_id] if each is not watch]
            if others:
                self._watches[task_id] = others
            else:
                del self._watches[task_id]
        return not others

    def _cancel(self, task_id: str) -> None:
        with suppress(TranscriptionServerError):  # it has just ended, or cannot be stored now
            self._system.cancel(task_id)
            log.info("event=task_abandoned task=%s", task_id)


class TaskWatch:
    """One task as one request follows it. `note` and `close` from any thread, the rest from that request's."""

    def __init__(self, system: SystemPort, task_id: str, is_client_gone: Callable[[], bool]) -> None:
        self.task_id = task_id
        self.is_over = False  # the task has ended, and the request knows
        self._system = system
        self._is_client_gone = is_client_gone
        self._news = threading.Condition()
        self._is_changed = True  # it may have ended before anybody watched
        self._is_closed = False
        self._windows: deque[WindowFinished] = deque(maxlen=MAX_WINDOWS)

    def note(self, event: Event) -> None:
        with self._news:
            if isinstance(event, WindowFinished):
                self._windows.append(event)
            else:
                self._is_changed = True
            self._news.notify()

    def close(self) -> None:
        """Ends the wait."""
        with self._news:
            self._is_closed = True
            self._news.notify()

    def result(self) -> Result:
        """Waits for the task's end. Raises why there is no transcript, ShuttingDownError or ClientDisconnected."""
        for _ in self.news():
            continue
        return self._result()

    def segments(self) -> Iterator[tuple[Segment, ...]]:
        """New segments as windows are finished, all of them in the end; nothing in a tuple as a sign of life.

        Raises as `result`, which is there at once after the last one.
        """
        count = 0
        for window in self.news():
            if window is not None and window.first_segment > count:  # windows that were dropped, or came before
                window = self._system.segments_from(self.task_id, count)
            new = () if window is None else window.segments[max(0, count - window.first_segment) :]
            count += len(new)
            yield new
        yield self._result().transcript.segments[count:]

    def news(self) -> Iterator[WindowFinished | None]:
        """Windows as they are finished, and None at least every LOOK_EVERY_S. Ends with the task."""
        while not self.is_over:
            windows, is_changed = self._next()
            yield from windows
            if is_changed and self._task().status.is_final:
                self.is_over = True
            elif self._is_client_gone():
                raise ClientDisconnected()
            elif not windows:
                yield None

    def _next(self) -> tuple[list[WindowFinished], bool]:
        """Raises ShuttingDownError."""
        with self._news:
            if not (self._windows or self._is_changed or self._is_closed):
                self._news.wait(LOOK_EVERY_S)
            if self._is_closed:
                raise ShuttingDownError()
            windows, is_changed = list(self._windows), self._is_changed
            self._windows.clear()
            self._is_changed = False
        return windows, is_changed

    def _task(self) -> Task:
        try:
            return self._system.task(self.task_id).task
        except TaskNotFoundError:
            self.is_over = True
            raise TaskCancelledError() from None

    def _result(self) -> Result:
        task = self._task()
        if task.status is TaskStatus.CANCELLED:
            raise TaskCancelledError()
        if task.error is not None:
            raise error_class_of(task.error.code)(task.error.message)
        return Result(task, self._system.transcript(self.task_id)[0])
