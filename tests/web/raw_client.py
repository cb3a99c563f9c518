"""A plain connection to a server, on which a test sends whatever bytes it likes."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from types import TracebackType
from typing import Any

LIMIT_S = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        """Of an error, whose shape is checked."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert set(error) == {"code", "message", "field", "request_id"}
        assert error["request_id"] == self.headers["X-Request-Id"]
        return str(error["code"])


class RawClient:
    """receive_buffer: bytes that the kernel takes for a client that does not read."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(LIMIT_S)
        self._socket.connect(("127.0.0.1", port))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def request(self, head: str, body: bytes = b"") -> None:
        """head: its lines without Host."""
        self.send(head.replace("\n", "\r\n").encode() + b"\r\nHost: localhost\r\n\r\n" + body)

    def answer(self) -> Answer:
        with HTTPResponse(self._socket) as response:
            response.begin()
            return Answer(response.status, response.headers, response.read())

    def peek(self) -> bytes:
        """The first bytes of what has come, which stays where it is."""
        self._socket.setblocking(False)
        try:
            return self._socket.recv(100, socket.MSG_PEEK)
        except BlockingIOError:
            return b""
        finally:
            self._socket.settimeout(LIMIT_S)

    def is_closed(self) -> bool:
        """Whether the server ends the connection within LIMIT_S. Skips what it has sent before."""
        try:
            while self._socket.recv(65536):
                continue
        except ConnectionError:  # it was reset, which ends it, too
            return True
        except TimeoutError:
            return False
        return True

    def is_untouched(self) -> bool:
        """Whether the server has neither answered nor closed."""
        self._socket.setblocking(False)
        try:
            self._socket.recv(1)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(LIMIT_S)
        return False


def upload_head(length: int | None) -> str:
    size = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    return f"POST /api/tasks HTTP/1.1\nContent-Type: multipart/form-data; boundary=b\n{size}"


FILE_START = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.flac"\r\n\r\nfLaC'
FILE_END = b"\r\n--b--\r\n"


def send_recording(port: int, nbytes: int) -> str:
    """The id of its task."""
    body = FILE_START + bytes(nbytes) + FILE_END
    with RawClient(port) as client:
        client.request(upload_head(len(body)), body)
        answer = client.answer()
    assert answer.status == 202, answer
    return str(json.loads(answer.body)["task"]["id"])
