"""How the live feed gets a request's socket and keeps it beyond the request."""

from __future__ import annotations

import socket
from collections.abc import Callable

# The WSGI environment's key of a `TakeSocket`. Our server sets it.
TAKE_SOCKET = "transcription.take_socket"

# Gives the socket away, and what has been received on it beyond the request. The server neither uses nor closes it
# after that. The application ends its request with StopIteration instead of an answer.
TakeSocket = Callable[[], tuple[socket.socket, bytes]]
