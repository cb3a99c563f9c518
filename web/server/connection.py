"""One client's connection, from its first byte to its end."""

from __future__ import annotations

import socket
from collections.abc import Collection
from concurrent.futures import Future
from enum import Enum, auto
from typing import Any

from gunicorn.http.parser import RequestParser

from setting_values import Network
from web.http.client_address import share_key
from web.server.client_socket import ClientSocket
from web.server.request_head import RequestHead


class Phase(Enum):
    IDLE = auto()  # not a byte of the next request yet
    RECEIVING = auto()  # a head, or a small body
    SERVED = auto()  # by a server thread
    SENDING = auto()  # what the client has not taken yet of an answer
    LINGERING = auto()  # everything is sent; what the client still sends is thrown away


class Outcome(Enum):
    """Of a request."""

    KEEP = auto()  # the connection, for another one
    CLOSE = auto()
    DROP = auto()  # without another thought for the client, which was too slow
    TAKEN = auto()  # the socket belongs to somebody else now


class Connection:
    """The front's thread has it, except in the phase SERVED: then the thread of its request has."""

    def __init__(
        self, cfg: Any, client_socket: ClientSocket, peer: Any, server: Any, proxies: Collection[Network]
    ) -> None:
        self.sock = client_socket
        self.peer = peer
        self.server = server
        self.client = share_key(peer[0], proxies) if isinstance(peer, tuple) else None
        self.parser = RequestParser(cfg, client_socket, peer)
        self.phase = Phase.IDLE
        self.deadline = 0.0
        self.received = bytearray()
        self.head: RequestHead | None = None
        self.outcome = Outcome.CLOSE
        self.future: Future[Outcome] | None = None
        self.thrown_away = 0  # bytes, while it lingers
        self.lingers_until = 0.0

    def hand_over(self) -> None:
        """Gives the parser what has been received."""
        self.parser.unreader.unread(bytes(self.received))
        self.received.clear()

    def take_back(self) -> None:
        """What the parser has read beyond its request."""
        self.received += self.parser.unreader.take_buffered()
        self.head = None

    def take(self) -> tuple[socket.socket, bytes]:
        """For the thread of the request: the socket, which the caller closes from here on, and what it has received."""
        self.outcome = Outcome.TAKEN
        taken = socket.socket(self.sock.family, self.sock.type, self.sock.proto, fileno=self.sock.detach())
        taken.setblocking(False)
        return taken, self.parser.unreader.take_buffered()
