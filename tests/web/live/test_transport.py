"""The live feed's WebSockets on the real server: no thread for each client, and limits on what each may do."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import socketio
import websocket

from tests.web.live_client import LiveClient, text_from, wait_until_closed
from tests.web.raw_client import RawClient, send_recording
from tests.web.running_server import RunningServer
from web.http.open_files import raise_open_files_limit

pytestmark = pytest.mark.server

LIMIT_S = 60.0
MANY = 300
RECONNECTS = 1000
IDLE_SESSIONS = 1000
GIGABYTE = 10**9
# Probe, read and change: all that a server with WEB_THREADS=16 may start for such clients.
LANE_THREADS = 2 + 16 + 32
ADDRESS = "/socket.io/?EIO=4&transport="
HANDSHAKE = (
    f"GET {ADDRESS}websocket HTTP/1.1\nUpgrade: websocket\nConnection: Upgrade\n"
    "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    raise_open_files_limit()
    with RunningServer(tmp_path_factory.mktemp("server")) as running, running.outliving_tests():
        yield running


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Gives a session a second to connect, and describes the system in 300 KB."""
    raise_open_files_limit()
    with RunningServer(tmp_path_factory.mktemp("impatient"), "impatient") as running, running.outliving_tests():
        yield running


def status_of(port: int, path: str = "/healthz", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def open_socket(port: int, **headers: str) -> websocket.WebSocket:
    """A session that has not connected yet."""
    return websocket.create_connection(
        f"ws://127.0.0.1:{port}{ADDRESS}websocket",
        timeout=LIMIT_S,
        suppress_origin="Origin" not in headers,
        origin=headers.pop("Origin", None),
        header=[f"{name}: {value}" for name, value in headers.items()],
    )


def frame(payload: bytes, *, opcode: int = 1, length: int | None = None, is_masked: bool = True) -> bytes:
    """A client's frame, masked with zeros; length: what it says instead of its own."""
    announced = len(payload) if length is None else length
    mask = 0x80 if is_masked else 0
    if announced < 126:
        head = struct.pack("!BB", 0x80 | opcode, mask | announced)
    elif announced < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, mask | 126, announced)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, mask | 127, announced)
    return head + (bytes(4) if is_masked else b"") + payload


def raw_socket(port: int) -> RawClient:
    """After its handshake."""
    client = RawClient(port)
    client.request(HANDSHAKE)
    received = b""
    while b'"sid"' not in received:
        received += client._socket.recv(4096)
    return client


def threads_of(server: RunningServer) -> int:
    return server.worker.num_threads()


# --- threads and slots ----------------------------------------------------------------------------------------------


def test_many_clients_need_no_thread_each_and_all_of_them_are_told(server: RunningServer) -> None:
    before = threads_of(server)
    with ExitStack() as stack:
        clients = [stack.enter_context(LiveClient(server.port)) for _ in range(MANY)]
        task_id = send_recording(server.port, 1000)
        assert {client.next("task")["id"] for client in clients} == {task_id}
        assert threads_of(server) <= before + LANE_THREADS
        assert status_of(server.port) == 200


def test_reconnecting_again_and_again_piles_up_no_threads(server: RunningServer) -> None:
    before = threads_of(server)
    most = 0
    for number in range(RECONNECTS):
        connection = raw_socket(server.port)
        connection.send(frame(b"40"))
        connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", number % 2, 0))
        connection._socket.close()
        most = max(most, threads_of(server) if number % 50 == 0 else 0)
    assert max(most, threads_of(server)) <= before + LANE_THREADS


@pytest.mark.parametrize(
    "packets",
    [
        [b"40", b""],
        [b""],
        [b"40", b"x"],
        [b"40", b"b%%%"],
        [b"40", b"42[" + b"[" * 20_000],
        [b"451-[]"],
        [b"40", b"\xff\xfe"],
        [b"4", b"9", b"40{", b"42", b"42[]"],
    ],
    ids=["empty after connect", "empty", "letter", "bad Base64", "nested", "binary", "not UTF-8", "several"],
)
def test_malformed_packets_free_their_slot_at_once(tmp_path: Path, packets: list[bytes]) -> None:
    """As many clients as are allowed send them and hang up; as many others then find their place."""
    allowed = 32
    with RunningServer(tmp_path, env={"MAX_LIVE_CLIENTS": str(allowed)}) as server:
        for _ in range(allowed):
            with raw_socket(server.port) as client:
                for packet in packets:
                    client.send(frame(packet))
        with ExitStack() as stack:
            for _ in range(allowed):
                stack.enter_context(client_when_there_is_room(server.port))
            assert status_of(server.port, f"{ADDRESS}polling") == 503
    assert not [line for line in server.lines if "Traceback" in line or "ERROR" in line]


