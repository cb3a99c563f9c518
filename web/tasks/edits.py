"""What people change in transcripts, over HTTP. See docs/api.md, and whisper_core/editing for what an edit does."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from optimizer.editing.transcript_editor import Edited
from optimizer.storage.edit_rows import EditStep
from web.http.answer_schemas import AcceptedAnswer, ErrorAnswer, answer, error_responses
from web.http.edit_schemas import (
    EditConflictAnswer,
    EditedAnswer,
    EditsAnswer,
    EditsBody,
    EditsQuery,
    SegmentsAgain,
    StepBody,
)
from web.http.request_schemas import TaskPath
from web.http.serializers import timestamp
from web.http.task_access import current_tasks
from web.tasks.again import transcribe_segments
from web.tasks.routes import accepted
from whisper_core.editing.history import EditHistory

edits_api = APIBlueprint(
    "edits_api",
    __name__,
    url_prefix="/api/tasks/<id>/edits",
    abp_tags=[Tag(name="edits")],
    abp_responses=error_responses(401, 404, 409, 410, 422, 429, 503),
)
MAX_BODY_BYTES = 256_000  # the ids of as many segments as one edit may name take more than half of it
_CHANGED = {
    "200": answer(EditedAnswer),
    **error_responses(400, 403, 413, 507),
    "409": answer(EditConflictAnswer, ErrorAnswer),
}


@edits_api.before_request
def _take_long_lists() -> None:
    request.max_content_length = MAX_BODY_BYTES


@edits_api.get("", responses={"200": answer(EditsAnswer)})
def list_edits(path: TaskPath, query: EditsQuery) -> Response:
    """What people changed, newest first."""
    text = current_tasks().text_of(path.id)
    history, steps = text.history(), text.steps(query.limit + 1, query.before)
    shown = steps[: query.limit]
    in_force = set(history.done)
    return jsonify(
        **_state_json(history),
        edits=[_step_json(step, in_force) for step in shown],
        next_before=shown[-1].number if len(steps) > len(shown) else None,
    )


@edits_api.post("", responses=_CHANGED)
def add_edits(path: TaskPath, body: EditsBody) -> Response:
    """Change the text of a completed task. All of the edits are made, as one step, or none."""
    edited = current_tasks().text_of(path.id).edit(body.base, [each.edit() for each in body.edits])
    return jsonify(_edited_json(edited, body))


@edits_api.post("/undo", responses=_CHANGED)
def undo_edits(path: TaskPath, body: StepBody) -> Response:
    """Take the last step back that is in force."""
    return jsonify(_edited_json(current_tasks().text_of(path.id).undo(body.base), body))


@edits_api.post("/redo", responses=_CHANGED)
def redo_edits(path: TaskPath, body: StepBody) -> Response:
    """Take the step again that was undone last."""
    return jsonify(_edited_json(current_tasks().text_of(path.id).redo(body.base), body))


@edits_api.post(
    "/retranscribe",
    responses={
        "202": answer(AcceptedAnswer),
        "200": answer(AcceptedAnswer),
        **error_responses(400, 403, 413, 415, 507),
        "409": answer(EditConflictAnswer, ErrorAnswer),
    },
)
def transcribe_segments_again(path: TaskPath, body: SegmentsAgain) -> Response:
    """Have another model do some segments again, by a new task. 200 when there is such a task already."""
    return accepted(transcribe_segments(path.id, body.base, body.segments, body.model))


def _state_json(history: EditHistory) -> dict[str, Any]:
    return {
        "version": history.version,
        "edited": history.is_edited,
        "can_undo": bool(history.done),
        "can_redo": bool(history.undone),
    }


def _edited_json(edited: Edited, sent: StepBody) -> dict[str, Any]:
    history, order = edited.after, None
    segments = history.text.segments
    if sent.answer == "changes":
        segments = tuple(history.changed_since(sent.base))
        if sent.base != edited.before.version or edited.has_new_order:
            order = [segment.id for segment in history.text.segments]
    return {
        **_state_json(history),
        "segments": [segment.to_dict() for segment in segments],
        "order": order,
        "speakers": dict(history.text.speakers),
        "made": {str(local): segment_id for local, segment_id in edited.made.items()},
    }


def _step_json(step: EditStep, in_force: set[int]) -> dict[str, Any]:
    return {
        "number": step.number,
        "author": step.author,
        "at": timestamp(step.at),
        "kind": step.kind,
        "data": step.data,
        "undone": step.kind not in ("undo", "redo") and step.number not in in_force,
    }
