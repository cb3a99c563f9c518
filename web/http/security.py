"""The checks and headers of every request, in front of both Flask and Socket.IO.

Socket.IO takes its requests before Flask sees them, so checks and headers in Flask would not cover /socket.io/. These
checks keep other web sites in the user's own browser out; `access` says who may do what.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from config import Settings
from web.http.error_shapes import Fault, shaped
from web.http.proxies import TrustedProxies

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "transcription.request_id"  # the WSGI environment's key
ANY_HOST = "*"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SOCKET_PATH = "/socket.io"

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), payment=(), usb=()",
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


def content_security_policy(nonce: str | None = None) -> str:
    """nonce: of the page's own inline script and style. Without one, no inline script is allowed."""
    inline = f" 'nonce-{nonce}'" if nonce else ""
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self'{inline}",
            f"style-src 'self'{inline}",
            "img-src 'self' data:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class Guard:
    """WSGI middleware: hears what a trusted proxy says, checks host and origin, gives each request an id, and adds the
    headers to every answer."""

    def __init__(self, application: WSGIApplication, allowed_hosts: AllowedHosts, proxies: TrustedProxies) -> None:
        self._application = application
        self._allowed_hosts = allowed_hosts
        self._proxies = proxies

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_id = environ[REQUEST_ID] = secrets.token_hex(8)
        start_guarded = _adding_headers(start_response, request_id)
        self._proxies.apply(environ)
        if not self._allowed_hosts.allows(environ.get("HTTP_HOST", "")):
            return refuse(
                environ,
                start_guarded,
                "400 Bad Request",
                "unknown_host",
                "The server does not answer under this host name. Add it to ALLOWED_HOSTS if it is meant to.",
            )
        if _is_state_changing(environ) and not _has_key(environ) and not is_same_origin(environ):
            return refuse(
                environ,
                start_guarded,
                "403 Forbidden",
                "cross_origin",
                "Requests from other web sites are refused. If this is the server's own page, a proxy in front of the "
                "server changes the header Host: it must pass it on as it came.",
            )
        return self._application(environ, start_guarded)


class AllowedHosts:
    """The host names that a request may be addressed to.

    IP addresses are always allowed: only a name can be made to point to this machine by somebody else (DNS rebinding).
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.strip().lower() for name in names} - {""}

    @classmethod
    def of(cls, settings: Settings) -> AllowedHosts:
        own = ["localhost", settings.host]
        if settings.is_public:
            own += [socket.gethostname(), f"{socket.gethostname()}.local"]
        return cls([*own, *settings.allowed_hosts.split(",")])

    def allows(self, host_header: str) -> bool:
        if ANY_HOST in self._names:
            return True
        try:
            name = urlsplit(f"//{host_header}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)


def is_same_origin(environ: WSGIEnvironment) -> bool:
    """Whether the request comes from our own page, or from no page at all (a script, a typed address).

    Only host and port are compared, because behind a proxy that terminates TLS the page's scheme differs from ours.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site in ("same-origin", "none")
    origin = environ.get("HTTP_ORIGIN")
    return origin is None or _is_origin_of_host(origin, environ.get("HTTP_HOST", ""))


def is_own_origin(origin: str | None, environ: WSGIEnvironment) -> bool:
    """Called by python-socketio: whether this origin may connect."""
    return origin is not None and _is_origin_of_host(origin, environ.get("HTTP_HOST", ""))


def headers_of_every_answer(request_id: str) -> dict[str, str]:
    return {**_HEADERS, "Content-Security-Policy": content_security_policy(), "X-Request-Id": request_id}


def refuse(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: str,
    code: str,
    message: str,
    *,
    retry_after_s: int | None = None,
) -> Iterable[bytes]:
    """Answers a request with an error, before Flask or Socket.IO has seen it. status: with its phrase, as in WSGI."""
    fault = Fault(int(status[:3]), code, message, environ.get(REQUEST_ID, ""))
    body = json.dumps(shaped(environ.get("PATH_INFO", ""), fault)[1]).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if retry_after_s is not None:
        headers.append(("Retry-After", str(retry_after_s)))
    start_response(status, headers)
    return [body]


def _is_state_changing(environ: WSGIEnvironment) -> bool:
    """Includes every request of the live feed, because a foreign page with a socket could read everything."""
    return environ["REQUEST_METHOD"] not in SAFE_METHODS or environ.get("PATH_INFO", "").startswith(SOCKET_PATH)


def _has_key(environ: WSGIEnvironment) -> bool:
    """Whether a key is sent. No page of another site can do that: it would have to ask first, and there is no CORS."""
    return str(environ.get("HTTP_AUTHORIZATION", ""))[:7].lower() == "bearer "


def _is_origin_of_host(origin: str, host_header: str) -> bool:
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host_header}")
        default_port = _DEFAULT_PORTS.get(page.scheme)
        return (
            default_port is not None
            and page.hostname == here.hostname
            and (page.port or default_port) == (here.port or default_port)
        )
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _adding_headers(start_response: StartResponse, request_id: str) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        present = {name.lower() for name, _ in headers}
        wanted = headers_of_every_answer(request_id)
        added = [(name, value) for name, value in wanted.items() if name.lower() not in present]
        return start_response(status, headers + added, exc_info)

    return start
