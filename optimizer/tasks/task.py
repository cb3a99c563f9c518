"""The nouns of the queue: a task, its state, its options and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import Enum, IntEnum
from typing import Any

from errors import SpeakersUnknownError
from optimizer.common.filenames import titled_name
from optimizer.tasks.search_hit import SearchHit
from whisper_core.audio.tracks import SoundTrack
from whisper_core.text.options import ALWAYS_NAMED, TranscribeOptions


class TaskStatus(Enum):
    """pending -> processing -> completed | failed | cancelled; processing -> retrying -> pending."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    RETRYING = "retrying"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)

    @property
    def is_waiting(self) -> bool:
        return self in (TaskStatus.PENDING, TaskStatus.RETRYING)


def num_waiting(counts: Mapping[TaskStatus, int]) -> int:
    """How many wait, of so many tasks in each state."""
    return sum(count for status, count in counts.items() if status.is_waiting)


class Priority(IntEnum):
    LOW = 0
    NORMAL = 1
    HIGH = 2

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Priority:
        """Raises KeyError when `word` is not low, normal or high."""
        return cls[word.upper()]


@dataclass(frozen=True, kw_only=True)
class TaskOptions(TranscribeOptions):
    model: str
    track: str | None = None  # of several sound tracks, as `tracks.track_name` writes it; None: the default one
    speakers: bool = False  # whether it is told who says what, once the text is there
    num_speakers: int | None = None  # how many people are heard, if that is known; only with `speakers`

    @property
    def transcribe(self) -> TranscribeOptions:
        """The part that the transcription itself needs."""
        return TranscribeOptions(**{field.name: getattr(self, field.name) for field in fields(TranscribeOptions)})

    @property
    def is_plain(self) -> bool:
        return super().is_plain and not self.speakers

    @property
    def beyond_default(self) -> dict[str, Any]:
        own = {"track": self.track, "speakers": self.speakers or None, "num_speakers": self.num_speakers}
        return {**super().beyond_default, **{name: value for name, value in own.items() if value is not None}}

    @property
    def stored(self) -> dict[str, Any]:
        """What the database keeps of them; without the others, rows stay as short as they were."""
        return {"model": self.model, **{name: getattr(self, name) for name in ALWAYS_NAMED}, **self.beyond_default}


@dataclass(frozen=True)
class ErrorInfo:
    """One entry of a task's error list."""

    code: str  # of a class in `errors`
    message: str  # public
    at: datetime | None = None
    attempt: int = 0


