"""The system over time: samples, decisions and the latest lines of the log. `tasks.routes` has its present state."""

from __future__ import annotations

from dataclasses import asdict

from flask import Response, jsonify
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from logs import recent_lines
from web.http.answer_schemas import answer, error_responses
from web.http.context import current_system
from web.http.request_schemas import HistoryQuery, LogQuery, SystemEventsQuery
from web.http.system_schemas import HistoryAnswer, LogAnswer, StorageAnswer, SystemEventsAnswer
from web.http.task_access import current_tasks

system_api = APIBlueprint(
    "system_api",
    __name__,
    url_prefix="/api/system",
    abp_tags=[Tag(name="system")],
    abp_responses=error_responses(401, 422, 429, 503),
)


@system_api.get("/history", responses={"200": answer(HistoryAnswer)})
def get_history(query: HistoryQuery) -> Response:
    """The monitor's samples, oldest first and thinned with age, and what was tuned meanwhile."""
    return jsonify(current_system().history(query.hours))


@system_api.get("/events", responses={"200": answer(SystemEventsAnswer), **error_responses(403)})
def get_events(query: SystemEventsQuery) -> Response:
    """What the system decided and changed, and why; newest first. The kind `audit` is what people did."""
    events = current_tasks().events(query.kind, query.limit, query.before)
    return jsonify(events=[asdict(event) for event in events])


@system_api.get("/storage", responses={"200": answer(StorageAnswer)})
def get_storage() -> Response:
    """What is used of the disk, and what is free; each person's own, for an admin everybody's."""
    return jsonify(current_tasks().storage_json())


@system_api.get("/log", responses={"200": answer(LogAnswer), **error_responses(403)})
def get_log(query: LogQuery) -> Response:
    """The newest lines of this server process's log, newest last; tracebacks are in the log itself."""
    return jsonify(lines=[asdict(line) for line in recent_lines(query.limit)])
