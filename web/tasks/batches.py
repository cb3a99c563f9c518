"""Many tasks at once: batches of uploads, and cancelling all that a filter finds."""

from __future__ import annotations

from flask import Response, jsonify
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from web.http.answer_schemas import answer, error_responses
from web.http.batch_schemas import BatchListAnswer, CancelledAnswer
from web.http.list_query import BatchListQuery, BatchPath, BatchQuery, CancelBody
from web.http.task_access import current_tasks

batches = APIBlueprint(
    "batches",
    __name__,
    url_prefix="/api",
    abp_tags=[Tag(name="tasks")],
    abp_responses=error_responses(401, 422, 429, 503),
)


@batches.get("/batches", responses={"200": answer(BatchListAnswer)})
def list_batches(query: BatchListQuery) -> Response:
    """The batches, those with the latest uploads first, a page at a time."""
    own = current_tasks()
    page = own.batches(query.limit, query.cursor)
    return jsonify(batches=[own.batch_json(batch) for batch in page.batches], next_cursor=page.next_cursor)


@batches.delete("/batches/<id>", responses={"200": answer(CancelledAnswer), **error_responses(403, 404)})
def cancel_batch(path: BatchPath, query: BatchQuery) -> Response:
    """Cancel what is not finished of a batch. Its finished tasks stay. Harmless when repeated."""
    return jsonify(cancelled=current_tasks().cancel_batch(path.id, query.owner))


@batches.post("/tasks/cancel", responses={"200": answer(CancelledAnswer), **error_responses(400, 403, 413)})
def cancel_tasks(body: CancelBody) -> Response:
    """Cancel all tasks that a filter finds and that are not finished."""
    return jsonify(cancelled=current_tasks().cancel_all(body.wanted()))
