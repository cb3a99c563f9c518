"""Answers that are given before the request's body has been read: the rest of it never becomes the next request."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from tests.web.raw_client import FILE_END, FILE_START, RawClient, upload_head
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

LIMIT_S = 60.0
MEGABYTE = 1_000_000
FORM = "Content-Type: multipart/form-data; boundary=b"
SMUGGLED = b"GET /api/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

# What is answered without reading the body: status, code, head, body.
EARLY = [
    (404, "not_found", "POST /nothing HTTP/1.1\nAccept: application/json", bytes(MEGABYTE)),
    (404, "task_not_found", f"POST /api/tasks/x/cancel HTTP/1.1\n{FORM}", bytes(MEGABYTE)),
    (405, "method_not_allowed", "PUT /api/tasks HTTP/1.1", bytes(MEGABYTE)),
    (403, "cross_origin", "POST /api/tasks HTTP/1.1\nOrigin: http://evil.example", bytes(MEGABYTE)),
    (413, "too_large", "PATCH /api/system HTTP/1.1\nContent-Type: application/json", bytes(MEGABYTE)),
    (400, "missing_file", "POST /api/tasks HTTP/1.1\nContent-Type: text/plain", bytes(MEGABYTE)),
    (422, "invalid_option", f"POST /api/tasks HTTP/1.1\n{FORM}\nIdempotency-Key: a b", bytes(MEGABYTE)),
]
CODES = [code for _, code, *_ in EARLY]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server")) as running, running.outliving_tests():
        yield running


@pytest.mark.parametrize(("status", "code", "head", "body"), EARLY, ids=CODES)
def test_a_long_unread_body_closes_the_connection_after_the_answer(
    server: RunningServer, status: int, code: str, head: str, body: bytes
) -> None:
    with RawClient(server.port) as client:
        client.request(f"{head}\nContent-Length: {len(body) + len(SMUGGLED)}", body + SMUGGLED)
        answer = client.answer()
        assert (answer.status, answer.code, answer.headers["Connection"]) == (status, code, "close")
        assert client.is_closed()


@pytest.mark.parametrize(("status", "code", "head", "body"), EARLY, ids=CODES)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_short_unread_body_is_skipped_and_the_next_request_is_answered(
    server: RunningServer, status: int, code: str, head: str, body: bytes, is_chunked: bool
) -> None:
    piece = body[:30_000] + SMUGGLED
    with RawClient(server.port) as client:
        if is_chunked:
            client.request(f"{head}\nTransfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(piece), piece))
        else:
            client.request(f"{head}\nContent-Length: {len(piece)}", piece)
        answer = client.answer()
        if status != 413:  # it is not too large here
            assert (answer.status, answer.code) == (status, code)
        assert answer.headers["Connection"] == "keep-alive"
        client.request("GET /healthz HTTP/1.1")
        assert json.loads(client.answer().body) == {"status": "ok", "reasons": []}


def test_one_connection_of_http_client_asks_twice(server: RunningServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    try:
        for _ in range(2):
            connection.request("POST", "/nothing", bytes(MEGABYTE), {"Accept": "application/json"})
            response = connection.getresponse()
            assert response.status == 404
            assert json.loads(response.read())["error"]["code"] == "not_found"
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def test_a_client_that_is_still_sending_gets_the_answer(server: RunningServer) -> None:
    """Thirty megabytes are on their way when the answer is there; without lingering the client would see a reset."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    try:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        connection.request("POST", "/api/tasks", bytes(30 * MEGABYTE), headers)
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["error"]["code"] == "too_large"
    finally:
        connection.close()


def test_requests_that_come_together_are_answered_in_order(server: RunningServer) -> None:
    body = b"{}"
    with RawClient(server.port) as client:
        client.send(
            b"POST /api/transcripts.zip HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\n\r\n%sGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % body
        )
        received = b"".join(iter(lambda: client._socket.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 422 ")
    assert received.count(b"HTTP/1.1 ") == 2
    assert received.endswith(b'{"status":"ok","reasons":[]}\n')


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(server: RunningServer) -> None:
    body = FILE_START + bytes(2000) + FILE_END
    with RawClient(server.port) as client:
        client.request(f"{upload_head(len(body))}\nExpect: 100-continue")
        assert client._socket.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert client.answer().status == 202
