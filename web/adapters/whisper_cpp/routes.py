"""The address of whisper.cpp's server. An upload is a task like any other; the answer comes when that is done."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from web.adapters.answer_headers import with_task_headers
from web.adapters.upload import following_upload
from web.adapters.whisper_cpp.answers import write_answer
from web.adapters.whisper_cpp.form import InferenceForm
from web.adapters.whisper_cpp.schemas import INFERENCE_FORM, error_answers, text_answers
from web.tasks.uploads import UploadForm

whisper_cpp = APIBlueprint(
    "whisper_cpp", __name__, abp_tags=[Tag(name="whisper.cpp")], abp_responses=error_answers(401, 429, 503)
)


@whisper_cpp.post(
    "/inference",
    responses={**text_answers(), **error_answers(400, 403, 409, 413, 500, 507)},
    openapi_extensions=INFERENCE_FORM,
)
def infer() -> Response:
    """The recording's text; see the documentation of whisper.cpp's server for the fields."""
    form = InferenceForm()
    with following_upload(UploadForm(read=form.read)) as (submission, watch):
        response = write_answer(watch.result(), form.wanted)
    return with_task_headers(response, submission, form.wanted.ignored_fields)
