"""A page as the server sees it: Engine.IO and Socket.IO over a WebSocket, spoken by hand, so that a thousand of them
cost the client less than the server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from benchmarks.load.http_client import Address, read_answer

CONNECT_LIMIT_S = 30.0
_HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
OnEvent = Callable[["LiveClient", bytes, float], None]


class Outcome(Enum):
    CONNECTED = "connected"
    REFUSED = "refused"


class LiveClient(asyncio.Protocol):
    """on_event: gets each Socket.IO event as its JSON, `["name",{...}]`, and when it came, by perf_counter."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._is_upgraded = False
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.is_open = False

    @classmethod
    async def connect(cls, address: Address, on_event: OnEvent) -> tuple[LiveClient, Outcome]:
        """Raises OSError, also TimeoutError."""
        client = cls(on_event)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: client, address.host, address.port)
        return client, await asyncio.wait_for(client._outcome, CONNECT_LIMIT_S)

    def emit(self, event: str, data: dict[str, Any]) -> None:
        self._send(b"42" + json.dumps([event, data]).encode())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_HANDSHAKE)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if not self._outcome.done():
            self._outcome.set_exception(error or ConnectionResetError("closed before it was connected"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_upgraded:
            self._read_handshake()
        if self._is_upgraded:
            for opcode, payload in read_frames(self._received):
                self._take_frame(opcode, payload)

    def _read_handshake(self) -> None:
        answer = read_answer(self._received)
        if answer is None:
            return
        self._is_upgraded = answer.status == 101
        if not self._is_upgraded:
            self._outcome.set_result(Outcome.REFUSED)
            self.close()

    def _take_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._send(payload, _PONG)
        elif opcode == _CLOSE:
            self.close()
        elif payload.startswith(b"42"):
            self._on_event(self, payload[2:], time.perf_counter())
        elif payload.startswith(b"40"):
            self.is_open = True
            self._outcome.set_result(Outcome.CONNECTED)
        elif payload.startswith(b"0"):
            self._send(b"40")
        elif payload == b"2":
            self._send(b"3")

    def _send(self, payload: bytes, opcode: int = _TEXT) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(payload, opcode))


def frame(payload: bytes, opcode: int = _TEXT) -> bytes:
    """A client's frame, masked with zeros, which leave the payload as it is."""
    size = len(payload)
    if size >= 1 << 16:
        raise ValueError("no client sends that much")
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def read_frames(received: bytearray) -> list[tuple[int, bytes]]:
    """Takes the server's complete frames off the front, as opcode and payload."""
    frames = []
    place = 0
    while len(received) >= place + 2:
        size, begin = received[place + 1] & 0x7F, place + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, begin = int.from_bytes(received[begin : begin + width], "big"), begin + width
        if len(received) < begin + size or begin > len(received):
            break
        frames.append((received[place] & 0x0F, bytes(received[begin : begin + size])))
        place = begin + size
    del received[:place]
    return frames