def client_when_there_is_room(port: int) -> LiveClient:
    """The server may not have read yet that the former client has gone."""
    for _ in range(200):
        try:
            return LiveClient(port)
        except websocket.WebSocketBadStatusException:
            continue
    raise AssertionError("no room")


# --- transports -----------------------------------------------------------------------------------------------------


def test_a_client_that_polls_goes_on_with_a_websocket(server: RunningServer) -> None:
    heard: queue.Queue[str] = queue.Queue()
    client = socketio.Client()
    client.on("task", lambda task: heard.put(task["id"]))
    client.connect(f"http://127.0.0.1:{server.port}", transports=["polling", "websocket"], wait_timeout=LIMIT_S)
    try:
        assert client.transport() == "websocket"
        assert send_recording(server.port, 1000) == heard.get(timeout=LIMIT_S)
    finally:
        client.disconnect()
        client.shutdown()


def test_a_failed_upgrade_leaves_the_session_polling(server: RunningServer) -> None:
    session = polling_session(server.port)
    probe = open_upgrade(server.port, session)
    probe.send("something else")
    wait_until_closed(probe)
    probe.shutdown()
    assert post(server.port, session, "40") == (200, b"OK")
    while not (packets := poll(server.port, session)).startswith(b"40"):
        assert packets == b"6"  # the server may not have noticed yet that the other connection has gone
    post(server.port, session, "1")


def test_a_session_has_one_websocket(server: RunningServer) -> None:
    session = polling_session(server.port)
    first = open_upgrade(server.port, session)
    with pytest.raises(websocket.WebSocketBadStatusException, match="400"):
        open_upgrade(server.port, session)
    first.send("2probe")
    assert text_from(first) == "3probe"
    first.send("5")
    first.send("40")
    while not text_from(first).startswith("40"):
        continue
    first.close()
    first.shutdown()


def test_polls_hold_only_some_of_the_threads_and_one_for_each_client(server: RunningServer) -> None:
    """A quarter of 16."""
    sessions = [polling_session(server.port) for _ in range(4)]
    with pytest.raises(AssertionError):
        polling_session(server.port)
    with ExitStack() as stack:
        for session in sessions:
            waiting = stack.enter_context(RawClient(server.port))
            waiting.request(f"GET {ADDRESS}polling&sid={session} HTTP/1.1")
        while (status := status_of(server.port, f"{ADDRESS}polling&sid=nobody")) != 503:
            assert status == 400
        assert status_of(server.port, f"{ADDRESS}polling&sid={sessions[0]}") == 503
        assert status_of(server.port) == 200
        for session in sessions:
            post(server.port, session, "1")


def polling_session(port: int) -> str:
    with RawClient(port) as client:
        client.request(f"GET {ADDRESS}polling HTTP/1.1")
        answer = client.answer()
    assert answer.status == 200
    return str(json.loads(answer.body[1:])["sid"])


def open_upgrade(port: int, session: str) -> websocket.WebSocket:
    return websocket.create_connection(
        f"ws://127.0.0.1:{port}{ADDRESS}websocket&sid={session}", timeout=LIMIT_S, suppress_origin=True
    )


def post(port: int, session: str, packet: str) -> tuple[int, bytes]:
    with RawClient(port) as client:
        client.request(f"POST {ADDRESS}polling&sid={session} HTTP/1.1\nContent-Length: {len(packet)}", packet.encode())
        answer = client.answer()
    return answer.status, answer.body


