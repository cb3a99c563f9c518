"""What the server and a device's worker process send each other: commands one way, reports the other.

Each message is a frozen dataclass that travels as one JSON object, without tensors and pickles, so a worker can be a
process, a thread or, later, another machine. `attempt_id` names one attempt at a task; it comes back in every report
about it, so the server can ignore the reports of an attempt that is no longer the current one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Union

from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult


@dataclass(frozen=True)
class LoadModel:
    """Make a model resident."""

    model: str
    models_dir: str  # where its weights are, unless they are in openai-whisper's own cache
    slots: int = 0  # that it holds until it is unloaded; 0: as many as the device decodes at most, or it holds none


@dataclass(frozen=True)
class UnloadModel:
    model: str


@dataclass(frozen=True)
class TellSpeakers:
    """Tell the speakers of a task apart, once its text is there."""

    models_dir: str  # where the weights for that are, or are put
    sources: str  # from which they may be fetched, as in the setting MODEL_SOURCES
    num_speakers: int | None = None  # how many people are heard, if that is known


@dataclass(frozen=True)
class RunTask:
    """Transcribe a recording with a resident model."""

    task_id: str
    attempt_id: str
    model: str
    audio_path: str  # 16 kHz mono s16le samples
    options: TranscribeOptions
    resume: Checkpoint | None = None  # continue from here; None: from the start
    segments: tuple[Segment, ...] = ()  # those before `resume`
    first_window: int = 0  # the index that the next window gets
    seed: int = 0  # makes sampling at temperature > 0 repeatable for the task
    windows_at_once: int | None = None  # of a chunked task, as memory allows; None: no limit
    speakers: TellSpeakers | None = None  # None: they are not wanted


@dataclass(frozen=True)
class StopTask:
    """End the task as soon as the engine can. Answered by TaskStopped, or by TaskDone when that came first.

    at_window: end it where no work is lost: at once between two windows, otherwise when the current window has been
    reported. A StopTask without it may follow and takes precedence.
    """

    task_id: str
    attempt_id: str
    at_window: bool = False


@dataclass(frozen=True)
class Shutdown:
    """Stop every task as soon as the engine can, then end."""


Command = Union[LoadModel, UnloadModel, RunTask, StopTask, Shutdown]


@dataclass(frozen=True)
class MemoryReport:
    """Bytes of the device, as its worker sees them."""

    used: int  # by the worker, now
    peak: int  # the most that it used since its meter was last reset


@dataclass(frozen=True)
class WorkerReady:
    """The first report: the device is ready."""

    device: str  # `cpu` or `cuda:<n>`
    title: str  # the device's name for people
    pid: int
    memory: MemoryReport
    slots: int  # tasks that it can run at the same time


@dataclass(frozen=True)
class ModelLoaded:
    model: str
    weights_bytes: int  # by which the device's memory grew
    seconds: float


@dataclass(frozen=True)
class ModelUnloaded:
    model: str


@dataclass(frozen=True)
class ModelLoadFailed:
    model: str
    code: str  # of a class in `errors`
    message: str  # public


@dataclass(frozen=True)
class WindowDone:
    task_id: str
    attempt_id: str
    window: WindowResult


@dataclass(frozen=True)
class SpeakersProgress:
    """A task's text is there, and its speakers are being told apart, or wait for those of other tasks. Sent every few
    seconds meanwhile."""

    task_id: str
    attempt_id: str
    progress: float  # 0 to 1


@dataclass(frozen=True)
class TaskDone:
    task_id: str
    attempt_id: str
    transcript: Transcript  # with its turns, if its speakers were wanted and could be told apart
    peak_bytes: int  # the engine's growth beyond its idle use per task, see TaskObserver.done; 0: not measured
    seconds: float  # from the attempt's start to its end
    speakers_problem: str = ""  # public: why its speakers are not known although they were wanted


@dataclass(frozen=True)
class TaskStopped:
    """The task ended because of a StopTask. A window that was not finished is decoded again later."""

    task_id: str
    attempt_id: str


@dataclass(frozen=True)
class TaskNote:
    """Something that happened to a running task and belongs in its timeline; the task goes on.

    code, data: as in the timeline. With `memory`: {"step": "batch_shrunk", "windows": decoded together when memory ran
    out, "slots": from now on}.
    """

    task_id: str
    attempt_id: str
    code: str
    data: dict[str, int | float | str]


@dataclass(frozen=True)
class TaskFailed:
    """With the code `device_lost` every task of the worker fails, and then the worker ends."""

    task_id: str
    attempt_id: str
    code: str  # of a class in `errors`
    message: str  # public
    detail: str = ""  # a traceback, for the log only


@dataclass(frozen=True)
class Heartbeat:
    """Sent every few seconds."""

    memory: MemoryReport


Report = Union[
    WorkerReady,
    ModelLoaded,
    ModelUnloaded,
    ModelLoadFailed,
    WindowDone,
    SpeakersProgress,
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
        WorkerReady, ModelLoaded, ModelUnloaded, ModelLoadFailed, WindowDone, SpeakersProgress, TaskDone, TaskStopped,
        TaskNote, TaskFailed, Heartbeat,
    )
}  # fmt: skip

_READERS: dict[str, Any] = {
    "options": lambda value: TranscribeOptions(**value),
    "resume": lambda value: None if value is None else Checkpoint(**value),
    "segments": lambda value: tuple(Segment.from_dict(segment) for segment in value),
    "speakers": lambda value: None if value is None else TellSpeakers(**value),
    "memory": lambda value: MemoryReport(**value),
    "window": WindowResult.from_dict,
    "transcript": Transcript.from_dict,
}

_ENCODER = json.JSONEncoder(default=vars)


class WrittenSegments:
    """Segments as JSON, each written once: those of a window come again with the whole transcript, whose hour would
    take 3 ms more."""

    def __init__(self) -> None:
        self._runs: dict[int, _Run] = {}  # by the identity of the first one

    def of(self, segments: Sequence[Segment]) -> str:
        """A JSON array."""
        texts, first = [], 0
        while first < len(segments):
            run = self._known_run(segments, first) or self._new_run(segments, first)
            texts.append(run.text)
            first += len(run.segments)
        return f"[{', '.join(texts)}]"

    def _known_run(self, segments: Sequence[Segment], first: int) -> _Run | None:
        run = self._runs.get(id(segments[first]))
        is_there = run is not None and run.segments == tuple(segments[first : first + len(run.segments)])
        return run if is_there else None

    def _new_run(self, segments: Sequence[Segment], first: int) -> _Run:
        """Up to the next known one."""
        others = takewhile(lambda segment: id(segment) not in self._runs, segments[first + 1 :])
        new = (segments[first], *others)
        run = self._runs[id(new[0])] = _Run(new, _ENCODER.encode(new)[1:-1])
        return run


@dataclass(frozen=True)
class _Run:
    """Segments that were written together, such as a window's."""

    segments: tuple[Segment, ...]  # kept, so that no other one has their identity
    text: str  # of a JSON array, without its brackets


