"""What a server thread can see of its client without taking a byte from it."""

from __future__ import annotations

import socket

from web.server.client_socket import ClientSocket, DeferredBytes


def test_a_client_that_hangs_up_is_seen_to_be_gone_also_behind_unread_bytes() -> None:
    ours, theirs = socket.socketpair()
    with ClientSocket(ours, DeferredBytes()) as client:
        assert not client.is_abandoned()
        theirs.sendall(b"the next request")
        assert not client.is_abandoned()
        theirs.close()
        assert client.is_abandoned()
        assert client.recv(100) == b"the next request"
