"""Anything at all sent to the live feed of a real server: it stays up, logs no traceback, and others notice nothing.

From outside, through sockets: events with any payload, any packet in a WebSocket or in a polling request, and bytes
that are no WebSocket at all.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from urllib.parse import quote

import pytest
import websocket
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.properties import budget
from tests.web.live_client import LiveClient, text_from
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

LIMIT_S = 60.0
ANSWER_S = 0.02  # how long an example waits for an answer, which there need not be
SHARED = [HealthCheck.function_scoped_fixture]
EXAMPLES = 40

KEYS = st.sampled_from(["id", "from", "auth", "token", "_placeholder", "num", "__proto__"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | KEYS, inner, max_size=4),
    max_leaves=8,
)
EVENTS = st.sampled_from(
    ["watch", "unwatch", "task", "progress", "system", "connect", "disconnect", "message", "", "x"]
)
# What packets of Engine.IO and Socket.IO are made of.
# fmt: off
PIECES = st.sampled_from([
    "0", "1", "2", "3", "4", "5", "6", "40", "41", "42", "43", "44", "45", "46", "2probe", "3probe", "b", "bAAAA",
    "\x1e", "/", "/admin,", "-", "99999999999999999999", "1-", "[", "]", "{", "}", '"', "watch", '["watch",{"id":"x"}]',
    "null", '{"_placeholder":true,"num":0}', "\x00", "\ud7ff", "é" * 40, "[" * 400, "x" * 5000,
])
# fmt: on
PACKETS = st.lists(PIECES, max_size=5).map("".join) | st.text(max_size=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server")) as running, running.outliving_tests():
        yield running
        assert [line for line in running.lines if "Traceback" in line or "[ERROR]" in line] == []


@pytest.fixture
def witness(server: RunningServer) -> Iterator[LiveClient]:
    """A client that behaves, connected all the time."""
    with LiveClient(server.port) as client:
        yield client


def assert_nothing_happened(server: RunningServer, witness: LiveClient) -> None:
    assert witness.ask("watch", {"id": "nothing"})["error"]["code"] == "task_not_found"
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200


def connect(server: RunningServer) -> websocket.WebSocket:
    address = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
    connection = websocket.create_connection(address, timeout=LIMIT_S, suppress_origin=True)
    assert text_from(connection).startswith("0")
    return connection


def end(connection: websocket.WebSocket) -> None:
    with suppress(OSError, websocket.WebSocketException):
        connection.settimeout(ANSWER_S)
        connection.recv()
    connection.close(timeout=0)
    connection.shutdown()


@budget(EXAMPLES, suppress_health_check=SHARED)
@given(
    name=EVENTS | st.text(max_size=20),
    payload=st.lists(JSON, max_size=3),
    ack=st.sampled_from(["", "0", "7", "99999999999999999999"]),
    namespace=st.sampled_from(["", "/,", "/admin,", "/x?y,"]),
)
def test_any_event_with_any_payload(
    server: RunningServer, witness: LiveClient, name: str, payload: list[object], ack: str, namespace: str
) -> None:
    connection = connect(server)
    connection.send("40")
    connection.send(f"42{namespace}{ack}{json.dumps([name, *payload])}")
    end(connection)
    assert_nothing_happened(server, witness)


@budget(EXAMPLES, suppress_health_check=SHARED)
@given(packets=st.lists(PACKETS, min_size=1, max_size=4), connects=st.booleans(), hangs_up=st.booleans())
def test_any_packets_in_a_websocket(
    server: RunningServer, witness: LiveClient, packets: list[str], connects: bool, hangs_up: bool
) -> None:
    """hangs_up: at once, without a goodbye."""
    connection = connect(server)
    with suppress(OSError, websocket.WebSocketException):  # the server may have closed it
        if connects:
            connection.send("40")
        for packet in packets:
            connection.send(packet)
    if hangs_up:
        connection.shutdown()
    else:
        end(connection)
    assert_nothing_happened(server, witness)


@budget(EXAMPLES, suppress_health_check=SHARED)
@given(
    frames=st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=12), st.binary(max_size=40)), max_size=3
    )
)
def test_any_bytes_in_place_of_frames(
    server: RunningServer, witness: LiveClient, frames: list[tuple[int, int, bytes, bytes]]
) -> None:
    """Reserved bits and opcodes, missing masks, lengths that are not true, half a frame."""
    connection = connect(server)
    assert connection.sock is not None
    with suppress(OSError):
        for first, second, head, body in frames:
            connection.sock.sendall(bytes([first, second]) + head + body)
    end(connection)
    assert_nothing_happened(server, witness)


@budget(EXAMPLES, suppress_health_check=SHARED)
@given(
    body=st.binary(max_size=80) | PACKETS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    content_type=st.sampled_from(["text/plain;charset=UTF-8", "application/octet-stream", "", "multipart/form-data"]),
    session=st.sampled_from(["own", "", "nobody", "x" * 2000, "\x00"]),
    transport=st.sampled_from(["polling", "polling", "websocket", "flash", ""]),
)
def test_any_body_of_a_polling_request(
    server: RunningServer, witness: LiveClient, body: bytes, content_type: str, session: str, transport: str
) -> None:
    own = open_session(server) if session == "own" else None
    status = post(server, f"transport={transport}&sid={quote(own or session)}", body, content_type)
    assert status < 500
    if own:
        post(server, f"transport=polling&sid={own}", b"1", "text/plain;charset=UTF-8")
    assert_nothing_happened(server, witness)


def open_session(server: RunningServer) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)) as connection:
        connection.request("GET", "/socket.io/?EIO=4&transport=polling")
        answer = connection.getresponse()
        opened = answer.read()
        assert answer.status == 200, opened
        return str(json.loads(opened[1:])["sid"])


def post(server: RunningServer, query: str, body: bytes, content_type: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)) as connection:
        connection.request("POST", f"/socket.io/?EIO=4&{query}", body, {"Content-Type": content_type})
        return connection.getresponse().status


UPGRADE = st.sampled_from(
    [
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Version: 99",
        b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)),
        b"Sec-WebSocket-Key: \xff\xfe",
        b"Sec-WebSocket-Key:",
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        b"Sec-WebSocket-Protocol: x, y",
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Host: 127.0.0.1",
        b"Host:",
        b"X: " + b"y" * 9000,
    ]
)


@budget(EXAMPLES, suppress_health_check=SHARED)
@given(
    target=st.sampled_from(
        [
            b"/socket.io/?EIO=4&transport=websocket",
            b"/socket.io/?EIO=%ff&transport=websocket",
            b"/socket.io",
            b"*",
            b"/%00",
        ]
    ),
    method=st.sampled_from([b"GET", b"POST", b"OPTIONS", b"CONNECT", b"\x16\x03\x01"]),
    headers=st.lists(UPGRADE | st.binary(max_size=30), max_size=8),
    body=st.binary(max_size=40),
    resets=st.booleans(),
)
def test_any_bytes_in_place_of_a_handshake(
    server: RunningServer,
    witness: LiveClient,
    target: bytes,
    method: bytes,
    headers: list[bytes],
    body: bytes,
    resets: bool,
) -> None:
    """resets: the connection is torn down without being closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
        with suppress(OSError):
            connection.sendall(b"%s %s HTTP/1.1\r\n%s\r\n\r\n%s" % (method, target, b"\r\n".join(headers), body))
            connection.settimeout(ANSWER_S)
            connection.recv(4096)
        if resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert_nothing_happened(server, witness)


def test_many_that_hang_up_after_an_empty_packet_hold_up_nobody(server: RunningServer, witness: LiveClient) -> None:
    """As many as are let in. Nothing of them stays, so as many others are let in afterwards."""
    for _ in range(3):
        connections: list[websocket.WebSocket] = []
        with suppress(websocket.WebSocketBadStatusException):  # no more are let in
            while len(connections) < 64:
                connections.append(connect(server))
        for connection in connections:
            connection.send("40")
            connection.send("")
            connection.shutdown()
        assert connections
        assert_nothing_happened(server, witness)


def test_a_session_that_has_ended_takes_nothing_more(server: RunningServer) -> None:
    query = f"transport=polling&sid={open_session(server)}"
    answers = [post(server, query, packet, "text/plain;charset=UTF-8") for packet in (b"40", b"1", b"1", b"1")]
    assert answers == [200, 200, 400, 400]
