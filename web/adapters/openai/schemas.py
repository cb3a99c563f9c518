"""The answers of OpenAI's API as pydantic models, and its forms, for our own API's description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from optimizer.intake.task_form import FILE_FIELD, MAX_KEY_CHARACTERS
from web.adapters.openai.form import CUE_LIMITS, DIARIZED, FORMATS, GRANULARITIES, HIGHLIGHT_WORDS, OWN_OPTIONS
from web.http.answer_schemas import AcceptedAnswer, Body, answer

_TEXT = {"schema": {"type": "string"}}
_REFERENCE = "#/components/schemas/"


class OpenAIModelPath(BaseModel):
    model: str = Field(description="the model's name")


class OpenAIAnswer(Body):
    """A whole answer."""


class OpenAIUsage(Body):
    type: Literal["duration"]
    seconds: float


class OpenAISegment(Body):
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
    speaker: str = Field("", description="only with `speakers`")


class OpenAIWord(Body):
    word: str
    start: float
    end: float


class OpenAITextAnswer(OpenAIAnswer):
    text: str
    segments: list[OpenAISegment] = Field(default_factory=list, description="only when they are asked for")
    usage: OpenAIUsage


class OpenAIVerboseAnswer(OpenAIAnswer):
    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    words: list[OpenAIWord] = Field(default_factory=list, description="only with the granularity word")
    segments: list[OpenAISegment] = Field(default_factory=list, description="not with the granularity word alone")
    usage: OpenAIUsage


class OpenAISpeakerSegment(Body):
    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    text: str
    speaker: str


class OpenAIDiarizedAnswer(OpenAIAnswer):
    task: Literal["transcribe"]
    duration: float
    text: str
    segments: list[OpenAISpeakerSegment]
    usage: OpenAIUsage


class OpenAIModel(Body):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModelAnswer(OpenAIAnswer, OpenAIModel):
    pass


class OpenAIModelsAnswer(OpenAIAnswer):
    object: Literal["list"]
    data: list[OpenAIModel]


class OpenAIErrorDetail(Body):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorAnswer(OpenAIAnswer):
    error: OpenAIErrorDetail


def error_answers(*statuses: int) -> dict[Any, Any]:
    return {str(status): answer(OpenAIErrorAnswer) for status in statuses}


def text_answers(*, can_stream: bool) -> dict[Any, Any]:
    """Those of a transcription or, without streams and speakers, of a translation."""
    models = (OpenAITextAnswer, OpenAIVerboseAnswer, *((OpenAIDiarizedAnswer,) if can_stream else ()))
    bodies = [{"$ref": _REFERENCE + body.__name__} for body in models]
    content: dict[str, Any] = {"application/json": {"schema": {"anyOf": bodies}}}
    content |= {"text/plain": _TEXT, "text/vtt": _TEXT}
    if can_stream:
        content["text/event-stream"] = {"schema": {"type": "object", "properties": {"data": {"type": "string"}}}}
    return {"200": {"content": content}, "202": answer(AcceptedAnswer)}


def form_of(**own: dict[str, Any]) -> dict[str, Any]:
    """The description of a form and its headers. own: fields beside those that both forms have."""
    text = {"type": "string"}
    fields = {
        FILE_FIELD: {"type": "string", "format": "binary"},
        "model": text,
        "prompt": text,
        "response_format": {"type": "string", "enum": list(FORMATS)},
        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
        **{name: {"type": "integer", "minimum": 1, "maximum": most} for name, most in CUE_LIMITS.items()},
        HIGHLIGHT_WORDS: {"type": "string", "enum": ["true", "false"]},
        **dict.fromkeys(OWN_OPTIONS, text),
        **own,
    }
    schema = {"type": "object", "properties": fields, "required": [FILE_FIELD]}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}},
        "parameters": [
            _header("Prefer", "respond-async: the answer is the task", {"type": "string", "enum": ["respond-async"]}),
            _header(
                "Idempotency-Key",
                "makes sending again harmless: the same key, file and options give the same task",
                {"type": "string", "maxLength": MAX_KEY_CHARACTERS},
            ),
        ],
    }


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


TRANSCRIPTION_FORM = form_of(
    response_format={"type": "string", "enum": [*FORMATS, DIARIZED]},
    language={"type": "string"},
    stream={"type": "string", "enum": ["true", "false"]},
    timestamp_granularities={"type": "array", "items": {"type": "string", "enum": list(GRANULARITIES)}},
    keywords={"type": "array", "items": {"type": "string"}},
)
TRANSLATION_FORM = form_of()
