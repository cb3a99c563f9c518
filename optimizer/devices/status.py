"""What a device is at one moment: its state, its models, its tasks; for decisions, the page and scripts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.ledger import PoolSnapshot, Reservation
from optimizer.tasks.task import Task
from whisper_core.text.transcript import Checkpoint

AudioLeft = tuple[str, float]
"""A model, and the seconds of sound that it still has to transcribe."""


class DeviceState(Enum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    UNAVAILABLE = "unavailable"  # its worker cannot be started on it
    STOPPED = "stopped"


class ModelState(Enum):
    LOADING = "loading"
    LOADED = "loaded"
    EVICTING = "evicting"  # its memory is free once the worker has unloaded it


@dataclass
class RunningTask:
    """A task that the worker has. Times are monotonic seconds."""

    task: Task
    reservation: Reservation
    last_progress_at: float  # its start, a window, or its model that was loaded
    arrived: float  # at the server
    is_stopping: bool = False  # told to end at once
    is_being_preempted: bool = False  # told to end at its next window
    has_progressed: bool = False  # finished a window in this attempt
    latest: Checkpoint | None = None  # of its latest window

    @property
    def audio_left_seconds(self) -> float:
        """The sound that is still to be transcribed, as far as is known: all of it before its first window."""
        return (self.task.audio_seconds or 0.0) if self.latest is None else self.latest.audio_left_seconds

    def status(self) -> TaskOnDevice:
        return TaskOnDevice(
            id=self.task.id,
            filename=self.task.filename,
            model=self.task.options.model,
            priority=self.task.priority.word,
            progress=0.0 if self.latest is None else self.latest.progress,
            audio_seconds=self.task.audio_seconds or 0.0,
            audio_left_seconds=self.audio_left_seconds,
            reserved_bytes=self.reservation.nbytes,
        )


@dataclass(frozen=True)
class ModelOnDevice:
    name: str
    reserved_bytes: int
    state: ModelState
    is_used: bool  # by a running task
    slots: int = 0  # tasks that it has room for at the same time; 0: as many as its device


@dataclass(frozen=True)
class TaskOnDevice:
    id: str
    filename: str
    model: str
    priority: str
    progress: float  # 0 to 1, of the whole recording
    audio_seconds: float
    audio_left_seconds: float
    reserved_bytes: int


@dataclass(frozen=True)
class DeviceStatus:
    """A device at one moment."""

    spec: DeviceSpec
    state: DeviceState
    memory: PoolSnapshot
    is_unstable: bool
    restarts: int = 0  # of its worker, since the start
    slots: int = 1  # tasks that it can run at the same time
    accepts_auto: bool = True  # False for one that gets only tasks which ask for it
    models: tuple[ModelOnDevice, ...] = ()
    tasks: tuple[TaskOnDevice, ...] = ()

    @property
    def is_ready(self) -> bool:
        return self.state is DeviceState.READY

    @property
    def has_place(self) -> bool:
        """Whether it could run another task, of a model in its memory if there is any: on a GPU they have slots."""
        if not self.is_ready or len(self.tasks) >= self.slots:
            return False
        running = [task.model for task in self.tasks]
        return not self.models or any(not each.slots or running.count(each.name) < each.slots for each in self.models)

    @property
    def resident_models(self) -> tuple[str, ...]:
        """Those that are in its memory; the others are being loaded."""
        return tuple(model.name for model in self.models if model.state is not ModelState.LOADING)

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of its tasks."""
        return tuple(task.id for task in self.tasks)

    @property
    def audio_left(self) -> tuple[AudioLeft, ...]:
        """Of each task."""
        return tuple((task.model, task.audio_left_seconds) for task in self.tasks)
