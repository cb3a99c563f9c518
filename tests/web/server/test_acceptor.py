"""A client for which there is no descriptor is told so, with the one that is kept for that."""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Iterator

import pytest

from web.server.acceptor import Acceptor


class FullListener:
    """Has a client waiting, and accepts it at the second attempt: when the reserve has been given up."""

    def __init__(self) -> None:
        self._real = socket.create_server(("127.0.0.1", 0))
        self.client = socket.create_connection(self._real.getsockname(), timeout=20)
        self._attempts = 0

    def accept(self) -> tuple[socket.socket, object]:
        self._attempts += 1
        if self._attempts == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return self._real.accept()

    def fileno(self) -> int:
        return self._real.fileno()

    def setblocking(self, flag: bool) -> None:
        self._real.setblocking(flag)

    def getsockname(self) -> object:
        return self._real.getsockname()

    def close(self) -> None:
        self._real.close()
        self.client.close()


@pytest.fixture
def listener() -> Iterator[FullListener]:
    made = FullListener()
    yield made
    made.close()


def test_a_client_without_a_descriptor_is_told_to_come_again(listener: FullListener) -> None:
    accepted: list[object] = []
    with selectors.DefaultSelector() as poller:
        acceptor = Acceptor([listener], poller, lambda *_: accepted.append(1), make_room=lambda: False)
        ((key, _),) = poller.select(20)
        key.data()
        answer = b"".join(iter(lambda: listener.client.recv(4096), b""))
        acceptor._release_reserve()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Retry-After: 5\r\n" in answer
    assert accepted == []


def test_room_is_made_before_anybody_is_turned_away(listener: FullListener) -> None:
    accepted: list[object] = []
    with selectors.DefaultSelector() as poller:
        acceptor = Acceptor([listener], poller, lambda one, *_: accepted.append(one), make_room=lambda: True)
        for _ in range(2):
            ((key, _),) = poller.select(20)
            key.data()
        acceptor._release_reserve()
    (one,) = accepted
    assert isinstance(one, socket.socket)
    one.close()
