"""What the API takes and gives, as pydantic models: they check requests and write the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from optimizer.monitoring.event_log import EventKind
from optimizer.tasks.task import TaskStatus
from optimizer.tasks.wait_reasons import WaitCode
from whisper_core.text.options import Mode

Status = Literal["pending", "processing", "completed", "failed", "retrying", "cancelled"]
PriorityWord = Literal["low", "normal", "high"]
TranscriptFormat = Literal["json", "txt", "srt", "vtt", "tsv"]
ArchiveFormat = Literal["txt", "srt", "vtt", "tsv", "json"]
MAX_ARCHIVE_IDS = 1000

_Id = Annotated[str, StringConstraints(max_length=64)]


class Request(BaseModel):
    """Unknown fields are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class TaskPath(BaseModel):
    id: str = Field(description="the task's id")


class ModelPath(BaseModel):
    name: str = Field(description="the model's name")


class TaskListQuery(Request):
    status: Status | None = Field(None, description="only tasks in this state")
    model: str | None = Field(None, max_length=64, description="only tasks of this model")
    q: str | None = Field(None, max_length=200, description="part of a file name or of a text")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=200, description="a page's next_cursor")

    def state(self) -> TaskStatus | None:
        return None if self.status is None else TaskStatus(self.status)


class TranscriptQuery(Request):
    format: TranscriptFormat = "json"
    download: bool = Field(False, description="true: as a file to save")


class MediaQuery(Request):
    download: bool = Field(False, description="true: as a file to save")


class ArchiveQuery(Request):
    ids: list[Annotated[str, StringConstraints(max_length=65 * MAX_ARCHIVE_IDS)]] = Field(
        default_factory=list, description="tasks, separated by commas or repeated; none: every completed task"
    )
    format: ArchiveFormat = "txt"

    def task_ids(self) -> list[str]:
        """Each id once, in the order given."""
        ids = [part.strip() for entry in self.ids for part in entry.split(",")]
        return list(dict.fromkeys(task_id for task_id in ids if task_id))


class TaskPatch(Request):
    priority: PriorityWord


class SystemPatch(Request):
    max_concurrent_tasks: int | None = Field(None, ge=1, le=256, strict=True)  # lax would take `true` for 1
    max_batch_size: int | None = Field(None, ge=1, le=64, strict=True)

    @model_validator(mode="after")
    def _changes_something(self) -> SystemPatch:
        if self.max_concurrent_tasks is None and self.max_batch_size is None:
            raise ValueError("max_concurrent_tasks or max_batch_size is wanted")
        return self


class Options(BaseModel):
    model: str
    language: str | None
    task: Literal["transcribe", "translate"]
    initial_prompt: str | None
    word_timestamps: bool
    temperature: float | None
    mode: Mode


class Memory(BaseModel):
    estimated_bytes: int | None
    peak_bytes: int | None


class Waiting(BaseModel):
    code: WaitCode
    data: dict[str, float | int | str]


class Expected(BaseModel):
    """Seconds from now."""

    start_seconds: float
    end_seconds: float
    earliest_end_seconds: float
    latest_end_seconds: float


class TaskFault(BaseModel):
    code: str
    message: str


class TaskBody(BaseModel):
    id: str
    filename: str
    status: Status
    options: Options
    priority: PriorityWord
    language: str | None
    audio_seconds: float | None
    size_bytes: int
    progress: float
    windows_done: int
    position: int | None
    eta_seconds: float | None
    expected: Expected | None
    waiting_reason: str | None
    waiting: Waiting | None
    attempts: int
    max_attempts: int
    device: str | None
    requested_device: str
    memory: Memory
    error: TaskFault | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class TaskAnswer(BaseModel):
    task: TaskBody


class TaskListAnswer(BaseModel):
    tasks: list[TaskBody]
    next_cursor: str | None
    counts: dict[str, int]


class WordBody(BaseModel):
    """Seconds from the start of the recording."""

    word: str
    start: float
    end: float
    probability: float | None


class SegmentBody(BaseModel):
    """openai-whisper's segment. A number that is not finite is null."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float | None
    compression_ratio: float | None
    no_speech_prob: float | None
    words: list[WordBody] = Field(default_factory=list, description="only with word_timestamps")


class TranscriptBody(BaseModel):
    text: str
    language: str
    segments: list[SegmentBody]
    partial: bool = Field(False, description="true, and only there, while more is to come")
    mode: Mode = Field("exact", description="only there when it is not exact")


class FetchProgress(BaseModel):
    done_bytes: int
    total_bytes: int


class ModelBody(BaseModel):
    name: str
    size_bytes: int
    is_multilingual: bool
    is_available: bool
    loaded_on: list[str]
    memory_bytes: int
    fetch: FetchProgress | None
    problem: str | None


class ModelsAnswer(BaseModel):
    models: list[ModelBody]
    default: str
    default_language: str
    languages: dict[str, str]


class TaskEventBody(BaseModel):
    at: str
    code: str
    data: dict[str, Any]
    text: str


class TimelineAnswer(BaseModel):
    events: list[TaskEventBody]


class FetchAnswer(BaseModel):
    model: str


class HistoryQuery(Request):
    hours: float = Field(1, ge=0.1, le=168, description="how far back")


class SystemEventsQuery(Request):
    kind: EventKind | None = Field(None, description="only events of this kind")
    limit: int = Field(100, ge=1, le=500)
    before: int | None = Field(None, ge=1, le=2**53, description="only events older than the one with this id")


class LogQuery(Request):
    limit: int = Field(200, ge=1, le=1000)


class DeviceMemorySample(BaseModel):
    """Bytes."""

    total: int
    headroom: int
    reserved: int
    used: int
    others: int
    models: dict[str, int]


class SampleBody(BaseModel):
    at: float = Field(description="seconds since 1970, at the end of the span")
    span_seconds: float
    throughput: float = Field(description="seconds of sound per second")
    running: float
    waiting: float
    retrying: float
    started: int
    completed: int
    failed: int
    mean_wait_seconds: float | None
    p95_wait_seconds: float | None
    occupancy: float
    devices: dict[str, DeviceMemorySample]
    speeds: dict[str, dict[str, float]] = Field(description="times real time of one task, by device and model")


class TuningChange(BaseModel):
    at: float
    text: str
    data: dict[str, Any]


class HistoryAnswer(BaseModel):
    samples: list[SampleBody]
    changes: list[TuningChange]


class SystemEventBody(BaseModel):
    id: int
    at: float
    kind: EventKind
    text: str
    data: dict[str, Any]


class SystemEventsAnswer(BaseModel):
    events: list[SystemEventBody]


class LogLineBody(BaseModel):
    at: float
    level: str
    logger: str
    message: str


class LogAnswer(BaseModel):
    lines: list[LogLineBody]


class HealthAnswer(BaseModel):
    status: Literal["ok", "unavailable"]
    reasons: list[str]


class ErrorDetail(BaseModel):
    code: str
    message: str
    field: str | None
    request_id: str


class ErrorAnswer(BaseModel):
    error: ErrorDetail


def error_responses(*statuses: int) -> dict[Any, Any]:
    """The OpenAPI entries of errors, which all look alike.

    They refer to the schema, which the application brings in as `validation_error_model`: writing it out anew for each
    operation took 70 ms of every start.
    """
    reference = {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}
    return {str(status): {"content": {"application/json": {"schema": reference}}} for status in statuses}
