"""Clients that are idle, slow or gone: nobody else waits for them, and nothing of them stays."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.web.live_client import LiveClient
from tests.web.raw_client import FILE_START, RawClient, send_recording, upload_head
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

LIMIT_S = 60.0
RECORDING_BYTES = 15_000_000  # more than the kernel buffers between a client and the server
SMALL_BUFFER = 4096
BEGINNING_BYTES = 200_000  # of an upload: enough for a part of it to be written down
CLIENTS = 64  # of each kind; the server has 16 threads for reads
DISCONNECTS = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server")) as running, running.outliving_tests():
        yield running


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Waits for each client for a second only."""
    with RunningServer(tmp_path_factory.mktemp("impatient"), "impatient") as running, running.outliving_tests():
        yield running


def status_of(port: int, path: str, method: str = "GET") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def assert_everything_is_answered(port: int) -> None:
    for path in ("/healthz", "/readyz", "/", "/api/tasks", "/api/system", "/openapi/openapi.json"):
        assert status_of(port, path) == 200, path
    assert status_of(port, "/api/tasks/nothing/cancel", "POST") == 404


def slow_download(port: int, task_id: str) -> RawClient:
    client = RawClient(port, receive_buffer=SMALL_BUFFER)
    client.request(f"GET /api/tasks/{task_id}/media HTTP/1.1")
    return client


def begun_upload(port: int) -> RawClient:
    client = RawClient(port)
    client.request(upload_head(1_000_000), FILE_START + bytes(BEGINNING_BYTES))
    return client


def unfinished_uploads(server: RunningServer) -> list[str]:
    return sorted(path.name for path in (server.data_dir / "incoming").glob("*"))


def test_reads_and_changes_are_answered_while_clients_are_idle_or_slow(server: RunningServer) -> None:
    """The proof that they did not just wait: none of the others has been given up in the meantime."""
    task_id = send_recording(server.port, RECORDING_BYTES)
    with ExitStack() as stack:
        idle = [stack.enter_context(RawClient(server.port)) for _ in range(2 * CLIENTS)]
        for number, client in enumerate(idle):
            client.send((b"", b"G", b"GET / HTTP/1.1\r\nHo")[number % 3])
        uploads = [stack.enter_context(begun_upload(server.port)) for _ in range(CLIENTS)]
        for _ in range(CLIENTS):
            stack.enter_context(slow_download(server.port, task_id))
        assert_everything_is_answered(server.port)
        assert all(client.is_untouched() for client in idle)
        assert all(client.is_untouched() for client in uploads)


def test_too_many_downloads_are_refused_at_once_and_nothing_else(server: RunningServer) -> None:
    task_id = send_recording(server.port, RECORDING_BYTES)
    with ExitStack() as stack:
        clients = [stack.enter_context(slow_download(server.port, task_id)) for _ in range(16 * 16 + 8)]
        refused: list[RawClient] = []
        while not refused:
            assert status_of(server.port, "/healthz") == 200
            refused = [client for client in clients if client.peek().startswith(b"HTTP/1.1 503")]
        answer = refused[0].answer()
        assert (answer.code, answer.headers["Retry-After"]) == ("busy", "5")
        assert_everything_is_answered(server.port)


def test_an_answer_to_a_client_that_does_not_read_holds_no_thread(impatient: RunningServer) -> None:
    """Twice as many as there are threads for reads, each with 300 KB of answer and room for four."""
    with ExitStack() as stack:
        for _ in range(2 * 16):
            client = stack.enter_context(RawClient(impatient.port, receive_buffer=SMALL_BUFFER))
            client.request("GET /api/system HTTP/1.1")
        assert_everything_is_answered(impatient.port)


