"""whisper-asr-webservice's two addresses. An upload is a task like any other; the answer comes when that is done."""

from __future__ import annotations

from flask import Response, jsonify, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from optimizer.views.rendering import render_transcript_of
from web.adapters.answer_headers import with_task_headers
from web.adapters.asr_webservice.query import DETECTION, TRANSCRIPTION, SentQuery
from web.adapters.asr_webservice.schemas import (
    DETECTION_REQUEST,
    TRANSCRIPTION_REQUEST,
    AsrLanguageAnswer,
    error_answers,
    text_answers,
)
from web.adapters.upload import following_upload
from web.adapters.waiting import Result
from web.http.answer_schemas import answer
from whisper_core.text.languages import LANGUAGES

asr_webservice = APIBlueprint(
    "asr_webservice", __name__, abp_tags=[Tag(name="asr-webservice")], abp_responses=error_answers(401, 429, 503)
)

_UPLOAD_ERRORS = error_answers(400, 403, 409, 413, 415, 422, 500, 507)


@asr_webservice.post("/asr", responses={**text_answers(), **_UPLOAD_ERRORS}, openapi_extensions=TRANSCRIPTION_REQUEST)
def transcribe_audio() -> Response:
    """The recording's text; see whisper-asr-webservice's documentation for the parameters."""
    query = SentQuery(request.args, TRANSCRIPTION)
    output = query.output()
    with following_upload(query.transcription()) as (submission, watch):
        response = _file(watch.result(), output)
    return with_task_headers(response, submission, query.ignored)


@asr_webservice.post(
    "/detect-language",
    responses={"200": answer(AsrLanguageAnswer), **_UPLOAD_ERRORS},
    openapi_extensions=DETECTION_REQUEST,
)
def detect_language() -> Response:
    """The language of the recording's first 30 seconds."""
    query = SentQuery(request.args, DETECTION)
    with following_upload(query.detection()) as (submission, watch):
        code = watch.result().transcript.language
    response = jsonify(detected_language=LANGUAGES.get(code, code), language_code=code)
    return with_task_headers(response, submission, query.ignored)


def _file(result: Result, output: str) -> Response:
    task = result.task
    body = render_transcript_of(task, result.transcript, output)
    response = Response(body, mimetype="application/json" if output == "json" else "text/plain")
    response.headers.set("Content-Disposition", "attachment", filename=f"{task.filename}.{output}")
    return response
