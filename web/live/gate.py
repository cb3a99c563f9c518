"""Refuses connections to the live feed before each of them occupies a server thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from errors import UnavailableError
from web.http.security import SOCKET_PATH, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class ConnectionGate:
    """WSGI middleware. Refuses new clients while there is no room, and JSONP, which any web site could read."""

    def __init__(self, application: WSGIApplication, has_room: Callable[[], bool]) -> None:
        self._application = application
        self._has_room = has_room

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith(SOCKET_PATH):
            query = parse_qs(environ.get("QUERY_STRING", ""))
            if "j" in query:
                return refuse(environ, start_response, "400 Bad Request", "bad_request", "JSONP is not spoken here.")
            if "sid" not in query and not self._has_room():
                return refuse(
                    environ,
                    start_response,
                    "503 Service Unavailable",
                    "too_many_clients",
                    "As many pages are open as the server can tell the news to. It works without, too.",
                    retry_after_s=UnavailableError.retry_after_s,
                )
        return self._application(environ, start_response)
