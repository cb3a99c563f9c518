"""The answers of whisper.cpp's API as pydantic models, and its form, for our own API's description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from optimizer.intake.task_form import FILE_FIELD, MAX_KEY_CHARACTERS
from web.adapters.whisper_cpp.form import FLAGS, FORMATS, NUMBERS
from web.http.answer_schemas import Body, answer

_TEXT = {"type": "string"}


class CppAnswer(Body):
    """A whole answer."""


class CppTextAnswer(CppAnswer):
    text: str


class CppWord(Body):
    word: str
    start: float
    end: float
    probability: float | None


class CppSegment(Body):
    id: int
    start: float = Field(0.0, description="not with no_timestamps")
    end: float = Field(0.0, description="not with no_timestamps")
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float | None
    no_speech_prob: float | None
    words: list[CppWord] = Field(default_factory=list, description="not without times")


class CppVerboseAnswer(CppAnswer):
    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[CppSegment]
    detected_language: str = Field("", description="only where the language was not chosen")


class CppErrorAnswer(CppAnswer):
    error: str


def error_answers(*statuses: int) -> dict[Any, Any]:
    return {str(status): answer(CppErrorAnswer) for status in statuses}


def text_answers() -> dict[Any, Any]:
    texts = {media_type: {"schema": _TEXT} for media_type in ("text/plain", "text/vtt", "application/x-subrip")}
    return {"200": {"content": {**answer(CppTextAnswer, CppVerboseAnswer)["content"], **texts}}}


_FIELDS: dict[str, Any] = {
    FILE_FIELD: {"type": "string", "format": "binary"},
    "response_format": {"type": "string", "enum": list(FORMATS)},
    "language": _TEXT,
    "prompt": _TEXT,
    **{name: {"type": "boolean"} for name in FLAGS},
    **{name: {"type": "number"} for name in NUMBERS},
}
_SCHEMA = {"type": "object", "properties": _FIELDS, "required": [FILE_FIELD]}
INFERENCE_FORM: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _SCHEMA}}},
    "parameters": [
        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": MAX_KEY_CHARACTERS}}
    ],
}
