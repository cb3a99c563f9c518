"""What a device is at one moment: its state, its models, its tasks; for decisions, the page and scripts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.ledger import PoolSnapshot, Reservation
from optimizer.tasks.task import Task

Work = tuple[str, float]
"""A model and seconds of sound that it still has to go through."""


class DeviceState(Enum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    UNAVAILABLE = "unavailable"  # its worker never got as far as using it
    STOPPED = "stopped"


@dataclass
class RunningTask:
    """A task that the worker has. Times are monotonic seconds. arrived: when the task came to the server.
    has_progressed: a window came in this attempt.

    is_stopping: it was told to end at once. is_stepping_aside: to end at its next window.
    """

    task: Task
    reservation: Reservation
    started: float
    last_sign: float
    arrived: float
    is_stopping: bool = False
    is_being_preempted: bool = False
    has_progressed: bool = False
    audio_done_seconds: float = 0.0

    @property
    def work_left(self) -> Work:
        return self.task.options.model, max(0.0, (self.task.audio_seconds or 0.0) - self.audio_done_seconds)

    def status(self) -> TaskOnDevice:
        audio_seconds = self.task.audio_seconds or 0.0
        _, left_seconds = self.work_left
        return TaskOnDevice(
            id=self.task.id,
            filename=self.task.filename,
            model=self.task.options.model,
            priority=self.task.priority.word,
            progress=1 - left_seconds / audio_seconds if audio_seconds > 0 else 0.0,
            audio_seconds=audio_seconds,
            work_left_seconds=left_seconds,
            reserved_bytes=self.reservation.nbytes,
        )


@dataclass(frozen=True)
class ModelOnDevice:
    """state: loaded, loading or evicting. is_used: whether a task runs with it."""

    name: str
    reserved_bytes: int
    state: str
    is_used: bool


@dataclass(frozen=True)
class TaskOnDevice:
    """progress: 0 to 1, of the whole recording."""

    id: str
    filename: str
    model: str
    priority: str
    progress: float
    audio_seconds: float
    work_left_seconds: float
    reserved_bytes: int


@dataclass(frozen=True)
class DeviceStatus:
    """A device at one moment, for the page and for scripts. slots: tasks that it can run at the same time."""

    spec: DeviceSpec
    state: DeviceState
    memory: PoolSnapshot
    resident_models: tuple[str, ...]
    running: tuple[str, ...]
    work_left: tuple[Work, ...]
    is_unstable: bool
    slots: int = 1
    accepts_auto: bool = True
    models: tuple[ModelOnDevice, ...] = ()
    tasks: tuple[TaskOnDevice, ...] = ()

    @property
    def is_ready(self) -> bool:
        return self.state is DeviceState.READY
