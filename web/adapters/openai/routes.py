"""OpenAI's addresses for audio. An upload is a task like any other; its answer comes when the task is done."""

from __future__ import annotations

from contextlib import ExitStack
from urllib.parse import quote

from flask import Response, g, jsonify, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from errors import TranscriptionServerError, UnavailableError
from optimizer.views.task_view import Submission
from web.adapters.answer_headers import with_task_headers
from web.adapters.openai.answers import write_answer
from web.adapters.openai.form import AudioForm, Wanted
from web.adapters.openai.model_names import WHISPER_1, own_model
from web.adapters.openai.schemas import (
    TRANSCRIPTION_FORM,
    TRANSLATION_FORM,
    OpenAIModelAnswer,
    OpenAIModelPath,
    OpenAIModelsAnswer,
    error_answers,
    text_answers,
)
from web.adapters.openai.streaming import stream_answer
from web.adapters.upload import following_upload
from web.adapters.waiting import Result, TaskWatch
from web.http.answer_schemas import answer
from web.http.context import current_system
from web.http.task_access import current_tasks
from web.tasks.uploads import UploadForm, receive_task
from whisper_core.models.catalogue import MODELS
from whisper_core.text.options import TaskKind

openai_api = APIBlueprint(
    "openai", __name__, url_prefix="/v1", abp_tags=[Tag(name="openai")], abp_responses=error_answers(401, 429, 503)
)

_UPLOAD_ERRORS = error_answers(400, 403, 404, 409, 413, 500)
_ASYNC = "respond-async"  # RFC 7240


@openai_api.post(
    "/audio/transcriptions",
    responses={**text_answers(can_stream=True), **_UPLOAD_ERRORS},
    openapi_extensions=TRANSCRIPTION_FORM,
)
def create_transcription() -> Response:
    """The recording's text; see OpenAI's reference for the fields."""
    return _write_text("transcribe")


@openai_api.post(
    "/audio/translations",
    responses={**text_answers(can_stream=False), **_UPLOAD_ERRORS},
    openapi_extensions=TRANSLATION_FORM,
)
def create_translation() -> Response:
    """The recording's text in English."""
    return _write_text("translate")


@openai_api.get("/models", responses={"200": answer(OpenAIModelsAnswer)})
def list_openai_models() -> Response:
    """The models that can be asked for; first OpenAI's name, which means the default."""
    own = [model["name"] for model in current_system().models()["models"]]
    first = _model(WHISPER_1, current_system().default_model())
    return jsonify(object="list", data=[first, *(_model(name, name) for name in own)])


@openai_api.get("/models/<path:model>", responses={"200": answer(OpenAIModelAnswer), **error_answers(404)})
def get_openai_model(path: OpenAIModelPath) -> Response:
    """One model. The header openai-model has this server's name of it."""
    own = own_model(path.model)
    response = jsonify(_model(path.model, own))
    response.headers["openai-model"] = _in_header(own)
    return response


@openai_api.after_request
def tell_not_to_retry(response: Response) -> Response:
    """OpenAI's clients send a file again after 409 and 5xx, unless they are told that it would be in vain."""
    if "openai_task_ended" in g:
        response.headers["x-should-retry"] = "false"
    return response


def _write_text(kind: TaskKind) -> Response:
    form = AudioForm(kind)
    upload = UploadForm(read=form.read)
    if _prefers_async():
        return _accepted(receive_task(upload), form.wanted)
    with ExitStack() as stack:
        submission, watch = stack.enter_context(following_upload(upload))
        if form.wanted.is_streamed:
            response = stream_answer(watch, form.wanted)
            response.call_on_close(stack.pop_all().close)
        else:
            response = write_answer(_result(watch), form.wanted)
    return _with_headers(response, submission, form.wanted)


def _result(watch: TaskWatch) -> Result:
    try:
        return watch.result()
    except UnavailableError:
        raise
    except TranscriptionServerError:
        g.openai_task_ended = True
        raise


def _accepted(submission: Submission, wanted: Wanted) -> Response:
    response = jsonify(task=current_tasks().task_json(submission.task), duplicate_of=submission.duplicate_of)
    response.status_code = 202
    response.headers["Location"] = url_for("api.get_task", id=submission.task.task.id)
    response.headers["Preference-Applied"] = _ASYNC
    return _with_headers(response, submission, wanted)


def _with_headers(response: Response, submission: Submission, wanted: Wanted) -> Response:
    response.headers["openai-model"] = _in_header(wanted.model)
    return with_task_headers(response, submission, wanted.ignored_fields)


def _in_header(model: str) -> str:
    """A model that was brought may have a name in any script, and headers have no letters beyond Latin-1's."""
    return quote(model, safe="+@")


def _prefers_async() -> bool:
    preferences = ",".join(request.headers.getlist("Prefer")).split(",")
    return any(preference.partition(";")[0].strip().lower() == _ASYNC for preference in preferences)


def _model(name: str, own: str) -> dict[str, object]:
    """own: our name of it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "openai" if own in MODELS else "local"}
