"""Refuses connections to the live feed before any of its parts sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from errors import UnavailableError
from web.http.client_address import share_key
from web.http.security import SOCKET_PATH, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# The WSGI environment's key of what a client's share is counted by; not there when it is not limited.
SHARE_KEY = "transcription.share_key"


class ConnectionGate:
    """WSGI middleware. Refuses new clients while there is no room, and JSONP, which any web site could read.

    A poll holds a server thread while it waits for news, so only so many wait at a time, and one of each client.
    """

    def __init__(
        self, application: WSGIApplication, has_room: Callable[[str | None, bool], bool], *, max_polls: int
    ) -> None:
        """has_room: gets what the client's share is counted by, and whether it will poll."""
        self._application = application
        self._has_room = has_room
        self._max_polls = max_polls
        self._lock = threading.Lock()
        self._polling: set[str] = set()  # session ids

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(SOCKET_PATH):
            return self._application(environ, start_response)
        query = parse_qs(environ.get("QUERY_STRING", ""))
        if "j" in query:
            return refuse(environ, start_response, "400 Bad Request", "bad_request", "JSONP is not spoken here.")
        is_socket = environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        if is_socket and "upgrade" not in _connection_options(environ):
            # python-engineio 4.15 returns it packets without an answer's head, and keeps a session for it.
            return refuse(
                environ, start_response, "400 Bad Request", "bad_request", "`Connection: Upgrade` is missing."
            )
        if "sid" not in query:
            key = share_key(environ.get("REMOTE_ADDR", ""))
            if not self._has_room(key, not is_socket):
                return _refuse_for_lack_of_room(environ, start_response)
            if key is not None:
                environ[SHARE_KEY] = key
        elif environ["REQUEST_METHOD"] == "GET" and not is_socket:
            return self._poll(query["sid"][0], environ, start_response)
        try:
            return self._application(environ, start_response)
        except KeyError:  # what python-engineio 4.15 raises for a POST to a session that has just ended
            return refuse(environ, start_response, "400 Bad Request", "bad_request", "This session has ended.")

    def _poll(self, session_id: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            if session_id in self._polling or len(self._polling) >= self._max_polls:
                return _refuse_for_lack_of_room(environ, start_response)
            self._polling.add(session_id)
        try:
            return self._application(environ, start_response)
        finally:
            with self._lock:
                self._polling.discard(session_id)


def _connection_options(environ: WSGIEnvironment) -> list[str]:
    return [option.strip() for option in environ.get("HTTP_CONNECTION", "").lower().split(",")]


def _refuse_for_lack_of_room(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return refuse(
        environ,
        start_response,
        "503 Service Unavailable",
        "too_many_clients",
        "As many pages are open as the server can tell the news to. It works without, too.",
        retry_after_s=UnavailableError.retry_after_s,
    )
