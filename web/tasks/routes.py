"""The tasks, models and system of the REST API, see docs/api.md. The files are in `uploads` and `downloads`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Response, jsonify, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from errors import InvalidOptionError
from optimizer.intake.option_values import OptionTexts
from optimizer.intake.task_form import BATCH_FIELDS, FILE_FIELD, MAX_KEY_CHARACTERS, OPTION_FIELDS
from optimizer.views.task_view import Submission, TaskView
from web.http.answer_schemas import (
    AcceptedAnswer,
    ModelsAnswer,
    TaskAnswer,
    TaskListAnswer,
    TimelineAnswer,
    answer,
    error_responses,
)
from web.http.context import current_system
from web.http.list_query import TaskListQuery
from web.http.owner import owner_of
from web.http.request_schemas import AgainBody, ModelPath, SpeakersChoice, SystemPatch, TaskPatch, TaskPath, TrackChoice
from web.http.serializers import counts_json, task_event_json
from web.http.system_schemas import FetchAnswer, SystemAnswer
from web.http.task_access import current_tasks
from web.tasks.again import tell_speakers, transcribe_again, transcribe_track
from web.tasks.uploads import receive_task

_TASKS, _SYSTEM = Tag(name="tasks"), Tag(name="system")

api = APIBlueprint("api", __name__, url_prefix="/api", abp_responses=error_responses(401, 429, 503))

_RECEIVE_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        FILE_FIELD: {"type": "string", "format": "binary"},
                        **{name: {"type": "string"} for name in (*OPTION_FIELDS, *BATCH_FIELDS)},
                    },
                    "required": [FILE_FIELD],
                    "additionalProperties": False,
                }
            }
        },
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "makes sending again harmless: the same key, file and options give the same task",
            "schema": {"type": "string", "maxLength": MAX_KEY_CHARACTERS},
        },
        {
            "name": "track",
            "in": "query",
            "required": False,
            "description": "as the form field of this name",
            "schema": {"type": "string"},
        },
    ],
}


@api.post(
    "/tasks",
    tags=[_TASKS],
    responses={
        "202": answer(AcceptedAnswer),
        "200": answer(AcceptedAnswer),
        **error_responses(400, 403, 409, 413, 415, 422, 429, 507),
    },
    openapi_extensions=_RECEIVE_REQUEST,
)
def create_task() -> Response:
    """Send one recording; the answer is its task. 200 instead of 202 when the Idempotency-Key was known."""
    return accepted(receive_task())


def accepted(submission: Submission) -> Response:
    """The new task, or the one that there was."""
    task = current_tasks().task_json(submission.task)
    response = jsonify(task=task, duplicate_of=submission.duplicate_of)
    if submission.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    else:
        response.status_code = 202
    return response


@api.get("/tasks", tags=[_TASKS], responses={"200": answer(TaskListAnswer), **error_responses(403, 404, 422)})
def list_tasks(query: TaskListQuery) -> Response:
    """The tasks, newest first unless another order is asked for, a page at a time."""
    own = current_tasks()
    wanted = replace(
        query.wanted(),
        sha256=query.sha256,
        sort=query.task_sort(),
        is_descending=None if query.order is None else query.order == "desc",
        limit=query.limit,
        cursor=query.cursor,
    )
    if query.owner is not None:
        own.check_is_shown_owners()
    if query.sha256 is not None:
        wanted = replace(wanted, owner=owner_of(request))
    if query.same_recording_as is not None:
        like = own.task(query.same_recording_as).task
        if query.sha256 not in (None, like.sha256):
            raise InvalidOptionError("This task is of a file with another sha256.", field="same_recording_as")
        wanted = replace(wanted, sha256=like.sha256, owner=like.owner)
    views, next_cursor, counts = own.tasks(wanted)
    return jsonify(tasks=[own.task_json(view) for view in views], next_cursor=next_cursor, counts=counts_json(counts))


@api.get("/tasks/<id>", tags=[_TASKS], responses={"200": answer(TaskAnswer), **error_responses(404)})
def get_task(path: TaskPath) -> Response:
    """One task."""
    return _answer(current_tasks().task(path.id))


@api.get("/tasks/<id>/timeline", tags=[_TASKS], responses={"200": answer(TimelineAnswer), **error_responses(404)})
def get_timeline(path: TaskPath) -> Response:
    """What happened to one task, oldest first."""
    events = current_tasks().timeline(path.id)
    return jsonify(events=[task_event_json(event) for event in events])


@api.patch(
    "/tasks/<id>", tags=[_TASKS], responses={"200": answer(TaskAnswer), **error_responses(400, 403, 404, 409, 413, 422)}
)
def change_task(path: TaskPath, body: TaskPatch) -> Response:
    """Change what a task is called, its note and tags, or a waiting task's priority: all of it, or nothing. Or move it
    within the line."""
    if (other := body.neighbour()) is not None:
        return _answer(current_tasks().move(path.id, other, is_before=body.before is not None))
    return _answer(current_tasks().change(path.id, body.changes()))


@api.post("/tasks/<id>/cancel", tags=[_TASKS], responses={"200": answer(TaskAnswer), **error_responses(403, 404, 409)})
def cancel_task(path: TaskPath) -> Response:
    """Stop a task that is not finished. Harmless when repeated."""
    return _answer(current_tasks().cancel(path.id))


@api.post(
    "/tasks/<id>/retry", tags=[_TASKS], responses={"200": answer(TaskAnswer), **error_responses(403, 404, 409, 410)}
)
def retry_task(path: TaskPath) -> Response:
    """Begin a failed or cancelled task anew."""
    return _answer(current_tasks().retry(path.id))


@api.post(
    "/tasks/<id>/track",
    tags=[_TASKS],
    responses={
        "202": answer(AcceptedAnswer),
        "200": answer(AcceptedAnswer),
        **error_responses(400, 403, 404, 409, 410, 413, 415, 422, 429, 507),
    },
)
def transcribe_another_track(path: TaskPath, body: TrackChoice) -> Response:
    """Transcribe another sound track of a task's file, as a new task. 200 when there was such a task already."""
    track = OptionTexts({"track": str(body.track).strip()}).track("track")
    if track is None:
        raise InvalidOptionError("Name a track: its number, or its language.", field="track")
    return accepted(transcribe_track(path.id, track))


