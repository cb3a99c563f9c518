"""What the API answers, as pydantic models. They describe the answers in OpenAPI; nothing is built from them.

The answers about the system are in `system_schemas`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from optimizer.tasks.wait_reasons import WaitCode
from web.http.request_schemas import PriorityWord, Status
from whisper_core.text.options import Mode


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
