"""The real server process: start, stop with sockets open, failures to start, aborted uploads."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import socketio

from tests.web.live_client import LiveClient
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

LIMIT_S = 60.0
ABORTS = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server")) as running, running.outliving_tests():
        yield running


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def upload_head(port: int, length: int | None) -> bytes:
    size = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    return (
        f"POST /api/tasks HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"{size}\r\n\r\n"
    ).encode()


FILE_START = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.flac"\r\n\r\n'


def settled(server: RunningServer) -> tuple[int, list[str]]:
    """The worker's open descriptors and the files in incoming/, once two readings in a row agree."""
    before: tuple[int, list[str]] | None = None
    for _ in range(200):
        assert get(server.port, "/healthz")[0] == 200
        now = (server.worker.num_fds(), sorted(p.name for p in (server.data_dir / "incoming").iterdir()))
        if now == before and not now[1]:
            return now
        before = now
    return now


def test_health_is_answered(server: RunningServer) -> None:
    assert get(server.port, "/healthz") == (200, b'{"status":"ok","reasons":[]}\n')


def test_nothing_is_written_into_the_home_folder(server: RunningServer) -> None:
    assert [path.name for path in server.data_dir.parent.iterdir()] == ["data"]


def test_web_process_stays_small(server: RunningServer) -> None:
    get(server.port, "/api/system")
    assert server.worker.memory_info().rss < 120_000_000


def test_aborted_uploads_leave_no_file_and_no_descriptor(server: RunningServer) -> None:
    """A hundred clients that reset the connection in the middle, with announced and with chunked lengths."""
    fds_before, _ = settled(server)
    for number in range(ABORTS):
        is_chunked = number % 2 == 0
        body = FILE_START + b"fLaC" + bytes(2000)
        with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
            connection.sendall(upload_head(server.port, None if is_chunked else 1_000_000))
            connection.sendall(b"%x\r\n%s\r\n" % (len(body), body) if is_chunked else body)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    fds_after, parts = settled(server)
    assert parts == []
    assert fds_after <= fds_before + 2
    assert not [line for line in server.lines if "ERROR" in line or "Traceback" in line]


def test_announced_length_above_the_limit_is_refused_before_the_body(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
        connection.sendall(upload_head(server.port, 10**12))
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413")


def test_chunked_upload_is_stopped_at_the_limit(server: RunningServer) -> None:
    """Its length is not announced, so it is counted while it comes."""
    piece = bytes(1_000_000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
        connection.sendall(upload_head(server.port, None))
        connection.sendall(b"%x\r\n%s\r\n" % (len(FILE_START), FILE_START))
        answer = b""
        with suppress(ConnectionError):  # the server may close its end before all is sent
            for _ in range(30):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        with suppress(ConnectionError):  # and a reset takes the answer along
            answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""
    assert settled(server)[1] == []


def test_a_body_in_malformed_chunks_is_a_bad_request(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
        connection.sendall(upload_head(server.port, None) + b"zz\r\n--b\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "bad_request"' in answer
    assert settled(server)[1] == []


def test_foreign_host_and_origin_are_refused_at_the_live_feed_too(server: RunningServer) -> None:
    path = "/socket.io/?EIO=4&transport=polling"
    assert get(server.port, path, {"Host": "evil.example"})[0] == 400
    assert get(server.port, path, {"Origin": "http://evil.example"})[0] == 403
    assert get(server.port, path, {"Origin": f"http://127.0.0.1:{server.port}"})[0] == 200


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_clients_are_told_of_new_tasks(server: RunningServer, transport: str) -> None:
    heard: list[dict[str, object]] = []
    is_heard = threading.Event()
    client = socketio.Client()

    @client.on("task")
    def on_task(task: dict[str, object]) -> None:
        heard.append(task)
        is_heard.set()

    client.connect(f"http://127.0.0.1:{server.port}", transports=[transport], wait_timeout=LIMIT_S)
    try:
        task_id = send_recording(server.port)
        assert is_heard.wait(LIMIT_S)
    finally:
        client.disconnect()
        client.shutdown()
    assert heard[0]["id"] == task_id


def test_too_large_message_closes_that_socket_only(server: RunningServer) -> None:
    """And its server thread is free again: the test sends more of them than there are threads."""
    for _ in range(20):
        with LiveClient(server.port) as client:
            client.emit("watch", {"id": "x" * 200_000})
            client.wait_until_closed()
    assert get(server.port, "/healthz")[0] == 200


def test_sockets_above_the_limit_are_refused_and_http_still_works(tmp_path: Path) -> None:
    """Eight are allowed here: then 503, while plain requests are still answered."""
    with RunningServer(tmp_path, env={"MAX_LIVE_CLIENTS": "8"}) as server, ExitStack() as clients:
        for _ in range(8):
            clients.enter_context(LiveClient(server.port))
        status, body = get(server.port, "/socket.io/?EIO=4&transport=polling")
        assert (status, json.loads(body)["error"]["code"]) == (503, "too_many_clients")
        assert get(server.port, "/healthz")[0] == 200


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_server_quickly_while_sockets_are_open(tmp_path: Path, signal_number: int) -> None:
    """Neither open pages nor a silent connection delay it, and the clients are told."""
    with RunningServer(tmp_path) as running, LiveClient(running.port) as first, LiveClient(running.port) as second:
        with socket.create_connection(("127.0.0.1", running.port)):
            running.send(signal_number)
            begun = time.monotonic()
            assert running.wait() == 0
            assert time.monotonic() - begun < 8
        first.wait_until_closed()
        second.wait_until_closed()


@pytest.mark.parametrize(
    ("mode", "code", "text"), [("cannot-start", 4, "in use by process 4711"), ("crashes", 1, "Traceback")]
)
def test_failing_start_ends_the_server_with_its_code_and_one_message(
    tmp_path: Path, mode: str, code: int, text: str
) -> None:
    running = RunningServer(tmp_path, mode)
    assert running.wait() == code
    records = [line for line in running.lines if "[ERROR]" in line]
    assert len(records) == 1
    assert text in "".join(running.lines)


def test_a_server_that_keeps_dying_gives_up(tmp_path: Path) -> None:
    running = RunningServer(tmp_path, "dies")
    assert running.wait() == 70


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as running:
        old = running.worker
        old.kill()
        assert get_until_answered(running.port) == 200
        assert running.worker.pid != old.pid


def get_until_answered(port: int) -> int:
    """The master has the listening socket, so a request waits; one that the dead worker had is repeated."""
    for _ in range(20):
        try:
            return get(port, "/healthz")[0]
        except (http.client.HTTPException, ConnectionError):
            continue
    raise AssertionError("no answer")


def send_recording(port: int) -> str:
    body = FILE_START + b"fLaC sound\r\n--b--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("POST", "/api/tasks", body, {"Content-Type": "multipart/form-data; boundary=b"})
        response = connection.getresponse()
        assert response.status == 202
        task_id: str = json.loads(response.read())["task"]["id"]
        return task_id
    finally:
        connection.close()
