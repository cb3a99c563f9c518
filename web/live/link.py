"""Between one Engine.IO session and its WebSocket: what the session's own thread would do, without a thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from engineio.exceptions import EngineIOError, UnknownPacketError
from engineio.packet import NOOP, Packet

from web.live.live_socket import LiveSocket, text_frame

log = logging.getLogger(__name__)

UPGRADE_TIMEOUT_S = 10.0
_PONG, _PROBE, _PROBE_ANSWER, _UPGRADE = "3", "2probe", "3probe", "5"
_BINARY = ("b", "45", "46")  # a packet in Base64, and messages with binary attachments


class State(Enum):
    PROBING = auto()  # a session that polls tries a WebSocket
    UPGRADING = auto()  # and has found that it works
    OPEN = auto()


class Link:
    """A listener of its socket. The session's handlers run on the receiver's thread, one after the other."""

    def __init__(
        self, session: Any, receive: Callable[[Callable[[], None]], None], forget: Callable[[Link], None]
    ) -> None:
        """receive: executes a call on the receiver's thread. forget: is told when the socket has gone."""
        self.session = session
        self._receive = receive
        self._forget = forget
        self.socket: LiveSocket  # set by `begin`
        self._state = State.PROBING if session.connected else State.OPEN

    def begin(self, live_socket: LiveSocket) -> None:
        self.socket = live_socket
        if self._state is State.OPEN:
            self.session.connected = self.session.upgraded = True
            self.session.queue.attach(live_socket)
        else:
            self.session.upgrading = True  # polls are answered at once from here on

    @property
    def is_open(self) -> bool:
        return self._state is State.OPEN

    # --- the loop's thread -----------------------------------------------------------------------------------------

    def on_message(self, text: str) -> None:
        match self._state:
            case State.PROBING if text == _PROBE:
                self._state = State.UPGRADING
                self.socket.send(text_frame(_PROBE_ANSWER))
                self.session.queue.put(Packet(NOOP))  # ends the poll that is waiting
            case State.UPGRADING if text == _UPGRADE:
                self._state = State.OPEN
                self.session.upgraded, self.session.upgrading = True, False
                self.session.queue.attach(self.socket)
            case State.OPEN if text == _PONG:
                self.session.schedule_ping()  # at once: a client is alive, however much the others ask for
            case State.OPEN:
                self._receive(lambda: self._on_packet(text))
            case _:
                self.socket.close()

    def on_closed(self) -> None:
        self._receive(self._on_end)

    # --- the receiver's thread -------------------------------------------------------------------------------------

    def _on_packet(self, text: str) -> None:
        if self.session.closed:
            return
        try:
            if text.startswith(_BINARY):
                raise ValueError("nothing binary is spoken here")
            self.session.receive(Packet(encoded_packet=text))
        except UnknownPacketError:
            return  # as Engine.IO does
        except Exception as error:  # noqa: BLE001 - whatever a client's packet provokes ends that client only
            log.info("event=live_client_dropped reason=%r", f"malformed packet, {type(error).__name__}")
            self.socket.close()

    def _on_end(self) -> None:
        try:
            if self._state is State.OPEN:
                engine = self.session.server
                self.session.close(wait=False, abort=True, reason=engine.reason.TRANSPORT_CLOSE)
                engine.sockets.pop(self.session.sid, None)
            else:
                self.session.upgrading = False  # it goes on polling
        except EngineIOError:
            return  # it was closed in the meantime
        finally:
            self._forget(self)