def encode(message: Command | Report, written: WrittenSegments | None = None) -> bytes:
    """A message as JSON in UTF-8: its fields and, as `type`, the name of its class.

    What it holds is not copied on the way, as `asdict` would, since every window that is being decoded waits for it.
    written: of the task that a WindowDone or TaskDone is about.
    """
    fields = {"type": type(message).__name__, **vars(message)}
    owner = next((name for name, value in fields.items() if isinstance(value, WindowResult | Transcript)), None)
    if owner is None or written is None:
        return _ENCODER.encode(fields).encode()
    return _encode_with(written, fields, owner)


def _encode_with(written: WrittenSegments, fields: dict[str, Any], owner: str) -> bytes:
    """owner: the field whose value has the segments. Both are put last, so the last two braces are theirs."""
    inner = dict(vars(fields.pop(owner)))
    segments = written.of(inner.pop("segments"))
    others = _ENCODER.encode({**fields, owner: inner})
    return f'{others[:-2]}, "segments": {segments}}}}}'.encode()


def decode(data: bytes) -> Command | Report:
    """The message that `encode` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    fields = json.loads(data)
    cls = _MESSAGES[fields.pop("type")]
    return cls(**{name: _READERS.get(name, _unchanged)(value) for name, value in fields.items()})  # type: ignore[no-any-return]


def _unchanged(value: Any) -> Any:
    return value
