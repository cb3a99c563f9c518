"""Errors as an API's clients know them, by the address that was asked for: ours, and those of other projects' APIs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What went wrong, in our own words and with our own status."""

    status: int
    code: str
    message: str
    request_id: str
    field: str | None = None


Shaped = tuple[int, dict[str, Any]]  # status and body


def shaped(path: str, fault: Fault) -> Shaped:
    """The status and the JSON with which that address answers. path: without a query."""
    for prefix, shape in _SHAPES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return shape(fault)
    return fault.status, error_body(fault.code, fault.message, fault.request_id, fault.field)


def is_foreign(path: str) -> bool:
    """Whether it is an address of another project's API, where nobody looks for a page."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in _SHAPES)


def error_body(code: str, message: str, request_id: str, field: str | None = None) -> dict[str, Any]:
    """The shape of our own API's errors."""
    return {"error": {"code": code, "message": message, "field": field, "request_id": request_id}}


# --- OpenAI ----------------------------------------------------------------------------------------------------------

_OPENAI_CODES = {
    "invalid_option": "invalid_value",
    "method_not_allowed": "method_not_supported",
    "missing_file": "missing_required_parameter",
    "not_authenticated": "invalid_api_key",
    "not_found": "unknown_url",
    "rate_limited": "rate_limit_exceeded",
    "unknown_model": "model_not_found",
}
_OPENAI_STATUSES: dict[str | int, int] = {  # by our own codes and statuses
    "unknown_model": HTTPStatus.NOT_FOUND,
    HTTPStatus.UNPROCESSABLE_ENTITY: HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.BAD_REQUEST,
    HTTPStatus.INSUFFICIENT_STORAGE: HTTPStatus.SERVICE_UNAVAILABLE,
}


def _as_openai(fault: Fault) -> Shaped:
    """All four keys are always there. Codes that OpenAI does not have are our own."""
    status = int(_OPENAI_STATUSES.get(fault.code) or _OPENAI_STATUSES.get(fault.status, fault.status))
    detail = {
        "message": fault.message,
        "type": _openai_type(status),
        "param": fault.field,
        "code": _OPENAI_CODES.get(fault.code, fault.code),
    }
    return status, {"error": detail}


def _openai_type(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "requests"
    is_servers = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return "server_error" if is_servers else "invalid_request_error"


# --- whisper-asr-webservice ------------------------------------------------------------------------------------------


def _as_fastapi(fault: Fault) -> Shaped:
    """As FastAPI has it: a sentence; or where a parameter or the file is at fault, a list with its place."""
    if fault.code == "missing_file":
        return HTTPStatus.UNPROCESSABLE_ENTITY, _fastapi_fault("missing", "body", fault)
    if fault.status == HTTPStatus.UNPROCESSABLE_ENTITY and fault.field is not None:
        return fault.status, _fastapi_fault(fault.code, "query", fault)
    return fault.status, {"detail": fault.message}


def _fastapi_fault(kind: str, place: str, fault: Fault) -> dict[str, Any]:
    return {"detail": [{"type": kind, "loc": [place, fault.field], "msg": fault.message, "input": None}]}


# --- whisper.cpp -----------------------------------------------------------------------------------------------------


_CPP_BAD_REQUESTS = (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def _as_whisper_cpp(fault: Fault) -> Shaped:
    """One sentence, which names the field at fault."""
    status = HTTPStatus.BAD_REQUEST if fault.status in _CPP_BAD_REQUESTS else fault.status
    return status, {"error": fault.message if fault.field is None else f"{fault.field}: {fault.message}"}


_SHAPES: dict[str, Callable[[Fault], Shaped]] = {
    "/v1": _as_openai,
    "/asr": _as_fastapi,
    "/detect-language": _as_fastapi,
    "/inference": _as_whisper_cpp,
}
