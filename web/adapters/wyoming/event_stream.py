"""The events of one connection, as they arrive and as they are sent, within limits.

An event is a line of JSON, then as many bytes of further JSON and of sound as that line says.
"""

from __future__ import annotations

import io
import json
import select
import socket
import time
from typing import Any

from wyoming.event import Event, write_event

from errors import BadRequestError

IDLE_S = 60.0  # that a client may take to begin an event, and again to end it
SEND_S = 30.0
LINGER_S = 10.0
MAX_JSON_BYTES = 64 * 1024  # of the line, and of what follows it
MAX_SOUND_BYTES = 4 * 1024 * 1024  # in one event: two minutes of 16 kHz, mono
_READ_BYTES = 64 * 1024


class EventStream:
    """One thread. connection: closed by whoever made it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    def read(self) -> Event | None:
        """The next event; None when the client has hung up. Raises BadRequestError, TimeoutError or OSError."""
        if not self._received and not self._receive(time.monotonic() + IDLE_S):
            return None
        ends_at = time.monotonic() + IDLE_S
        line = self._line(ends_at)
        if line is None:
            return None
        head = _object(line)
        kind, data = head.get("type"), head.get("data") or {}
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise BadRequestError("An event has no type, or data that is no object.")
        more = self._part(_length(head, "data_length", MAX_JSON_BYTES), ends_at)
        sound = self._part(_length(head, "payload_length", MAX_SOUND_BYTES), ends_at)
        if more is None or sound is None:
            return None
        return Event(kind, {**data, **(_object(more) if more else {})}, sound or None)

    def write(self, event: Event) -> None:
        """Raises TimeoutError or OSError."""
        written = io.BytesIO()
        write_event(event, written)
        self._connection.settimeout(SEND_S)
        self._connection.sendall(written.getvalue())

    def linger(self) -> None:
        """After the last event: takes what the client still sends, until it hangs up. A connection that is closed with
        bytes unread is reset, and the client may lose what it was told."""
        ends_at = time.monotonic() + LINGER_S
        self._connection.shutdown(socket.SHUT_WR)
        while self._receive(ends_at):
            self._received.clear()

    def is_client_gone(self) -> bool:
        """Whether it has hung up by now. Takes no byte from the connection and never waits."""
        try:
            looking = select.poll()  # `select.select` knows no descriptor above 1023
            looking.register(self._connection, select.POLLIN)
            if not looking.poll(0):
                return False
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (OSError, ValueError):  # it was reset, or closed here
            return True

    def _line(self, ends_at: float) -> bytes | None:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > MAX_JSON_BYTES:
                raise BadRequestError("An event's line is longer than this server accepts.")
            if not self._receive(ends_at):
                return None
        return self._taken(end + 1)

    def _part(self, nbytes: int, ends_at: float) -> bytes | None:
        while len(self._received) < nbytes:
            if not self._receive(ends_at):
                return None
        return self._taken(nbytes)

    def _taken(self, nbytes: int) -> bytes:
        taken = bytes(self._received[:nbytes])
        del self._received[:nbytes]
        return taken

    def _receive(self, ends_at: float) -> bool:
        """Whether something came. Raises TimeoutError at that time."""
        self._connection.settimeout(max(0.001, ends_at - time.monotonic()))
        data = self._connection.recv(_READ_BYTES)
        self._received += data
        return bool(data)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
        if b"\\u" in text:  # half of a character, which JSON can write, is no text: nothing can store or send it
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadRequestError("An event is no JSON object.")
    return value


def _length(head: dict[str, Any], name: str, most: int) -> int:
    value = head.get(name) or 0
    if type(value) is not int or not 0 <= value <= most:
        raise BadRequestError(f"{name} must be a whole number up to {most}.")
    return value
