"""HTTP as cheaply as Python allows, because client and server share the machine: requests are made once and sent many
times, and of an answer only the status and the length are read."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

ANSWER_LIMIT_S = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Address:
        place = urlsplit(url)
        return cls(place.hostname or "127.0.0.1", place.port or 80)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    is_last: bool  # the server closes the connection


def get(path: str) -> bytes:
    """A whole request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def send(method: str, path: str, body: bytes, content_type: str, headers: str = "") -> bytes:
    """A whole request. headers: more lines, each with its end."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def upload(name: str, data: bytes, **options: str) -> bytes:
    """A whole POST /api/tasks."""
    boundary = "load-b0undary"
    fields = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{option}"\r\n\r\n{text}\r\n'
        for option, text in options.items()
    )
    head = f'{fields}--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return send("POST", "/api/tasks", body, f"multipart/form-data; boundary={boundary}")


class Connection(asyncio.Protocol):
    """One request at a time, over one connection for as long as the server keeps it, then over the next."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[Answer] | None = None

    async def ask(self, request: bytes, limit_s: float = ANSWER_LIMIT_S) -> Answer:
        """Raises OSError, also TimeoutError, when there is no answer."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            self._received.clear()
            await loop.create_connection(lambda: self, self._address.host, self._address.port)
        self._answer = loop.create_future()
        assert self._transport is not None
        self._transport.write(request)
        try:
            answer = await asyncio.wait_for(self._answer, limit_s)
        except BaseException:
            self.close()
            raise
        if answer.is_last:
            self.close()
        return answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = read_answer(self._received)
        if answer is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))


def read_answer(received: bytearray) -> Answer | None:
    """Takes one answer off the front of what was received; None while it is not complete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end])
    found = _LENGTH.search(head)
    length = int(found.group(1)) if found else 0
    if len(received) < end + 4 + length:
        return None
    answer = Answer(int(head[9:12]), bytes(received[end + 4 : end + 4 + length]), b"onnection: close" in head)
    del received[: end + 4 + length]
    return answer