@pytest.mark.proves("F31")
def test_slow_clients_are_ended_and_the_others_notice_nothing(impatient: RunningServer) -> None:
    """An upload, a small body, a head and a download that stand still, and a follower of the live feed that does not
    read: 408 where something was being sent, a closed connection otherwise."""
    task_id = send_recording(impatient.port, RECORDING_BYTES)
    with ExitStack() as stack:
        upload = stack.enter_context(begun_upload(impatient.port))
        body = stack.enter_context(RawClient(impatient.port))
        body.request("POST /api/transcripts.zip HTTP/1.1\nContent-Type: application/json\nContent-Length: 20", b"{")
        head = stack.enter_context(RawClient(impatient.port))
        head.send(b"GET / HTTP/1.1\r\nHo")
        silent = stack.enter_context(RawClient(impatient.port))
        download = stack.enter_context(slow_download(impatient.port, task_id))
        follower = stack.enter_context(LiveClient(impatient.port, receive_buffer=SMALL_BUFFER))
        other = stack.enter_context(LiveClient(impatient.port))
        assert_everything_is_answered(impatient.port)
        for client in (upload, body, head):
            answer = client.answer()
            assert (answer.status, answer.code) == (408, "timeout")
            assert client.is_closed()
        assert silent.is_closed()
        while not any("slow_client_dropped lane=download" in line for line in impatient.lines):
            assert status_of(impatient.port, "/healthz") == 200
        assert download.is_closed()
        for _ in range(7):  # 300 KB each: more than 1 MB waits for the follower
            send_system_patch(impatient.port)
            assert len(other.next("system")["advice"][0]) == 300_000
        follower.wait_until_closed()
    assert unfinished_uploads(impatient) == []
    dropped = [line for line in impatient.lines if "live_client_dropped" in line]
    assert ["does not read" in line for line in dropped] == [True]


def send_system_patch(port: int) -> None:
    with RawClient(port) as client:
        body = json.dumps({"max_batch_size": 2}).encode()
        client.request(f"PATCH /api/system HTTP/1.1\nContent-Type: application/json\nContent-Length: {len(body)}", body)
        assert client.answer().status == 200


@pytest.mark.proves("F30")
def test_a_hundred_disconnects_of_each_kind_leave_nothing(server: RunningServer) -> None:
    """In the middle of an upload, with and without a length, of a download, and of an event of the live feed."""
    task_id = send_recording(server.port, RECORDING_BYTES)
    disconnect(server.port, task_id, 0)
    before = settled(server)
    for number in range(DISCONNECTS):
        disconnect(server.port, task_id, number)
    after = settled(server)
    assert after[0] <= before[0] + 2  # descriptors
    assert after[1] <= before[1] + MAX_LANE_THREADS
    assert after[2] == []
    with RawClient(server.port) as client:
        client.request("GET /api/tasks?status=pending&limit=200 HTTP/1.1")
        ids = {task["id"] for task in json.loads(client.answer().body)["tasks"]}
    assert len(ids) <= 3  # those that were sent whole, by this module
    assert not [line for line in server.lines if "ERROR" in line or "Traceback" in line]


MAX_LANE_THREADS = 2 + 16 + 32 + 128 + 128  # probe, read, change, upload, download


def disconnect(port: int, task_id: str, number: int) -> None:
    upload = RawClient(port)
    is_chunked = number % 2 == 0
    upload.request(upload_head(None if is_chunked else 1_000_000), b"%x\r\n" % 900_000 if is_chunked else b"")
    upload.send(FILE_START + bytes(BEGINNING_BYTES))
    download = slow_download(port, task_id)
    live = LiveClient(port)
    live.emit("watch", {"id": task_id})
    for connection in (upload._socket, download._socket, live._socket.sock):
        assert connection is not None
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def settled(server: RunningServer) -> tuple[int, int, list[str]]:
    """The worker's descriptors and threads, and the files in incoming/, once two readings in a row agree."""
    before: tuple[int, int, list[str]] | None = None
    for _ in range(500):
        assert status_of(server.port, "/api/system") == 200
        now = (server.worker.num_fds(), server.worker.num_threads(), unfinished_uploads(server))
        if now == before and not now[2]:
            break
        before = now
    return now


def test_a_stopped_client_does_not_hold_up_the_others(server: RunningServer) -> None:
    """As with SIGSTOP: the client's system still acknowledges, and nobody reads."""
    with ExitStack() as stack:
        for _ in range(2 * 16):
            client = stack.enter_context(RawClient(server.port, receive_buffer=SMALL_BUFFER))
            for _ in range(3):  # several requests on one connection, whose answers nobody reads
                client.request("GET /openapi/openapi.json HTTP/1.1")
        assert_everything_is_answered(server.port)
