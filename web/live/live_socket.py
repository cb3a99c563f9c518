"""One WebSocket of the live feed. wsproto does the framing; the loop's thread does everything else.

Nothing is compressed, and no extension is agreed on: a compression context takes 300 KB, and a small message can
decompress into a large one.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections import deque
from typing import Protocol

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason, FrameProtocol
from wsproto.utilities import RemoteProtocolError

from web.live.allowance import Allowance
from web.live.socket_loop import Loop

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64_000
MAX_QUEUED_FRAMES = 1000  # of a client that does not read; so is
MAX_QUEUED_BYTES = 1_000_000
MAX_PAUSE_S = 10.0  # a client that has sent so many messages at once that it would have to wait longer is dropped
CLOSE_TIMEOUT_S = 2.0
_KERNEL_BUFFER_BYTES = 256 * 1024
_RECEIVE_BYTES = 16 * 1024
_SEND_BYTES = 64 * 1024


class Listener(Protocol):
    """Is told on the loop's thread."""

    def on_message(self, text: str) -> None: ...

    def on_closed(self) -> None:
        """Once, and nothing after it."""


def text_frame(text: str) -> bytes:
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(text))


class LiveSocket:
    """`send`, `close` and `cut` may be called by any thread; they never wait."""

    def __init__(
        self, connection: socket.socket, loop: Loop, listener: Listener, allowance: Allowance, first_bytes: bytes
    ) -> None:
        """connection: not blocking; it is closed here. first_bytes: sent before every frame."""
        self._connection = connection
        self._loop = loop
        self._listener = listener
        self._allowance = allowance
        self._protocol = Connection(ConnectionType.SERVER)
        self._message: list[str] = []
        self._message_bytes = 0
        self._is_open = False
        self._watched_events = 0
        self._is_paused = False
        self._is_gone = False
        self._lock = threading.Lock()  # of what follows
        self._frames = deque([first_bytes])
        self._queued_bytes = len(first_bytes)
        self._is_flush_due = False
        self._is_closing = False
        self._gone = threading.Event()

    def open(self, received: bytes) -> None:
        """Begins to listen. received: what the client has sent already."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
        self._loop.call_soon(lambda: self._begin(received))

    def send(self, frame: bytes) -> None:
        """Drops the client when too much waits for it."""
        with self._lock:
            if self._is_closing:
                return
            self._append(frame)
            is_too_slow = len(self._frames) > MAX_QUEUED_FRAMES or self._queued_bytes > MAX_QUEUED_BYTES
        if is_too_slow:
            log.info("event=live_client_dropped reason='does not read'")
            self.cut()

    def close(self, reason: CloseReason = CloseReason.NORMAL_CLOSURE) -> None:
        """After what has been sent so far."""
        with self._lock:
            if self._is_closing:
                return
            self._append(bytes(FrameProtocol(client=False, extensions=[]).close(reason)))
            self._is_closing = True
        self._loop.call_later(CLOSE_TIMEOUT_S, self._end)

    def cut(self) -> None:
        """At once."""
        with self._lock:
            self._is_closing = True
        self._loop.call_soon(self._end)

    @property
    def queued_frames(self) -> int:
        return len(self._frames)

    def wait_until_gone(self) -> None:
        """For a server that holds a thread for each socket, as werkzeug's does in tests."""
        self._gone.wait()

    # --- the loop's thread -----------------------------------------------------------------------------------------

    def _append(self, frame: bytes) -> None:
        """Under the lock."""
        self._frames.append(frame)
        self._queued_bytes += len(frame)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _begin(self, received: bytes) -> None:
        if self._is_gone:
            return
        self._is_open = True
        self._take_in(received)
        self._flush()

    def _watch(self) -> None:
        if self._is_gone or not self._is_open:
            return
        events = (0 if self._is_paused else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self._frames else 0)
        if events != self._watched_events:
            self._watched_events = events
            self._loop.watch(self._connection, events, self._on_ready)

    def _on_ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ and not self._is_gone:
            self._receive()

    def _flush(self) -> None:
        if self._is_gone:
            return
        with self._lock:
            self._is_flush_due = False
        try:
            while data := self._next_piece():
                sent = self._connection.send(data)
                if sent < len(data):
                    self._put_back(data[sent:])
                    break
        except BlockingIOError:
            self._put_back(data)
        except OSError:
            self._end()
            return
        if self._is_closing and not self._frames:
            self._shut_down_sending()
        self._watch()

    def _next_piece(self) -> bytes:
        with self._lock:
            piece: list[bytes] = []
            size = 0
            while self._frames and size < _SEND_BYTES:
                piece.append(self._frames.popleft())
                size += len(piece[-1])
            self._queued_bytes -= size
        return b"".join(piece)

    def _put_back(self, rest: bytes) -> None:
        with self._lock:
            self._frames.appendleft(rest)
            self._queued_bytes += len(rest)

    def _shut_down_sending(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._end()

    def _receive(self) -> None:
        try:
            data = self._connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        if self._ignores_client():
            return
        try:
            self._protocol.receive_data(data)
            pause_s = 0.0
            for event in self._protocol.events():
                self._on_event(event)
                if self._ignores_client():
                    return
                if _is_whole_frame(event):
                    pause_s = self._allowance.spend()
                if pause_s > MAX_PAUSE_S:
                    self.close(CloseReason.POLICY_VIOLATION)
                    return
        except RemoteProtocolError:
            self.close(CloseReason.PROTOCOL_ERROR)
            return
        if pause_s > 0:
            self._is_paused = True
            self._watch()
            self._loop.call_later(pause_s, self._resume)

    def _ignores_client(self) -> bool:
        """What a client sends after the end is thrown away."""
        return self._is_closing

    def _resume(self) -> None:
        self._is_paused = False
        self._watch()

    def _on_event(self, event: object) -> None:
        match event:
            case TextMessage():
                self._on_text(event)
            case BytesMessage():
                self.close(CloseReason.UNSUPPORTED_DATA)
            case Ping():
                self.send(self._protocol.send(event.response()))
            case CloseConnection():
                self.close(CloseReason(event.code) if event.code in _ECHOED else CloseReason.PROTOCOL_ERROR)

    def _on_text(self, event: TextMessage) -> None:
        self._message_bytes += len(event.data.encode())
        if self._message_bytes > MAX_MESSAGE_BYTES:
            self.close(CloseReason.MESSAGE_TOO_BIG)
            return
        self._message.append(event.data)
        if event.message_finished:
            text = "".join(self._message)
            self._message.clear()
            self._message_bytes = 0
            self._listener.on_message(text)

    def _end(self) -> None:
        """The connection's end, once, however many ask for it."""
        if self._is_gone:
            return
        self._is_gone = True
        with self._lock:
            self._is_closing = True
            self._frames.clear()
        self._loop.watch(self._connection, 0, self._on_ready)
        self._connection.close()
        try:
            self._listener.on_closed()
        finally:
            self._gone.set()


_ECHOED = frozenset({CloseReason.NORMAL_CLOSURE, CloseReason.GOING_AWAY, CloseReason.NO_STATUS_RCVD})


def _is_whole_frame(event: object) -> bool:
    """A long frame comes in several pieces; a message in many short frames costs as much as many messages."""
    return not isinstance(event, TextMessage) or event.frame_finished
