"""What is no request, or too large for one: refused in the API's shape, with its headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.web.raw_client import FILE_START, RawClient, send_recording, upload_head
from tests.web.running_server import RunningServer
from web.http.security import headers_of_every_answer
from web.server.refusals import ALL, Refusal
from web.tasks.uploads import MAX_PARTS

pytestmark = pytest.mark.server

ALWAYS = [name for name in headers_of_every_answer("") if name != "X-Request-Id"]
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server")) as running, running.outliving_tests():
        yield running


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "address_too_long"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 150 + b"\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 40_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\n\r\n", 417, "unknown_expectation"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: tea\r\n\r\n", 501, "unknown_transfer_coding"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_request_is_refused_as_the_api_refuses(
    server: RunningServer, sent: bytes, status: int, code: str
) -> None:
    with RawClient(server.port) as client:
        client.send(sent)
        answer = client.answer()
        assert (answer.status, answer.code, answer.headers["Connection"]) == (status, code, "close")
        assert [name for name in ALWAYS if name not in answer.headers] == []
        assert client.is_closed()
    assert not [line for line in server.lines if "ERROR" in line or "Traceback" in line]


@pytest.mark.parametrize("refusal", ALL, ids=lambda refusal: refusal.code)
def test_every_refusal_has_the_headers_of_every_answer(refusal: Refusal) -> None:
    head, _, body = refusal.encode().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    names = {line.partition(":")[0] for line in lines[1:]}
    assert lines[0].startswith(f"HTTP/1.1 {refusal.status.value} ")
    assert {*ALWAYS, "X-Request-Id", "Content-Type", "Content-Length", "Connection"} <= names
    assert ("Retry-After" in names) == (refusal.status.value == 503)
    assert json.loads(body)["error"]["code"] == refusal.code


def test_an_address_may_name_five_hundred_tasks(server: RunningServer) -> None:
    with RawClient(server.port) as client:
        ids = ",".join(f"01M8HAN7BCS9J1W30Q71{number:06}" for number in range(500))
        client.request(f"GET /api/transcripts.zip?ids={ids} HTTP/1.1")
        answer = client.answer()
    assert (answer.status, answer.code) == (404, "task_not_found")


@pytest.mark.proves("S11")
def test_one_byte_above_each_limit_is_refused_before_the_rest_is_read(server: RunningServer) -> None:
    """Uploads by their announced and by their counted length, other bodies, parts and fields of forms, nested JSON."""
    limit = 20_000_000 + 256_000
    parts = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' * (MAX_PARTS + 1)
    announced = [
        (f"{upload_head(limit + 1)}", b"", 413, "too_large"),
        (f"PATCH /api/system HTTP/1.1\n{JSON}\nContent-Length: 64001", b"x" * 64_001, 413, "too_large"),
        (f"{upload_head(len(parts) + 7)}", parts + b"--b--\r\n", 413, "too_large"),
    ]
    for head, body, status, code in announced:
        with RawClient(server.port) as client:
            client.request(head, body)
            answer = client.answer()
            assert (answer.status, answer.code) == (status, code), head
    with RawClient(server.port) as client:
        nested = b"[" * 30_000 + b"]" * 30_000
        client.request(f"PATCH /api/system HTTP/1.1\n{JSON}\nContent-Length: {len(nested)}", nested)
        assert client.answer().code == "bad_request"
    with RawClient(server.port) as client:
        piece = bytes(1_000_000)
        client.request(upload_head(None), b"%x\r\n%s\r\n" % (len(FILE_START), FILE_START))
        with suppress(ConnectionError):  # the server may close its end before all is sent
            for _ in range(40):
                client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        assert client.answer().code == "too_large"
    send_recording(server.port, 19_000_000)  # below the limit
    assert sorted((server.data_dir / "incoming").iterdir()) == []


@pytest.mark.proves("S28")
def test_a_fault_of_ours_shows_no_trace_whatever_the_environment_says(tmp_path: Path) -> None:
    debugging = {"FLASK_DEBUG": "1", "DEBUG": "1", "FLASK_ENV": "development", "WERKZEUG_DEBUG_PIN": "off"}
    with RunningServer(tmp_path, "broken", env=debugging) as server:
        for path in ("/api/system", "/api/system?__debugger__=yes&cmd=resource&f=debugger.js"):
            with RawClient(server.port) as client:
                client.request(f"GET {path} HTTP/1.1\nAccept: text/html")
                answer = client.answer()
            assert (answer.status, answer.code) == (500, "internal")
            assert b"SECRET-OF-THE-TRACEBACK" not in answer.body
            assert b"Traceback" not in answer.body
            assert b"File " not in answer.body
        with RawClient(server.port) as client:
            client.request("GET /console HTTP/1.1\nAccept: application/json")
            assert client.answer().status == 404
    assert any("SECRET-OF-THE-TRACEBACK" in line for line in server.lines)