def poll(port: int, session: str) -> bytes:
    with RawClient(port) as client:
        client.request(f"GET {ADDRESS}polling&sid={session} HTTP/1.1")
        return client.answer().body


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves("S12")
def test_messages_sockets_and_sessions_have_limits(impatient: RunningServer) -> None:
    """A frame of 1 GB takes no memory, nothing binary or compressed is spoken, and who never connects has to go."""
    with raw_socket(impatient.port) as probe:
        probe.send(frame(b"40"))
    rss = impatient.worker.memory_info().rss
    with raw_socket(impatient.port) as client:
        client.send(frame(b"", length=GIGABYTE))
        with suppress(ConnectionError):  # the server may close its end before all is sent
            for _ in range(100):
                client.send(bytes(1_000_000))
        assert client.is_closed()
    assert impatient.worker.memory_info().rss < rss + 5_000_000
    binary, unmasked, long = frame(b"x", opcode=2), frame(b"x", is_masked=False), frame(b"42" + b"x" * 64_000)
    compressed = b"\xc1\x80" + bytes(4)
    for sent in (binary, unmasked, long, compressed):
        with raw_socket(impatient.port) as client:
            client.send(sent)
            assert client.is_closed()
    before = threads_of(impatient)
    sessions = [open_socket(impatient.port) for _ in range(IDLE_SESSIONS)]
    for session in sessions:
        assert "permessage-deflate" not in str(session.getheaders())
        wait_until_closed(session)
        session.shutdown()
    assert threads_of(impatient) <= before + LANE_THREADS
    with LiveClient(impatient.port) as client:
        assert client.ask("watch", {"id": "nothing"})["error"]["code"] == "task_not_found"
    assert not [line for line in impatient.lines if "Traceback" in line]


def test_a_client_that_sends_too_fast_is_read_more_slowly(server: RunningServer) -> None:
    """And loses nothing: 200 messages at once, of which 60 are free."""
    with LiveClient(server.port) as eager, LiveClient(server.port) as other:
        for number in range(120):
            eager.send(f'42{number + 1}["watch",{{"id":"nothing"}}]')
        assert other.ask("watch", {"id": "nothing"})["error"]["code"] == "task_not_found"
        answers = 0
        while answers < 120:
            answers += eager._receive().startswith("43")


def test_a_client_that_floods_is_dropped(server: RunningServer) -> None:
    with LiveClient(server.port) as other:
        with raw_socket(server.port) as client:
            client.send(frame(b"40"))
            client.send(frame(b"6") * 2000)
            assert client.is_closed()
        assert other.ask("watch", {"id": "nothing"})["error"]["code"] == "task_not_found"


def test_pings_and_closing_are_answered_as_the_protocol_wants(server: RunningServer) -> None:
    with raw_socket(server.port) as client:
        client.send(frame(b"are you there", opcode=9))
        assert client._socket.recv(100) == b"\x8a\x0dare you there"
        client.send(frame(struct.pack("!H", 1000), opcode=8))
        assert client._socket.recv(100) == b"\x88\x02\x03\xe8"
        assert client.is_closed()


def test_what_is_no_handshake_is_refused(server: RunningServer) -> None:
    for fault in ("Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: short"):
        name = fault.partition(":")[0]
        lines = [line for line in HANDSHAKE.split("\n") if not line.startswith(name)]
        with RawClient(server.port) as client:
            client.request("\n".join([*lines, fault]))
            assert client.answer().status == 400


@pytest.mark.proves("S06")
def test_pages_of_other_sites_and_other_names_open_no_socket(server: RunningServer) -> None:
    """Over both transports. A request without an Origin is no page's."""
    own = f"http://127.0.0.1:{server.port}"
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 400),
        ({"Host": "evil.example"}, 400),
    ):
        assert status_of(server.port, f"{ADDRESS}polling", **headers) == status
        with RawClient(server.port) as client:
            host = headers.get("Host", "localhost")
            others = "".join(f"\r\n{name}: {value}" for name, value in headers.items() if name != "Host")
            client.send((HANDSHAKE.replace("\n", "\r\n") + f"{others}\r\nHost: {host}\r\n\r\n").encode())
            assert client.answer().status == status
    assert status_of(server.port, f"{ADDRESS}polling", Origin=own) == 200
    accepted = open_socket(server.port, Origin=own)
    assert text_from(accepted).startswith("0")
    accepted.close()
    accepted.shutdown()
