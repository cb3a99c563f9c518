"""A small Socket.IO client on a plain WebSocket, which a test controls completely."""

from __future__ import annotations

import json
import socket
from types import TracebackType
from typing import Any

import websocket


class LiveClient:
    """heard_so_far: the names of all events that came, in order."""

    LIMIT_S = 60.0

    def __init__(self, port: int, *, receive_buffer: int | None = None, **headers: str) -> None:
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket",
            timeout=self.LIMIT_S,
            suppress_origin="Origin" not in headers,
            origin=headers.pop("Origin", None),
            header=[f"{name}: {value}" for name, value in headers.items()],
            sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)] if receive_buffer else [],
        )
        self._last_ack = 0
        self._unread: list[list[Any]] = []
        self.heard_so_far: list[str] = []
        assert text_from(self._socket).startswith("0")
        self.send("40")
        assert text_from(self._socket).startswith("40")

    def __enter__(self) -> LiveClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._socket.shutdown()  # close() does nothing once the server has ended the connection

    def send(self, packet: str) -> None:
        self._socket.send(packet)

    def emit(self, *event: object) -> None:
        self.send("42" + json.dumps(event))

    def ask(self, *event: object) -> Any:
        """Emits, and returns the server's answer."""
        self._last_ack += 1
        self.send(f"42{self._last_ack}{json.dumps(event)}")
        prefix = f"43{self._last_ack}"
        while not (packet := self._receive()).startswith(prefix):
            self._keep(packet)
        return json.loads(packet[len(prefix) :])[0]

    def next(self, event: str) -> Any:
        """The data of the next such event; other events are skipped."""
        while True:
            while not self._unread:
                self._keep(self._receive())
            name, data = self._unread.pop(0)
            if name == event:
                return data

    def wait_until_closed(self) -> None:
        wait_until_closed(self._socket)

    def _keep(self, packet: str) -> None:
        if packet.startswith("42"):
            self._unread.append(json.loads(packet[2:]))
            self.heard_so_far.append(self._unread[-1][0])

    def _receive(self) -> str:
        packet = text_from(self._socket)
        if not packet:
            raise ConnectionError("the server closed the connection")
        if packet == "2":
            self.send("3")
        return packet


def text_from(connection: websocket.WebSocket) -> str:
    """The next packet; "" when the server has closed the connection."""
    packet = connection.recv()
    assert isinstance(packet, str)
    return packet


def wait_until_closed(connection: websocket.WebSocket) -> None:
    """Returns once the server has ended the connection; raises WebSocketTimeoutException when it does not."""
    try:
        while connection.recv():
            continue
    except websocket.WebSocketTimeoutException:
        raise
    except (websocket.WebSocketException, OSError):
        return
