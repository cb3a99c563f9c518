"""What the system tells its listeners, such as the live feed.

Listeners are called in the thread in which the event happened, so they must only note it and return.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

from whisper_core.text.transcript import Segment


@dataclass(frozen=True)
class TaskChanged:
    """The task's state, priority or place changed; whoever shows it should read it again."""

    task_id: str


@dataclass(frozen=True)
class TaskDeleted:
    task_id: str


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
class SystemChanged:
    """Devices, memory, models or counts changed. Sent as often as it happens; the live feed thins it out."""


Event = Union[TaskChanged, TaskDeleted, WindowFinished, SystemChanged]
Listener = Callable[[Event], None]