@dataclass(frozen=True)
class TaskMemory:
    """What a task took, in bytes: an equal part of what all tasks took that ran together, for all three figures. An
    engine cannot tell whose the memory is.

    None where it cannot be told: when tasks of several kinds ran together, or nothing was measured.
    """

    predicted: int | None = None  # by what was known before; also None for a task that is not `is_plain`
    reserved: int | None = None
    measured: int | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row of the store, as it was when it was read."""

    id: str
    seq: int  # order of arrival, unique; a new one after a failed attempt
    filename: str
    status: TaskStatus
    options: TaskOptions
    priority: Priority
    requested_device: str
    size_bytes: int
    sha256: str
    created_at: datetime
    max_attempts: int
    language: str | None = None
    audio_seconds: float | None = None  # from decoded samples; None until the recording is prepared
    is_truncated: bool = False  # the recording is cut or damaged, and this is the part that could be read
    declared_seconds: float | None = None  # how long such a recording claims to be; None when it does not say
    tracks: tuple[SoundTrack, ...] = ()  # of the file, once it was read
    late_seconds: float | None = None  # its sound starts so late that silence was put before it; None: it does not
    is_silent: bool = False  # it is completed, and there is no text
    progress: float = 0.0  # 0 to 1
    attempt: int = 0  # attempts begun
    interrupts: int = 0  # deaths of the server or a worker that only it can have caused, since the last saved window
    free_attempts: int = 0  # attempts that are not charged: they ended through no fault of the task's
    device: str | None = None  # of the latest attempt
    lease_token: str | None = None  # proves that a report is about the running attempt; None when nothing runs
    lease_owner: str | None = None  # the boot id of the server that claimed the task
    not_before: datetime | None = None  # until then a retrying task waits
    windows_done: int = 0  # windows saved so far; also the live feed's `seq`
    estimated_bytes: int | None = None  # reserved for the latest attempt itself
    predicted_bytes: int | None = None  # with measured_bytes and reserved_bytes: see TaskMemory
    reserved_bytes: int | None = None
    measured_bytes: int | None = None
    errors: tuple[ErrorInfo, ...] = ()
    started_at: datetime | None = None  # of the latest attempt
    finished_at: datetime | None = None
    result_sha256: str | None = None  # of the transcript's file
    idempotency_key: str | None = None
    owner: str = ""  # whose it is, and whose share of the devices it takes; "" when that is unknown
    title: str | None = None  # what its owner calls it; None: as its file
    note: str = ""
    tags: tuple[str, ...] = ()
    batch_id: str | None = None  # of the uploads that it came with; see tasks/batches.py
    batch_name: str | None = None
    media_removed_at: datetime | None = None  # when its recording was removed for its age
    arranged: float | None = None  # orders those that their owner moved within the line; see queue/arrangement.py
    version: int = 1  # grows with every change

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.title or self.filename

    @property
    def saved_name(self) -> str:
        """What its recording is called when somebody saves it."""
        return self.filename if self.title is None else titled_name(self.title, self.filename)

    @property
    def has_attempts_left(self) -> bool:
        return self.attempt - self.free_attempts < self.max_attempts

    def is_held_by(self, lease_token: str) -> bool:
        """Whether this token's attempt is the one that runs."""
        return self.status is TaskStatus.PROCESSING and self.lease_token == lease_token

    @property
    def is_prepared(self) -> bool:
        return self.audio_seconds is not None

    @property
    def audio_left_seconds(self) -> float:
        """The sound that is still to be transcribed; 0 before the recording is prepared."""
        return (self.audio_seconds or 0.0) * (1 - self.progress)

    @property
    def speakers_problem(self) -> ErrorInfo | None:
        """Why it is not known who speaks in a completed task, although that was wanted."""
        latest = self.errors[-1] if self.errors else None
        is_it = latest is not None and latest.code == SpeakersUnknownError.code
        return latest if is_it and self.status is TaskStatus.COMPLETED else None

    @property
    def error(self) -> ErrorInfo | None:
        """The error to show: the latest one, while the task is failed or retrying."""
        shows_error = self.status in (TaskStatus.FAILED, TaskStatus.RETRYING)
        return self.errors[-1] if shows_error and self.errors else None

    def with_(self, **changes: object) -> Task:
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """A submission. The store adds state, order and times."""

    id: str
    filename: str
    options: TaskOptions
    priority: Priority
    requested_device: str
    size_bytes: int
    sha256: str
    max_attempts: int
    audio_seconds: float | None = None
    is_truncated: bool = False
    declared_seconds: float | None = None
    tracks: tuple[SoundTrack, ...] = ()
    late_seconds: float | None = None
    idempotency_key: str | None = None
    owner: str = ""
    callback_url: str | None = None  # is told of its end
    batch_id: str | None = None
    batch_name: str | None = None


class TaskSort(Enum):
    """By what a list is in order. ARRIVAL is by `seq`, so a task that is tried again is new."""

    ARRIVAL = "arrival"
    CREATED = "created"
    FINISHED = "finished"
    LENGTH = "length"
    NAME = "name"
    MODEL = "model"
    STATUS = "status"
    OWNER = "owner"
    LINE = "line"  # of what waits, from its front

    @property
    def is_newest_first(self) -> bool:
        """Or the longest first: in which direction it goes unless another one is asked for."""
        return self in (TaskSort.ARRIVAL, TaskSort.CREATED, TaskSort.FINISHED, TaskSort.LENGTH)


@dataclass(frozen=True)
class TaskFilter:
    """What a page of the list shows. None: whatever it is."""

    status: TaskStatus | None = None
    model: str | None = None
    query: str | None = None  # words of names and texts, in any order, and "phrases"
    sha256: str | None = None  # of the uploaded file
    limit: int = 50  # at most 200
    cursor: str | None = None  # a page's `next_cursor`
    owner: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    min_seconds: float | None = None  # of sound; a recording of unknown length has none
    max_seconds: float | None = None
    tag: str | None = None  # whatever its case
    batch: str | None = None  # its id
    sort: TaskSort = TaskSort.ARRIVAL
    is_descending: bool | None = None  # None: as `sort` has it

    @property
    def is_narrowed(self) -> bool:
        """Whether it leaves out tasks for another reason than their state and their owner."""
        unlimited = TaskFilter(status=self.status, owner=self.owner)
        return replace(self, limit=unlimited.limit, cursor=None, sort=unlimited.sort, is_descending=None) != unlimited

    @property
    def goes_down(self) -> bool:
        return self.sort.is_newest_first if self.is_descending is None else self.is_descending


@dataclass(frozen=True)
class TaskPage:
    tasks: tuple[Task, ...]
    next_cursor: str | None
    counts: dict[TaskStatus, int] = field(default_factory=dict)
    hits: dict[str, SearchHit] = field(default_factory=dict)  # where a query found the tasks, by id
