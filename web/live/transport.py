"""The WebSocket transport under Engine.IO: one thread that waits for all sockets, one that handles what arrives.

Engine.IO's own takes four threads a client: the server's, one that writes, one that reads, and one that waits to ping.
Here it keeps the protocol, and is given other parts by its `async` driver's table: `websocket` takes the socket over
from the server's thread, `queue` sends without waiting, and the one `thread` it starts, to ping, becomes a timer.
tests/web/live/test_transport.py fails when a new version of it needs something else.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from engineio.async_drivers.threading import DaemonThread
from engineio.exceptions import EngineIOError
from engineio.packet import PING, Packet
from engineio.socket import Socket as Session
from wsproto.utilities import generate_accept_token

from web.http.socket_handover import TAKE_SOCKET
from web.live.allowance import Allowance
from web.live.link import UPGRADE_TIMEOUT_S, Link
from web.live.live_socket import LiveSocket
from web.live.packet_queue import PacketQueue
from web.live.socket_loop import SocketLoop

if TYPE_CHECKING:
    import socket

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

PING_INTERVAL_S = 25
PING_TIMEOUT_S = 20
_KEY_BYTES, _VERSION = 16, "13"
_OF_THE_REQUEST = ("gunicorn.socket", "eventlet.input")  # the session keeps its environment, and they hold memory
_SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n"
)


class Transport:
    """Knows which sockets are open, by Engine.IO's session id. Any thread. Started and stopped once."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._loop = SocketLoop()
        self._receiver = ThreadPoolExecutor(1, thread_name_prefix="live-receive")
        self._changed = threading.Condition()
        self._links: dict[str, Link] = {}

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self.cut_all()
        self._loop.stop()
        self._receiver.shutdown()

    def serve(self, engine: Any) -> None:
        """Becomes the transport of this Engine.IO server. Its `monitor_clients` must be off: that is a thread too."""
        engine._async = {
            "thread": partial(_Background, self._loop),
            "queue": PacketQueue,
            "queue_empty": queue.Empty,
            "event": threading.Event,
            "websocket": self._opener,
            "sleep": time.sleep,
        }

    def wait_until_none(self, timeout_s: float) -> None:
        """Returns once all are closed, after `timeout_s` at the latest."""
        with self._changed:
            self._changed.wait_for(lambda: not self._links, timeout_s)

    def cut(self, session_id: str) -> None:
        """Ends the session's connection at once, if it has one."""
        link = self._links.get(session_id)
        if link is not None:
            link.socket.cut()

    def cut_all(self) -> None:
        for link in list(self._links.values()):
            link.socket.cut()

    # --- the server's threads --------------------------------------------------------------------------------------

    def _opener(self, handler: Callable[..., Any], engine: Any) -> Callable[..., Any]:
        """What Engine.IO calls to make a WebSocket. handler: a method of the session, which would hold the thread."""
        return partial(self._open, handler.__self__, engine)  # type: ignore[attr-defined]

    def _open(self, session: Any, engine: Any, environ: WSGIEnvironment, _: StartResponse) -> Any:
        """Answers the handshake and takes the socket. Raises what tells the server that there is no answer to send."""
        link = Link(session, self._receive, self._forget)
        accept = _accept_token(environ)
        if accept is None or not self._add(link):
            if link.is_open:  # it is not connected in any other way
                session.close(wait=False, abort=True)
            return engine._bad_request()
        connection, received, is_taken = _socket_of(environ)
        answer = _SWITCH.format(accept).encode()
        live_socket = LiveSocket(connection, self._loop, link, Allowance(self._monotonic), answer)
        link.begin(live_socket)
        live_socket.open(received)
        if not link.is_open:
            self._loop.call_later(UPGRADE_TIMEOUT_S, partial(_close_unless_open, link))
        if is_taken:
            raise StopIteration
        live_socket.wait_until_gone()
        raise ConnectionError

    def _add(self, link: Link) -> bool:
        """False when the session has a socket already."""
        with self._changed:
            return self._links.setdefault(link.session.sid, link) is link

    def _forget(self, link: Link) -> None:
        with self._changed:
            self._links.pop(link.session.sid, None)
            self._changed.notify_all()

    def _receive(self, call: Callable[[], None]) -> None:
        try:
            self._receiver.submit(_logged, call)
        except RuntimeError:
            call()  # it is shut down, and so is everything that could be disturbed


class _Background:
    """Stands in for the thread class of Engine.IO's `async` driver."""

    def __init__(self, loop: SocketLoop, target: Any, args: Iterable[Any] = (), kwargs: Any = None) -> None:
        self._loop = loop
        self._target = target
        self._is_ping = getattr(target, "__func__", None) is Session._send_ping
        self._thread = None if self._is_ping else DaemonThread(target=target, args=args, kwargs=kwargs)

    def start(self) -> None:
        if self._thread is not None:
            self._thread.start()
        else:
            self._loop.call_later(PING_INTERVAL_S, partial(_ping, self._target.__self__))

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()


def _ping(session: Any) -> None:
    """What Engine.IO's `_send_ping` does after its pause."""
    if not session.closing and not session.closed:
        session.last_ping = time.time()
        try:
            session.send(Packet(PING))
        except EngineIOError:
            return  # it was closed in the meantime


def _close_unless_open(link: Link) -> None:
    if not link.is_open:
        link.socket.close()


def _accept_token(environ: WSGIEnvironment) -> str | None:
    """None when the request is no handshake of a WebSocket."""
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    try:
        is_key = len(b64decode(key, validate=True)) == _KEY_BYTES
    except (Base64Error, ValueError):
        is_key = False
    if not is_key or environ.get("HTTP_SEC_WEBSOCKET_VERSION") != _VERSION:
        return None
    return generate_accept_token(key.encode()).decode()


def _socket_of(environ: WSGIEnvironment) -> tuple[socket.socket, bytes, bool]:
    """The socket, what has been received on it, and whether the request's thread may end."""
    take = environ.pop(TAKE_SOCKET, None)
    for held in _OF_THE_REQUEST:
        environ.pop(held, None)
    if take is not None:
        connection, received = take()
        return connection, received, True
    connection = environ["werkzeug.socket"].dup()  # it shuts its own down when the request has ended
    connection.setblocking(False)
    return connection, b"", False


def _logged(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:
        log.exception("event=live_receive_failed")
