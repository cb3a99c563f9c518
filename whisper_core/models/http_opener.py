"""urllib with one time-out for connecting and another for silence afterwards; urllib itself has only one for both."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable
from typing import Any


def make_opener(*, connect_s: float, stall_s: float) -> urllib.request.OpenerDirector:
    """connect_s: for resolving the name, and again for connecting. stall_s: without a byte.

    Uses the proxies of the environment, as everywhere in urllib.
    """

    def connect(connection: http.client.HTTPConnection, connect_now: Callable[[], None]) -> None:
        _resolve(connection.host, connection.port, connect_s)
        connection.timeout = connect_s
        connect_now()
        connection.sock.settimeout(stall_s)

    class Http(http.client.HTTPConnection):
        def connect(self) -> None:
            connect(self, super().connect)

    class Https(http.client.HTTPSConnection):
        def connect(self) -> None:
            connect(self, super().connect)

    class HttpHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Http, request)

    class HttpsHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Https, request)

    return urllib.request.build_opener(HttpHandler, HttpsHandler)


def _resolve(host: str, port: int, timeout_s: float) -> None:
    """Raises OSError unless the name resolves in time: the system's resolver may need half a minute to fail.

    Resolving cannot be interrupted, so it happens in a thread that is left to end by itself.
    """
    outcome: list[OSError | None] = []

    def resolve() -> None:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=resolve, name="resolve", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not outcome:
        raise TimeoutError("the name was not resolved in time")
    if outcome[0] is not None:
        raise outcome[0]
