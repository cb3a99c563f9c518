"""The nouns of the queue: a task, its state, its options, its errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import Enum, IntEnum

from whisper_core.text.options import TranscribeOptions


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

    @property
    def transcribe(self) -> TranscribeOptions:
        """The part that the transcription itself reads."""
        fields = asdict(self)
        del fields["model"]
        return TranscribeOptions(**fields)


@dataclass(frozen=True)
class ErrorInfo:
    """One entry of a task's error list. code: of an `errors` class. message: public."""

    code: str
    message: str
    at: datetime | None = None
    attempt: int = 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row of the store, as it stood when it was read.

    seq: order of arrival, unique. audio_seconds: from decoded samples; None until the recording is prepared.
    attempt: attempts begun. lease_token: proof of the running claim; None when nothing runs.
    not_before: a retrying task waits until then. windows_done: windows saved so far (also the live feed's `seq`).
    progress: 0 to 1. estimated_bytes, peak_bytes: the reservation and the measurement of the latest attempt.
    free_attempts: those that ended through no fault of the task's, such as a restart. owner: whose share of the devices
    it takes, "" for nobody's in particular. version: grows with every change.
    """

    id: str
    seq: int
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
    audio_seconds: float | None = None
    progress: float = 0.0
    attempt: int = 0
    interrupts: int = 0
    free_attempts: int = 0
    device: str | None = None
    lease_token: str | None = None
    lease_owner: str | None = None
    not_before: datetime | None = None
    windows_done: int = 0
    estimated_bytes: int | None = None
    peak_bytes: int | None = None
    errors: tuple[ErrorInfo, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result_sha256: str | None = None
    idempotency_key: str | None = None
    owner: str = ""
    version: int = 1

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
        """What is still to be transcribed; 0 before the recording is prepared."""
        return (self.audio_seconds or 0.0) * (1 - self.progress)

    @property
    def error(self) -> ErrorInfo | None:
        """The error to show: the latest one of a failed or retrying task."""
        shows_error = self.status in (TaskStatus.FAILED, TaskStatus.RETRYING)
        return self.errors[-1] if shows_error and self.errors else None

    def with_(self, **changes: object) -> Task:
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """What a submission brings; the store adds state, order and times."""

    id: str
    filename: str
    options: TaskOptions
    priority: Priority
    requested_device: str
    size_bytes: int
    sha256: str
    max_attempts: int
    audio_seconds: float | None = None
    idempotency_key: str | None = None
    owner: str = ""


@dataclass(frozen=True)
class TaskFilter:
    """limit: at most 200. cursor: a page's `next_cursor`. query: part of a name or of a text."""

    status: TaskStatus | None = None
    model: str | None = None
    query: str | None = None
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True)
class TaskPage:
    tasks: tuple[Task, ...]
    next_cursor: str | None
    counts: dict[TaskStatus, int] = field(default_factory=dict)
