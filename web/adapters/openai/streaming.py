"""A text as server-sent events, while its windows are finished."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from flask import Response, current_app, request
from werkzeug.exceptions import ClientDisconnected

from errors import TranscriptionServerError
from optimizer.common import strict_json
from web.adapters.openai.answers import speaker_segments, text_body
from web.adapters.openai.form import DIARIZED, Wanted
from web.adapters.waiting import TaskWatch
from web.http.error_shapes import Fault, shaped
from web.http.errors import status_of
from web.http.security import REQUEST_ID

log = logging.getLogger(__name__)

_COMMENT = ":\n\n"  # which clients skip, and which keeps proxies from thinking that nothing will come


def stream_answer(watch: TaskWatch, wanted: Wanted) -> Response:
    """Its body follows the task; whoever made the watch ends it when the body is closed."""
    events = _events(watch, wanted, request.path, str(request.environ.get(REQUEST_ID, "")))
    response = current_app.response_class(events, mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would collect events
    return response


def _events(watch: TaskWatch, wanted: Wanted, path: str, request_id: str) -> Iterator[str]:
    yield _COMMENT
    try:
        yield from _text(watch, wanted)
    except ClientDisconnected:
        return
    except TranscriptionServerError as error:
        log.info("request=%s task=%s code=%s", request_id, watch.task_id, error.code)
        yield _error(error, path, request_id)
    except Exception as error:
        log.error("request=%s task=%s event=failed", request_id, watch.task_id, exc_info=error)
        yield _error(TranscriptionServerError(), path, request_id)


def _text(watch: TaskWatch, wanted: Wanted) -> Iterator[str]:
    """The pieces are the whole text when they are put together."""
    has_begun = False
    for segments in watch.segments():
        piece = "".join(segment.text for segment in segments)
        if not has_begun:
            piece = piece.lstrip()
        has_begun = has_begun or bool(piece)
        yield _event({"type": "transcript.text.delta", "delta": piece}) if piece else _COMMENT
    result = watch.result()
    if wanted.response_format == DIARIZED:  # only now it is known who said it
        for segment in speaker_segments(result):
            yield _event(segment)
    yield _event({"type": "transcript.text.done", **text_body(result, wanted)})


def _error(error: TranscriptionServerError, path: str, request_id: str) -> str:
    return _event(shaped(path, Fault(status_of(type(error)), error.code, error.message, request_id, error.field))[1])


def _event(data: dict[str, Any]) -> str:
    """With its type as the event's name, too, by which some clients go; an error has none."""
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {strict_json.dumps(data, ensure_ascii=False)}\n\n"
