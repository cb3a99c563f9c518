"""What the system tells its listeners, such as the live feed.

Listeners are called in the thread in which the event happened, so they must only note it and return.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

from whisper_core.text.transcript import Segment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskChanged:
    """The task's state, priority or place changed; whoever shows it should read it again."""

    task_id: str


@dataclass(frozen=True)
class TaskDeleted:
    task_id: str
    owner: str = ""  # that it had


@dataclass(frozen=True)
class WindowFinished:
    task_id: str
    seq: int  # the task's windows done, counted over all its attempts
    progress: float  # 0 to 1
    audio_done_seconds: float
    speed: float | None  # seconds of audio per second; None before there is a measurement
    eta_seconds: float | None
    first_segment: int  # how many segments the task had before these
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class TranscriptEdited:
    """Somebody changed the text of a completed task."""

    task_id: str
    version: int  # of the text now
    author: str  # an account; "": the server itself, or nobody knows


@dataclass(frozen=True)
class SystemChanged:
    """Devices, memory, models or counts changed. Sent as often as it happens; the live feed thins it out."""


@dataclass(frozen=True)
class EventsMissed:
    """Other events may not have come: whoever follows tasks should read them again. Only with LEADER_ELECTION."""


Event = Union[TaskChanged, TaskDeleted, WindowFinished, TranscriptEdited, SystemChanged, EventsMissed]
Listener = Callable[[Event], None]


class EventBus:
    """Any thread. Listeners are called in the order in which they were added."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` for every event from now on."""
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("event=listener_failed")  # must not harm the task that the event is about

    def publish_task_changed(self, task_id: str) -> None:
        self.publish(TaskChanged(task_id))
