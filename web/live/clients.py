"""The clients that are connected to the live feed: how many there are, and which have to go."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from engineio.exceptions import EngineIOError

from web.live.gate import SHARE_KEY
from web.live.live_socket import MAX_QUEUED_FRAMES
from web.live.transport import Transport

log = logging.getLogger(__name__)

NAMESPACE = "/"
SWEEP_INTERVAL_S = 5.0
CONNECT_DEADLINE_S = 10.0  # for an Engine.IO session that never becomes a Socket.IO connection
MAX_QUEUED_PACKETS = MAX_QUEUED_FRAMES  # of one client that does not read
CLOSE_TIMEOUT_S = 0.5


class Clients:
    """The Engine.IO sessions of one Socket.IO server. Any thread, except for `drop_unresponsive`."""

    def __init__(self, server: Any, transport: Transport, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._transport = transport
        self._monotonic = monotonic
        self._unconnected_since: dict[str, float] = {}  # by Engine.IO's session id
        self._next_sweep = 0.0

    def count(self) -> int:
        return len(self._sessions())

    def count_polling(self) -> int:
        return sum(1 for session in self._sessions() if not session.upgraded)

    def count_of(self, share_key: str) -> int:
        """How many have the address that is counted by this key."""
        environs = list(self._server.environ.values())
        return sum(1 for environ in environs if environ.get(SHARE_KEY) == share_key)

    def disconnect_all(self) -> None:
        """Tells every client that the server closes, and cuts the connections of those that do not answer in time."""
        for session in self._sessions():
            try:
                session.close(wait=False)
            except EngineIOError:
                continue  # it was closed in the meantime
        self._transport.wait_until_none(CLOSE_TIMEOUT_S)
        self._transport.cut_all()

    def drop_unresponsive(self) -> None:
        """Drops clients that do not read and, every few seconds, those that are silent. One thread only."""
        for session in self._sessions():
            if session.queue.qsize() > MAX_QUEUED_PACKETS:
                self._drop(session, "does not read")
        now = self._monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL_S
            self._drop_unconnected(now)
            self._drop_silent()

    def _drop_unconnected(self, now: float) -> None:
        manager = self._server.manager
        unconnected = {s.sid: s for s in self._sessions() if manager.sid_from_eio_sid(s.sid, NAMESPACE) is None}
        self._unconnected_since = {sid: self._unconnected_since.get(sid, now) for sid in unconnected}
        for sid, since in self._unconnected_since.items():
            if now - since > CONNECT_DEADLINE_S:
                self._drop(unconnected[sid], "never connected")

    def _drop_silent(self) -> None:
        """Closes those that answer no ping, and forgets the closed ones. Engine.IO would have a thread for that."""
        for session in list(self._server.eio.sockets.values()):
            try:
                session.check_ping_timeout()
            except EngineIOError:  # it is closed
                self._server.eio.sockets.pop(session.sid, None)

    def _drop(self, session: Any, reason: str) -> None:
        log.info("event=live_client_dropped reason=%r", reason)
        session.close(wait=False, abort=True)
        self._transport.cut(session.sid)

    def _sessions(self) -> list[Any]:
        """Without the closed ones, which Engine.IO keeps for a while."""
        return [session for session in list(self._server.eio.sockets.values()) if not session.closed]
