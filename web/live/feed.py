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
from optimizer.common import strict_json
from web.http.access import find_principal
from web.http.rate_limit import RateLimiter
from web.http.security import is_own_origin
from web.http.task_access import TaskAccess
from web.live.broadcaster import Broadcaster
from web.live.clients import NAMESPACE, Clients
from web.live.commands import Command, Watch, read_unwatch, read_watch
from web.live.live_socket import MAX_MESSAGE_BYTES
from web.live.manager import LiveManager
from web.live.members import Members, room_of
from web.live.outbox import Outbox
from web.live.transport import PING_INTERVAL_S, PING_TIMEOUT_S, Transport

if TYPE_CHECKING:
    from web.http.system_port import SystemPort

log = logging.getLogger(__name__)

ReadCommand = Callable[[str, tuple[object, ...]], Command]

SHARE = 4  # one address gets at most one part in so many of the places; this machine's own is not limited


class LiveFeed:
    """Started and stopped once, with the system."""

    def __init__(
        self,
        app: Flask,
        system: SystemPort,
        *,
        limits: RateLimiter,
        max_clients: int,
        max_polling: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """limits: how often an account may ask. max_clients: how many may be connected; each needs a descriptor.
        max_polling: how many of them by polling, where each may hold a server thread."""
        self._system = system
        self._limits = limits
        self._members = Members(system.accounts, monotonic)
        self._max_clients = max_clients
        self._max_polling = max_polling
        self._is_closed = threading.Event()
        self._outbox = Outbox(monotonic)
        self._transport = Transport(monotonic)
        self.socketio = _make_socketio(app)
        self._transport.serve(self.socketio.server.eio)
        self.socketio.on_event("connect", self._on_connect)
        self.socketio.on_event("disconnect", self._on_disconnect)
        self.socketio.on_event("watch", self._on_watch)
        self.socketio.on_event("unwatch", self._on_unwatch)
        self.socketio.on_error_default(_on_handler_error)
        self._clients = Clients(self.socketio.server, self._transport, monotonic)
        self._broadcaster = Broadcaster(self.socketio.server, self._clients, self._members, self._outbox, system)
        system.add_listener(self._outbox.add_event)

    def start(self) -> None:
        self._transport.start()
        self._broadcaster.start()

    def stop(self) -> None:
        """Closes every connection and ends the feed's threads."""
        self.close_connections()
        self._broadcaster.stop()
        self._transport.stop()

    def close_connections(self) -> None:
        """Accepts no more clients and disconnects those that there are. Any thread."""
        self._is_closed.set()
        self._clients.disconnect_all()

    def has_room(self, share_key: str | None, is_polling: bool) -> bool:
        """Whether one more client may connect. share_key: by which its address is counted."""
        if self._is_closed.is_set() or self._clients.count() >= self._max_clients:
            return False
        if is_polling and self._clients.count_polling() >= self._max_polling:
            return False
        return share_key is None or self._clients.count_of(share_key) < max(1, self._max_clients // SHARE)

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


def _make_socketio(app: Flask) -> SocketIO:
    quiet = logging.getLogger("transcription.socketio")
    quiet.setLevel(logging.CRITICAL)  # it would log every client's bad requests as our errors
    return SocketIO(
        app,
        async_mode="threading",
        client_manager=LiveManager(),
        monitor_clients=False,  # `Clients` does, without a thread of its own
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


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]  # set by Flask-SocketIO


def _refusal(error: TranscriptionServerError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "field": error.field}}


def _on_handler_error(error: Exception) -> dict[str, Any]:
    log.error("event=live_handler_failed", exc_info=error)
    return _refusal(TranscriptionServerError())
