"""Turns every exception of a request into an answer: an error in the API's JSON, or a small page for a browser.

STATUS_OF gives the HTTP status of each error of the project; one that is not in it is the server's own fault, 500.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, current_app, render_template_string, request
from flask.typing import ResponseReturnValue
from gunicorn.http.errors import ParseException
from pydantic import ValidationError
from werkzeug.exceptions import BadRequest, ClientDisconnected, HTTPException, RequestTimeout
from werkzeug.wrappers import Response

import errors
from web.http.error_shapes import Fault, is_foreign, shaped
from web.http.security import REQUEST_ID
from whisper_core.editing.edits import KINDS

log = logging.getLogger(__name__)

CHECKSUM_MISMATCH = 460  # tus 1.0's own

# Every error that is meant to reach a request; tests/web/http/test_errors.py fails when one is left out.
STATUS_OF: dict[type[errors.TranscriptionServerError], int] = {
    errors.BadRequestError: HTTPStatus.BAD_REQUEST,
    errors.MissingFileError: HTTPStatus.BAD_REQUEST,
    errors.EmptyFileError: HTTPStatus.BAD_REQUEST,
    errors.FileTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.NoAudioStreamError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.AudioTooLongError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidOptionError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownModelError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TrackNotFoundError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IdempotencyMismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IdempotencyInFlightError: HTTPStatus.CONFLICT,
    errors.ProtocolVersionError: HTTPStatus.PRECONDITION_FAILED,
    errors.OffsetMismatchError: HTTPStatus.CONFLICT,
    errors.ChecksumMismatchError: CHECKSUM_MISMATCH,
    errors.UploadBusyError: HTTPStatus.LOCKED,
    errors.LinkNotAllowedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.LinkUnreachableError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.LinkAnswerError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.LinkTooSlowError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.LinkIncompleteError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.AlreadyFinishedError: HTTPStatus.CONFLICT,
    errors.TaskCancelledError: HTTPStatus.CONFLICT,
    errors.EditConflictError: HTTPStatus.CONFLICT,
    errors.TranscriptNotReadyError: HTTPStatus.CONFLICT,
    errors.WaveformNotReadyError: HTTPStatus.CONFLICT,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.TaskNotFoundError: HTTPStatus.NOT_FOUND,
    errors.BatchNotFoundError: HTTPStatus.NOT_FOUND,
    errors.UploadNotFoundError: HTTPStatus.NOT_FOUND,
    errors.WebhookNotFoundError: HTTPStatus.NOT_FOUND,
    errors.ShareNotFoundError: HTTPStatus.NOT_FOUND,
    errors.FileMissingError: HTTPStatus.GONE,
    errors.MediaRemovedError: HTTPStatus.GONE,
    errors.NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.QueueFullError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.QuotaExceededError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyWaitingError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.DiskFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.StoreBusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ShuttingDownError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NoLeaderError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.FfmpegMissingError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TranscriptionServerError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

# Our own words for werkzeug's errors: its descriptions may quote the request.
_HTTP_ERRORS = {
    400: ("bad_request", "The request cannot be understood."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not know that method."),
    408: ("timeout", "The request took too long to arrive."),
    413: ("too_large", "The request is larger than this server accepts."),
    415: ("unsupported_type", "The request's content type is not accepted here."),
    416: ("range_not_satisfiable", "The file has no such range."),
}
_MACHINE_PATHS = ("/api/", "/healthz", "/readyz", "/openapi")
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ status }}</title></head>
<body><h1>{{ message }}</h1><p><a href="{{ request.script_root }}/">To the start page</a></p><p>{{ request_id }}</p>
</body></html>"""
_QUOTABLE_FIELD = 40  # characters at most, because the client chose the name


def register_error_answers(app: Flask) -> None:
    app.register_error_handler(errors.TranscriptionServerError, _own_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ParseException, _unreadable_body)
    app.register_error_handler(Exception, _unexpected_error)


def status_of(error_class: type[errors.TranscriptionServerError]) -> int:
    """The HTTP status of this class of errors."""
    return STATUS_OF.get(error_class, HTTPStatus.INTERNAL_SERVER_ERROR)


def raise_validation_error(error: ValidationError) -> Response:
    """Called by flask-openapi3. Reports the first fault in our own words and never repeats the value that was sent.

    Raises InvalidOptionError, or BadRequestError when the fault is not about one field.
    """
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in _without_tag(fault["loc"]))[:_QUOTABLE_FIELD] or None
    if field is None:
        raise errors.BadRequestError("The request's body is not the JSON object that is expected here.")
    if fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        raise errors.InvalidOptionError("There is no edit of this kind.", field=f"{field}.kind")
    if fault["type"] == "extra_forbidden":
        raise errors.InvalidOptionError("There is no field of this name.", field=field)
    raise errors.InvalidOptionError(f"{fault['msg'].removeprefix('Value error, ')}.", field=field)


def _without_tag(place: Sequence[int | str]) -> Sequence[int | str]:
    """pydantic puts the kind of an edit between its number and its field."""
    match place:
        case ("edits", int(), str(), _, *_):
            return (*place[:2], *place[3:])
        case ("edits", int(), str()):
            return place if place[2] not in KINDS else place[:2]
    return place


def _own_error(error: errors.TranscriptionServerError) -> ResponseReturnValue:
    status = status_of(type(error))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, errors.UnavailableError):
        log.error("request=%s code=%s", _request_id(), error.code, exc_info=error)
    more = {"present": error.present} if isinstance(error, errors.EditConflictError) else {}
    response = _answer(status, error.code, error.message, error.field, more)
    if isinstance(error, errors.UnavailableError):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.NotAuthenticatedError):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if isinstance(error, ClientDisconnected) and isinstance(error.__context__, TimeoutError):
        error = RequestTimeout()  # the body came too slowly
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error.get_response()
    code, message = _HTTP_ERRORS.get(error.code, (f"http_{error.code}", HTTPStatus(error.code).phrase + "."))
    response = _answer(error.code, code, message)
    for name in ("Allow", "Content-Range"):
        if value := error.get_response().headers.get(name):
            response.headers[name] = value
    return response


def _unreadable_body(_: Exception) -> ResponseReturnValue:
    """gunicorn parses a chunked body while we read it. It closes the connection after this answer."""
    return _http_error(BadRequest())


def _unexpected_error(error: Exception) -> ResponseReturnValue:
    log.error("request=%s method=%s event=failed", _request_id(), request.method, exc_info=error)
    public = errors.TranscriptionServerError()
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, public.code, public.message)


def _answer(
    status: int, code: str, message: str, field: str | None = None, more: Mapping[str, Any] | None = None
) -> Response:
    if _wants_page():
        page = render_template_string(_PAGE, status=status, message=message, request_id=_request_id())
        return Response(page, status, mimetype="text/html")
    status, body = shaped(request.path, Fault(status, code, message, _request_id(), field))
    return Response(current_app.json.dumps({**body, **(more or {})}), status, mimetype="application/json")


def _wants_page() -> bool:
    is_for_machines = request.path.startswith(_MACHINE_PATHS) or is_foreign(request.path)
    return not is_for_machines and request.accept_mimetypes.accept_html


def _request_id() -> str:
    return str(request.environ.get(REQUEST_ID, ""))
