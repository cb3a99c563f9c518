"""The live feed's WebSockets, with the limits that simple-websocket and Engine.IO lack.

A large message from a client is refused. Nothing is compressed: a compression context takes 300 KB, and a small message
can decompress into a large one. A peer that neither reads nor writes is disconnected, and any thread can cut a socket.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI
from engineio.async_drivers.threading import DaemonThread

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MAX_MESSAGE_BYTES = 64_000
PING_INTERVAL_S = 25
PING_TIMEOUT_S = 20
SEND_TIMEOUT_S = 30
_RECEIVE_TIMEOUT_S = PING_INTERVAL_S + PING_TIMEOUT_S + 5


class OpenSockets:
    """Makes the sockets that Engine.IO asks for, and knows which are open, by Engine.IO's session id. Any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._by_session: dict[str, LiveSocket] = {}

    def make_socket(self, handler: Callable[..., Any], server: object) -> LiveSocket:
        """Stands in for the WebSocket class of Engine.IO's `async` driver. handler: a method of the session."""
        return LiveSocket(handler, server, self)

    def add(self, session_id: str, open_socket: LiveSocket) -> None:
        with self._changed:
            self._by_session[session_id] = open_socket

    def remove(self, session_id: str) -> None:
        with self._changed:
            self._by_session.pop(session_id, None)
            self._changed.notify_all()

    def wait_until_none(self, timeout_s: float) -> None:
        """Returns once all are closed, after `timeout_s` at the latest."""
        with self._changed:
            self._changed.wait_for(lambda: not self._by_session, timeout_s)

    def cut(self, session_id: str) -> None:
        """Ends the session's connection at once, if it has one."""
        open_socket = self._by_session.get(session_id)
        if open_socket is not None:
            open_socket.cut()

    def cut_all(self) -> None:
        for open_socket in list(self._by_session.values()):
            open_socket.cut()


class LiveSocket(SimpleWebSocketWSGI):  # type: ignore[misc]
    def __init__(self, handler: Callable[..., Any], server: object, registry: OpenSockets) -> None:
        super().__init__(handler, server, max_message_size=MAX_MESSAGE_BYTES, thread_class=_Reader)
        self._session_id = str(handler.__self__.sid)  # type: ignore[attr-defined]
        self._registry = registry
        self._connection: socket.socket | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        self._connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
        if self._connection is not None:
            _bound_waits(self._connection)
        self._registry.add(self._session_id, self)
        try:
            return super().__call__(environ, start_response)  # type: ignore[no-any-return]
        finally:
            self._registry.remove(self._session_id)

    def cut(self) -> None:
        if self._connection is not None:
            try:
                self._connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed in the meantime


class _Reader(DaemonThread):  # type: ignore[misc]
    """Reads the socket for simple-websocket and marks the connection as closed when it ends.

    When simple-websocket 1.1 refuses a message, it wakes the waiting thread before it marks the connection as closed. A
    quick thread then waited again, for ever, and a server thread was lost.
    """

    def __init__(self, target: Callable[[], None]) -> None:
        super().__init__(target=target)
        self._websocket = target.__self__  # type: ignore[attr-defined]

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._websocket.connected = False
            self._websocket.event.set()


def _bound_waits(connection: socket.socket) -> None:
    """Sets time-outs in the kernel, because simple-websocket sends whole messages only on a blocking socket."""
    connection.setblocking(True)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_RECEIVE_TIMEOUT_S))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(SEND_TIMEOUT_S))


def _timeval(seconds: int) -> bytes:
    return struct.pack("@ll", seconds, 0)
