"""Errors as the clients of each API know them."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web.requests import error_of
from web.http.error_shapes import Fault, shaped
from web.server.refusals import BUSY


@pytest.mark.parametrize(
    ("code", "status", "field", "expected"),
    [
        ("invalid_option", 422, "temperature", (400, "invalid_request_error", "temperature", "invalid_value")),
        ("unknown_model", 422, "model", (404, "invalid_request_error", "model", "model_not_found")),
        ("unsupported_media", 415, None, (400, "invalid_request_error", None, "unsupported_media")),
        ("not_authenticated", 401, None, (401, "invalid_request_error", None, "invalid_api_key")),
        ("too_large", 413, "file", (413, "server_error", "file", "too_large")),
        ("rate_limited", 429, None, (429, "requests", None, "rate_limit_exceeded")),
        ("disk_full", 507, None, (503, "server_error", None, "disk_full")),
        ("internal", 500, None, (500, "server_error", None, "internal")),
    ],
)
def test_openai_s_addresses_answer_with_its_four_keys(
    code: str, status: int, field: str | None, expected: tuple[int, str, str | None, str]
) -> None:
    answered, body = shaped("/v1/audio/transcriptions", Fault(status, code, "Why.", "id", field))
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (answered, error["type"], error["param"], error["code"]) == expected
    assert error["message"] == "Why."


@pytest.mark.parametrize(
    ("code", "status", "field", "expected"),
    [
        ("missing_file", 400, "audio_file", (422, {"type": "missing", "loc": ["body", "audio_file"]})),
        ("invalid_option", 422, "output", (422, {"type": "invalid_option", "loc": ["query", "output"]})),
        ("no_audio_stream", 422, None, (422, None)),
        ("unsupported_media", 415, None, (415, None)),
        ("quota_exceeded", 429, None, (429, None)),
    ],
)
def test_asr_webservice_s_addresses_answer_as_fastapi(
    code: str, status: int, field: str | None, expected: tuple[int, dict[str, Any] | None]
) -> None:
    for address in ("/asr", "/detect-language"):
        answered, body = shaped(address, Fault(status, code, "Why.", "id", field))
        detail = "Why." if expected[1] is None else [{**expected[1], "msg": "Why.", "input": None}]
        assert (answered, body) == (expected[0], {"detail": detail})


@pytest.mark.parametrize(
    ("code", "status", "field", "expected"),
    [
        ("missing_file", 400, "file", (400, "file: Why.")),
        ("invalid_option", 422, "temperature", (400, "temperature: Why.")),
        ("unsupported_media", 415, None, (400, "Why.")),
        ("not_authenticated", 401, None, (401, "Why.")),
        ("queue_full", 429, None, (429, "Why.")),
        ("engine_error", 500, None, (500, "Why.")),
    ],
)
def test_whisper_cpp_s_address_answers_with_one_sentence(
    code: str, status: int, field: str | None, expected: tuple[int, str]
) -> None:
    assert shaped("/inference", Fault(status, code, "Why.", "id", field)) == (expected[0], {"error": expected[1]})


def test_other_addresses_answer_in_our_own_shape(client: FlaskClient) -> None:
    assert error_of(client.get("/v10/models")) == (404, "not_found", None)
    assert error_of(client.get("/api/v1")) == (404, "not_found", None)


def test_the_shape_goes_by_the_address_before_the_application_too(client: FlaskClient) -> None:
    """An unknown address, a foreign page, and a server that is too busy to look."""
    unknown = client.get("/v1/nothing", headers={"Accept": "text/html"})
    assert (unknown.status_code, unknown.get_json()["error"]["code"]) == (404, "unknown_url")
    foreign = client.post("/v1/nothing", headers={"Origin": "http://elsewhere.example"})
    assert (foreign.status_code, foreign.get_json()["error"]["type"]) == (403, "invalid_request_error")
    assert b'"type": "server_error"' in BUSY.encode("/v1/audio/transcriptions")
    assert b'"request_id"' in BUSY.encode("/api/tasks")
