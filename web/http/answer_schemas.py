"""What the API answers, as pydantic models. They describe the answers in OpenAPI; nothing is built from them.

The answers about the system are in `system_schemas`. An operation refers to its answers by name; their schemas are
written when somebody asks for the document, because writing them for every operation held up each start.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from errors import ModelFault
from optimizer.common.kinds import DeviceKind
from optimizer.tasks.wait_reasons import WaitCode
from web.http.request_schemas import PriorityWord, Status
from whisper_core.models.catalogue import Precision
from whisper_core.text.options import Mode
from whisper_core.text.transcript import ComputedPrecision

_SCHEMAS = "#/components/schemas/"


class Body(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(defer_build=True)  # no start of the server needs a validator for it


class Answer(Body):
    """A whole answer; the direct subclasses are those that operations give."""


def _only_where_changed(default: Any) -> Any:
    """A field that is left out where it has its default."""
    return Field(default, description="left out where it has its default")


class Options(Body):
    model: str
    language: str | None
    task: Literal["transcribe", "translate"]
    initial_prompt: str | None
    word_timestamps: bool
    temperature: float | None
    mode: Mode
    carry_initial_prompt: bool = _only_where_changed(False)
    hotwords: str | None = _only_where_changed(None)
    condition_on_previous_text: bool = _only_where_changed(True)
    compression_ratio_threshold: float | None = _only_where_changed(2.4)
    logprob_threshold: float | None = _only_where_changed(-1.0)
    no_speech_threshold: float | None = _only_where_changed(0.6)
    hallucination_silence_threshold: float | None = _only_where_changed(None)
    clip_timestamps: str = _only_where_changed("0")
    beam_size: int | None = _only_where_changed(None)
    best_of: int | None = _only_where_changed(None)
    patience: float | None = _only_where_changed(None)
    length_penalty: float | None = _only_where_changed(None)
    suppress_tokens: str = _only_where_changed("-1")
    detect_language: Literal["start", "first_speech"] = _only_where_changed("start")
    vad_filter: bool = _only_where_changed(False)
    track: str | None = _only_where_changed(None)
    speakers: bool = _only_where_changed(False)
    num_speakers: int | None = _only_where_changed(None)


class Memory(Body):
    estimated_bytes: int | None
    predicted_bytes: int | None
    reserved_bytes: int | None
    measured_bytes: int | None
    peak_bytes: int | None


class Waiting(Body):
    code: WaitCode
    data: dict[str, float | int | str]


class Expected(Body):
    """Seconds from now."""

    start_seconds: float
    end_seconds: float
    earliest_end_seconds: float
    latest_end_seconds: float


class TaskFault(Body):
    code: str
    message: str


class Damage(Body):
    readable_seconds: float | None = Field(description="how much of the recording could be read")
    declared_seconds: float | None = Field(description="how long it claims to be; null if it does not say")


class TaskWarning(TaskFault, Damage):
    """What is wrong with a recording that is transcribed all the same, or with what came of it."""


class Track(Body):
    """A sound track of the file."""

    index: int = Field(description="from 1; what `track` takes")
    language: str | None
    title: str | None
    codec: str
    channels: int | None
    default: bool
    chosen: bool = Field(description="whether it is the one that is transcribed")


class BatchName(Body):
    """The uploads that a task came with."""

    id: str
    name: str | None


class SnippetPart(Body):
    text: str
    marked: bool


class Match(Body):
    """Where the search found it: the sentence, or the name, that has most of the words."""

    field: Literal["text", "title", "filename", "note", "tag"]
    snippet: list[SnippetPart] = Field(description="plain text; the words that were found are marked")
    segment: int | None = Field(description="the segment's id, of a hit in the text")
    start: float | None = Field(description="seconds, of a hit in the text")


class TaskBody(Body):
    id: str
    filename: str
    title: str | None = Field(description="what its owner calls it; null: as its file")
    note: str
    tags: list[str]
    batch: BatchName | None
    status: Status
    options: Options
    priority: PriorityWord
    language: str | None
    audio_seconds: float | None
    size_bytes: int
    progress: float
    windows_done: int
    speakers_progress: float | None
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
    tracks: list[Track]
    warnings: list[TaskWarning]
    error: TaskFault | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    media_removed_at: str | None = Field(description="when its recording was removed, because it was old")
    media_expires_at: str | None = Field(description="when its recording will be removed")
    text_expires_at: str | None = Field(description="when the whole task will be deleted")
    owner: str = Field("", description="the account that it belongs to; only there for an admin")
    match: Match | None = Field(None, description="only there in a list that `q` was given for")


class TaskAnswer(Answer):
    task: TaskBody


class AcceptedAnswer(Answer):
    task: TaskBody
    duplicate_of: str | None = Field(description="the caller's latest earlier task of the same file")


class TaskListAnswer(Answer):
    tasks: list[TaskBody]
    next_cursor: str | None
    counts: dict[str, int]


class WordBody(Body):
    """Seconds from the start of the recording."""

    word: str
    start: float
    end: float
    probability: float | None
    speaker: str | None = Field(None, description="only there if it is known who says it")


class SegmentBody(Body):
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
    speaker: str | None = Field(None, description="only there if it is known who says it; a key of `speakers`")


class TranscriptAnswer(Answer):
    """As json; the other formats are text."""

    text: str
    language: str
    segments: list[SegmentBody]
    precision: ComputedPrecision | None = Field(description="that the model was computed in; null if not known (yet)")
    speakers: dict[str, str | None] = Field(
        default_factory=dict, description="the speakers' names, or null, by id; only there if they were looked for"
    )
    partial: bool = Field(False, description="true, and only there, while more is to come")
    mode: Mode = Field("exact", description="only there when it is not exact")
    coarse_times: bool = Field(False, description="true, and only there, when each segment is as long as its window")
    warning: str = Field("", description="only there for a complete text without a word")
    damaged: Damage | None = Field(None, description="only there for a recording that is cut off or damaged")
    version: int = Field(0, description="how many steps people took to change it; only there for a complete edited one")
    edited: bool = Field(False, description="whether anything differs from what was transcribed; there with `version`")


class WaveformAnswer(Answer):
    seconds_per_peak: float
    peaks: list[int] = Field(description="the loudest sample of each such part of the recording, from 0 to 255")


class WhisperXWord(Body):
    word: str
    start: float
    end: float
    score: float | None = Field(None, description="only there if it is known")
    speaker: str = Field("", description="only there if it is known who says it")


class WhisperXSegment(Body):
    start: float
    end: float
    text: str
    words: list[WhisperXWord] = Field(default_factory=list, description="only with word_timestamps")
    speaker: str = Field("", description="only there if it is known who says it")


class WhisperXAnswer(Answer):
    """As whisperx: the json of WhisperX's command line."""

    segments: list[WhisperXSegment]
    word_segments: list[WhisperXWord] = Field(default_factory=list, description="only with word_timestamps")
    language: str