@api.post(
    "/tasks/<id>/again",
    tags=[_TASKS],
    responses={
        "202": answer(AcceptedAnswer),
        "200": answer(AcceptedAnswer),
        **error_responses(400, 403, 404, 409, 410, 413, 415, 422, 429, 507),
    },
)
def transcribe_with_other_options(path: TaskPath, body: AgainBody) -> Response:
    """Transcribe a task's file with other options, as a new task. 200 when there was such a task already."""
    return accepted(transcribe_again(path.id, body.fields()))


@api.post(
    "/tasks/<id>/speakers",
    tags=[_TASKS],
    responses={
        "202": answer(AcceptedAnswer),
        "200": answer(AcceptedAnswer),
        **error_responses(400, 403, 404, 409, 410, 413, 415, 422, 429, 507),
    },
)
def tell_speakers_apart(path: TaskPath, body: SpeakersChoice) -> Response:
    """Tell a completed task's speakers apart, by a task that goes when they are known. 200 while it is under way."""
    return accepted(tell_speakers(path.id, body.num_speakers))


@api.delete("/tasks/<id>", tags=[_TASKS], responses={"204": None, **error_responses(403, 404, 409)})
def delete_task(path: TaskPath) -> Response:
    """Remove a task with its recording and its text."""
    current_tasks().delete(path.id)
    return Response(status=204)


@api.get("/models", tags=[_SYSTEM], responses={"200": answer(ModelsAnswer)})
def get_models() -> Response:
    """The models: what they take, whether their weights are here, where they are loaded."""
    return jsonify(current_system().models())


@api.post("/models/<name>/fetch", tags=[_SYSTEM], responses={"202": answer(FetchAnswer), **error_responses(403, 422)})
def fetch_model(path: ModelPath) -> Response:
    """Fetch a model's weights in the background."""
    current_system().fetch_model(path.name)
    current_tasks().audit("model_fetched", model=path.name)
    response = jsonify(model=path.name)
    response.status_code = 202
    return response


@api.get("/system", tags=[_SYSTEM], responses={"200": answer(SystemAnswer)})
def get_system() -> Response:
    """Devices and their memory, counts, throughput, settings in force, advice."""
    return jsonify(current_tasks().status())


@api.patch("/system", tags=[_SYSTEM], responses={"200": answer(SystemAnswer), **error_responses(400, 403, 413, 422)})
def change_system(body: SystemPatch) -> Response:
    """Change the limits until the next restart."""
    limits = body.model_dump(exclude_none=True)
    status = current_system().set_limits(**limits)
    current_tasks().audit("limits_changed", **limits)
    return jsonify(status)


def _answer(view: TaskView) -> Response:
    return jsonify(task=current_tasks().task_json(view))
