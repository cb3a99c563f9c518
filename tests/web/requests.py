"""Requests that several test modules send."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart
from werkzeug.wrappers import Response

from web.http.error_shapes import Fault, shaped

RECORDING = b"fLaC and then sound"


def send(client: FlaskClient, data: bytes = RECORDING, name: str = "interview.flac", **fields: Any) -> TestResponse:
    """POST /api/tasks. `headers` among the fields are the request's."""
    headers = fields.pop("headers", {})
    boundary, body = encode_multipart({**fields, "file": FileStorage(BytesIO(data), filename=name)})
    return client.post(
        "/api/tasks", data=body, content_type=f"multipart/form-data; boundary={boundary}", headers=headers
    )


def error_of(response: Response) -> tuple[int, str, str | None]:
    """(status, code, field). Checks the shape that all errors have."""
    error = response.get_json()["error"]
    assert set(error) == {"code", "message", "field", "request_id"}
    assert error["request_id"] == response.headers["X-Request-Id"]
    return response.status_code, error["code"], error["field"]


def is_refused(response: Response, address: str, status: int, code: str) -> bool:
    """Whether it is this error of ours, in the shape that the address gives to errors."""
    expected, body = shaped(address, Fault(status, code, "", ""))
    sent = response.get_json()
    if not isinstance(body.get("error"), dict):  # a shape that has no codes
        return (response.status_code, set(sent)) == (expected, set(body))
    error = sent["error"]
    return (response.status_code, set(error), error["code"]) == (expected, set(body["error"]), body["error"]["code"])