class FetchProgress(Body):
    done_bytes: int
    total_bytes: int


class ModelBody(Body):
    name: str
    precision: Precision
    weights: str = Field(description="the model whose file it is loaded from")
    device_kinds: list[DeviceKind]
    size_bytes: int
    is_brought: bool = Field(description="whether it is a folder or file in MODELS_DIR and not one of openai-whisper's")
    is_multilingual: bool
    is_available: bool
    loaded_on: list[str]
    memory_bytes: int
    speed: float | None = Field(description="seconds of sound per second, measured here on the fastest device")
    word_error_rate: float | None = Field(description="as docs/benchmarks.md publishes it, 0 to 1")
    fetch: FetchProgress | None
    problem: str | None


class BrokenModelBody(Body):
    name: str
    fault: ModelFault
    reason: str


class ModelsAnswer(Answer):
    models: list[ModelBody]
    broken_models: list[BrokenModelBody] = Field(description="what is in MODELS_DIR and cannot be used, and why")
    default: str
    default_language: str
    languages: dict[str, str]


class TaskEventBody(Body):
    at: str
    code: str
    data: dict[str, Any]
    text: str


class TimelineAnswer(Answer):
    events: list[TaskEventBody]


class HealthAnswer(Answer):
    status: Literal["ok", "degraded", "unavailable"]
    reasons: list[str]


class ErrorDetail(Body):
    code: str
    message: str
    field: str | None
    request_id: str


class ErrorAnswer(Answer):
    error: ErrorDetail


def answer(model: type[Body], *other_models: type[Body]) -> dict[str, Any]:
    """The OpenAPI entry of an answer as JSON, which has one of several shapes if there are several models."""
    if other_models:
        shapes = [_reference_to(shape)["schema"] for shape in (model, *other_models)]
        return {"content": {"application/json": {"schema": {"anyOf": shapes}}}}
    return {"content": {"application/json": _reference_to(model)}}


def error_responses(*statuses: int) -> dict[Any, Any]:
    """The OpenAPI entries of errors, which all look alike."""
    return {str(status): answer(ErrorAnswer) for status in statuses}


def schemas_of_answers(*kinds: type[Body]) -> dict[str, Any]:
    """JSON schemas by name: of every answer of these kinds, and of what it is made of."""
    schemas: dict[str, Any] = {}
    for model in (model for kind in kinds for model in kind.__subclasses__()):
        schema = model.model_json_schema(ref_template=_SCHEMAS + "{model}", mode="serialization")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    return schemas


def _reference_to(model: type[Body]) -> dict[str, Any]:
    return {"schema": {"$ref": _SCHEMAS + model.__name__}}
