"""Links to a transcript for people without an account: made, listed and revoked by those who may see its task."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Response, jsonify
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from errors import TranscriptNotReadyError
from optimizer.common.text import iso_time
from optimizer.sharing.shares import Share
from optimizer.tasks.task import TaskStatus
from web.http.answer_schemas import answer, error_responses
from web.http.context import current_system
from web.http.request_schemas import TaskPath
from web.http.share_schemas import NewShare, NewShareAnswer, SharePath, SharesAnswer
from web.http.task_access import current_tasks

shares_api = APIBlueprint(
    "shares_api",
    __name__,
    url_prefix="/api/tasks/<id>/shares",
    abp_tags=[Tag(name="shares")],
    abp_responses=error_responses(401, 404, 429, 503),
)


@shares_api.get("", responses={"200": answer(SharesAnswer)})
def list_shares(path: TaskPath) -> Response:
    """The links that still lead somewhere. Their addresses are not shown again."""
    task_id = current_tasks().task(path.id).task.id
    return jsonify(shares=[_share_json(share) for share in current_system().shares.of_task(task_id)])


@shares_api.post("", responses={"201": answer(NewShareAnswer), **error_responses(400, 403, 409, 413, 422, 507)})
def add_share(path: TaskPath, body: NewShare) -> Response:
    """A link to the transcript of a finished task. Whoever has it can read, without an account."""
    own = current_tasks()
    task = own.task(path.id).task
    if task.status is not TaskStatus.COMPLETED:
        raise TranscriptNotReadyError()
    lifetime = None if body.days is None else timedelta(days=body.days)
    share, token = current_system().shares.add(task.id, lifetime, has_media=body.media)
    own.audit("share_added", task_id=task.id, share_id=share.id)
    response = jsonify(share=_share_json(share), path=f"s/{token}")
    response.status_code = 201
    return response


@shares_api.delete("/<share_id>", responses={"204": None, **error_responses(403, 507)})
def remove_share(path: SharePath) -> Response:
    """Whoever has the link cannot read any more."""
    own = current_tasks()
    task_id = own.task(path.id).task.id
    current_system().shares.revoke(task_id, path.share_id)
    own.audit("share_removed", task_id=task_id, share_id=path.share_id)
    return Response(status=204)


def _share_json(share: Share) -> dict[str, Any]:
    return {
        "id": share.id,
        "created_at": iso_time(share.created_at),
        "expires_at": None if share.expires_at is None else iso_time(share.expires_at),
        "media": share.has_media,
    }
