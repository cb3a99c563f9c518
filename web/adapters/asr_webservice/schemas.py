"""The answers of whisper-asr-webservice's API as pydantic models, and its requests, for our own API's description."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from optimizer.intake.task_form import MAX_KEY_CHARACTERS, MAX_SPEAKERS
from web.adapters.asr_webservice.query import FILE_FIELD, OUTPUTS
from web.http.answer_schemas import Body, TranscriptAnswer, answer

_FLAG = {"type": "boolean"}
_TEXT = {"type": "string"}


class AsrAnswer(Body):
    """A whole answer."""


class AsrLanguageAnswer(AsrAnswer):
    detected_language: str
    language_code: str


class AsrFault(Body):
    type: str
    loc: list[str]
    msg: str
    input: None


class AsrErrorAnswer(AsrAnswer):
    detail: str | list[AsrFault] = Field(description="a list where parameters or the file are at fault")


def error_answers(*statuses: int) -> dict[Any, Any]:
    return {str(status): answer(AsrErrorAnswer) for status in statuses}


def text_answers() -> dict[Any, Any]:
    return {"200": {"content": {**answer(TranscriptAnswer)["content"], "text/plain": {"schema": _TEXT}}}}


def _request(**parameters: dict[str, Any]) -> dict[str, Any]:
    """The description of a request. parameters: schemas of those in the address."""
    schema = {
        "type": "object",
        "properties": {FILE_FIELD: {"type": "string", "format": "binary"}},
        "required": [FILE_FIELD],
    }
    parameters = {"encode": _FLAG, **parameters, "video_file": _TEXT}
    described = [{"name": name, "in": "query", "schema": each} for name, each in parameters.items()]
    key = {"name": "Idempotency-Key", "in": "header", "schema": {**_TEXT, "maxLength": MAX_KEY_CHARACTERS}}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}},
        "parameters": [*described, key],
    }


TRANSCRIPTION_REQUEST = _request(
    task={"type": "string", "enum": ["transcribe", "translate"]},
    language=_TEXT,
    initial_prompt=_TEXT,
    vad_filter=_FLAG,
    word_timestamps=_FLAG,
    diarize=_FLAG,
    min_speakers={"type": "integer", "minimum": 1, "maximum": MAX_SPEAKERS},
    max_speakers={"type": "integer", "minimum": 1, "maximum": MAX_SPEAKERS},
    output={"type": "string", "enum": list(OUTPUTS)},
)
DETECTION_REQUEST = _request()
