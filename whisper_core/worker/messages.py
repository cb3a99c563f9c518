"""What the server and a device's worker process say to each other: commands one way, reports the other.

Every message is a frozen dataclass that travels as one JSON object, so a worker may be a process, a thread or, later,
another machine; no tensors and no pickles pass. `lease_token` comes back in every report about a task: a report whose
token is no longer the task's own changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Union

from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult


@dataclass(frozen=True)
class LoadModel:
    """Make `model` resident, from the weights in `models_dir` or openai-whisper's own cache."""

    model: str
    models_dir: str


@dataclass(frozen=True)
class UnloadModel:
    model: str


@dataclass(frozen=True)
class RunTask:
    """Transcribe the 16 kHz mono s16le samples in `audio_path` with a resident model.

    resume, segments: go on from this checkpoint, after these segments; None and () to begin.
    first_window: the index that the next window gets.
    seed: makes sampling at temperature > 0 repeatable for the task.
    windows_at_once: how many windows of a chunked task may be at work, for want of memory; None for as many as can.
    """

    task_id: str
    lease_token: str
    model: str
    audio_path: str
    options: TranscribeOptions
    resume: Checkpoint | None = None
    segments: tuple[Segment, ...] = ()
    first_window: int = 0
    seed: int = 0
    windows_at_once: int | None = None


@dataclass(frozen=True)
class StopTask:
    """End the task as soon as the engine can. Answered by TaskStopped (or TaskDone when that came first).

    at_window: end it where nothing of it is lost: at once when it stands between two windows, else when the one at work
    has been reported. A StopTask without it may follow and goes before it.
    """

    task_id: str
    lease_token: str
    at_window: bool = False


@dataclass(frozen=True)
class Shutdown:
    """Stop every task as soon as the engine can, then end."""


Command = Union[LoadModel, UnloadModel, RunTask, StopTask, Shutdown]


@dataclass(frozen=True)
class MemoryReport:
    """Bytes of the device, as its worker sees them: used by it now, and the most that it used lately."""

    used: int
    peak: int


@dataclass(frozen=True)
class WorkerReady:
    """The first report: the device answers.

    title: the device's name for people. slots: tasks that it can run at the same time.
    """

    device: str
    title: str
    pid: int
    memory: MemoryReport
    slots: int


@dataclass(frozen=True)
class ModelLoaded:
    """weights_bytes: what the device's memory grew by."""

    model: str
    weights_bytes: int
    seconds: float


@dataclass(frozen=True)
class ModelUnloaded:
    model: str


@dataclass(frozen=True)
class ModelLoadFailed:
    """code, message: of an `errors` class; the message is public."""

    model: str
    code: str
    message: str


@dataclass(frozen=True)
class WindowDone:
    task_id: str
    lease_token: str
    window: WindowResult


@dataclass(frozen=True)
class TaskDone:
    """peak_bytes: the engine's growth beyond its idle use, divided by the most tasks that ran at the same time; 0 when
    it was not measured. seconds: from its beginning to its end."""

    task_id: str
    lease_token: str
    transcript: Transcript
    peak_bytes: int
    seconds: float


@dataclass(frozen=True)
class TaskStopped:
    """The task ended because it was told to; a window that was not finished is done again later."""

    task_id: str
    lease_token: str


@dataclass(frozen=True)
class TaskNote:
    """Something that happened to a running task and belongs into its timeline; the task goes on.

    code, data: as the timeline has them. `memory`: {"step": "batch_shrunk", "windows": decoded at the same time when
    memory ran out, "slots": from now on}.
    """

    task_id: str
    lease_token: str
    code: str
    data: dict[str, int | float | str]


@dataclass(frozen=True)
class TaskFailed:
    """code, message: of an `errors` class; the message is public, `detail` is for the log only.

    With the code `device_lost` every task fails that the worker has, and the worker's end follows.
    """

    task_id: str
    lease_token: str
    code: str
    message: str
    detail: str = ""


@dataclass(frozen=True)
class Heartbeat:
    """Sent every few seconds. running: the ids of the tasks that the worker has."""

    memory: MemoryReport
    running: tuple[str, ...] = field(default_factory=tuple)


Report = Union[
    WorkerReady,
    ModelLoaded,
    ModelUnloaded,
    ModelLoadFailed,
    WindowDone,
    TaskDone,
    TaskStopped,
    TaskNote,
    TaskFailed,
    Heartbeat,
]

_MESSAGES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        LoadModel, UnloadModel, RunTask, StopTask, Shutdown,
        WorkerReady, ModelLoaded, ModelUnloaded, ModelLoadFailed, WindowDone, TaskDone, TaskStopped, TaskNote,
        TaskFailed, Heartbeat,
    )
}  # fmt: skip

_READERS: dict[str, Any] = {
    "options": lambda value: TranscribeOptions(**value),
    "resume": lambda value: None if value is None else Checkpoint(**value),
    "segments": lambda value: tuple(Segment.from_dict(segment) for segment in value),
    "memory": lambda value: MemoryReport(**value),
    "window": WindowResult.from_dict,
    "transcript": Transcript.from_dict,
    "running": tuple,
}


def encode(message: Command | Report) -> bytes:
    """One message as UTF-8 JSON: its fields and, under `type`, its class."""
    return json.dumps({"type": type(message).__name__, **asdict(message)}).encode()


def decode(data: bytes) -> Command | Report:
    """The message that `encode` wrote. Raises KeyError, TypeError or ValueError when it is none."""
    fields = json.loads(data)
    cls = _MESSAGES[fields.pop("type")]
    return cls(**{name: _READERS.get(name, _as_it_is)(value) for name, value in fields.items()})  # type: ignore[no-any-return]


def _as_it_is(value: Any) -> Any:
    return value
