"""The live feed: Socket.IO's server, the commands that clients send, and the thread that emits.

Neither a command nor an event of the system waits for a client: both go into the outbox, and one thread sends what is
in it. A client that is too slow, or was away, misses events and asks for what it missed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from flask_socketio import SocketIO

from errors import TranscriptionServerError, UnavailableError
from optimizer.accounts.principal import EVERYBODY
from web.http import strict_json
from web.http.access import find_principal
from web.http.rate_limit import RateLimiter
from web.http.security import is_own_origin
from web.http.task_access import TaskAccess
from web.live.broadcaster import Broadcaster
from web.live.clients import NAMESPACE, Clients
from web.live.commands import Command, Watch, read_unwatch, read_watch
from web.live.members import Members, room_of
from web.live.outbox import Outbox
from web.live.socket import MAX_MESSAGE_BYTES, PING_INTERVAL_S, PING_TIMEOUT_S, OpenSockets

if TYPE_CHECKING:
    from web.http.system_port import SystemPort

log = logging.getLogger(__name__)

ReadCommand = Callable[[str, tuple[object, ...]], Command]


class LiveFeed:
    """Started and stopped once, with the system."""

    def __init__(
        self,
        app: Flask,
        system: SystemPort,
        *,
        limits: RateLimiter,
        max_clients: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """limits: how often an account may ask. max_clients: how many may be connected. Each holds a server thread, so
        it must be well below their number."""
        self._system = system
        self._limits = limits
        self._members = Members(system.accounts, monotonic)
        self._max_clients = max_clients
        self._is_closed = threading.Event()
        self._outbox = Outbox(monotonic)
        open_sockets = OpenSockets()
        self.socketio = _make_socketio(app, open_sockets)
        self.socketio.on_event("connect", self._on_connect)
        self.socketio.on_event("disconnect", self._on_disconnect)
        self.socketio.on_event("watch", self._on_watch)
        self.socketio.on_event("unwatch", self._on_unwatch)
        self.socketio.on_error_default(_on_handler_error)
        self._clients = Clients(self.socketio.server, open_sockets, monotonic)
        self._broadcaster = Broadcaster(self.socketio.server, self._clients, self._members, self._outbox, system)
        system.add_listener(self._outbox.add_event)

    def start(self) -> None:
        self._broadcaster.start()

    def stop(self) -> None:
        """Closes every connection and ends the thread that emits."""
        self.close_connections()
        self._broadcaster.stop()

    def close_connections(self) -> None:
        """Accepts no more clients and disconnects those that there are. Any thread."""
        self._is_closed.set()
        self._clients.disconnect_all()

    def has_room(self) -> bool:
        """Whether one more client may connect."""
        return not self._is_closed.is_set() and self._clients.count() < self._max_clients

    # --- who is there, and what they ask for; server threads -------------------------------------------------------

    def _on_connect(self, *_: object) -> bool:
        """False for a stranger, who is then disconnected. Whoever is no member hears nothing and may ask nothing."""
        try:
            principal = find_principal(request, self._system.accounts)
        except TranscriptionServerError:
            return False
        if principal is None:
            return False
        self._members.add(_sid(), principal)
        room = room_of(principal)
        if room is not None:
            self.socketio.server.enter_room(_sid(), room, namespace=NAMESPACE)
        return True

    def _on_disconnect(self, *_: object) -> None:
        self._members.remove(_sid())

    def _on_watch(self, *payload: object) -> dict[str, Any]:
        return self._execute(read_watch, payload)

    def _on_unwatch(self, *payload: object) -> dict[str, Any]:
        return self._execute(read_unwatch, payload)

    def _execute(self, read: ReadCommand, payload: tuple[object, ...]) -> dict[str, Any]:
        """Every command comes by here: who sends it is checked again, for the key may have been revoked meanwhile."""
        try:
            principal = self._members.current(_sid())
            if principal != EVERYBODY:
                self._limits.take(f"account {principal.name}")
            command = read(_sid(), payload)
            if isinstance(command, Watch):
                TaskAccess(self._system, principal).task(command.task_id)  # raises TaskNotFoundError
        except TranscriptionServerError as error:
            return _refusal(error)
        return self._accept(command)

    def _accept(self, command: Command) -> dict[str, Any]:
        return {"ok": True} if self._outbox.try_add_command(command) else _refusal(UnavailableError())


def _make_socketio(app: Flask, open_sockets: OpenSockets) -> SocketIO:
    quiet = logging.getLogger("transcription.socketio")
    quiet.setLevel(logging.CRITICAL)  # it would log every client's bad requests as our errors
    socketio = SocketIO(
        app,
        async_mode="threading",
        async_handlers=False,
        manage_session=False,
        json=strict_json,
        cors_allowed_origins=is_own_origin,
        cors_credentials=False,  # for pages of other origins, which there are none of
        max_http_buffer_size=MAX_MESSAGE_BYTES,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        logger=quiet,
        engineio_logger=quiet,
    )
    engine = socketio.server.eio
    # Engine.IO's own WebSocket does not limit the size of a message.
    engine._async = {**engine._async, "websocket": open_sockets.make_socket}
    return socketio


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]  # set by Flask-SocketIO


def _refusal(error: TranscriptionServerError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "field": error.field}}


def _on_handler_error(error: Exception) -> dict[str, Any]:
    log.error("event=live_handler_failed", exc_info=error)
    return _refusal(TranscriptionServerError())
