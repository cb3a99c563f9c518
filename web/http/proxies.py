"""What reverse proxies say about a request: whose address sent it, over TLS or not, to which host and below which path,
and who is logged in.

Only the proxies of TRUSTED_PROXIES are believed. From anybody else these headers are removed before anything reads
them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from config import Settings
from setting_values import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PROXY_USER = "transcription.proxy_user"  # the WSGI environment's key: who is logged in at a trusted proxy
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # the latter of WebSockets, from Traefik
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,60}){1,8}")
_FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_FORWARDED",
)


class TrustedProxies:
    def __init__(self, networks: tuple[Network, ...], auth_header: str) -> None:
        """auth_header: the header in which a proxy names who is logged in; empty for none."""
        self._networks = networks
        self._auth_key = "HTTP_" + auth_header.upper().replace("-", "_") if auth_header else None

    @classmethod
    def of(cls, settings: Settings) -> TrustedProxies:
        return cls(settings.proxy_networks, settings.auth_header)

    def apply(self, environ: WSGIEnvironment) -> None:
        """Makes the environment say what a trusted proxy says, and removes the proxies' headers from it."""
        said = {name: environ.pop(name, "") for name in _FORWARDED}
        user = environ.pop(self._auth_key, "") if self._auth_key else ""
        if not self._trusts(environ.get("REMOTE_ADDR", "")):
            return
        if user:
            environ[PROXY_USER] = user
        environ["REMOTE_ADDR"] = self._client_of(said["HTTP_X_FORWARDED_FOR"]) or environ["REMOTE_ADDR"]
        scheme = _SCHEMES.get(_last(said["HTTP_X_FORWARDED_PROTO"]).lower())
        if scheme is not None:
            environ["wsgi.url_scheme"] = scheme
        host = _last(said["HTTP_X_FORWARDED_HOST"])
        if host:
            environ["HTTP_HOST"] = host
        prefix = _last(said["HTTP_X_FORWARDED_PREFIX"]).rstrip("/")
        if _PREFIX.fullmatch(prefix):
            environ["SCRIPT_NAME"] = prefix  # the proxy has removed it from the path

    def _client_of(self, forwarded_for: str) -> str | None:
        """The last address that is no proxy of ours: what stands before it may have been made up by the client."""
        for address in reversed([part.strip() for part in forwarded_for.split(",")]):
            if _address(address) is None:
                return None
            if not self._trusts(address):
                return address
        return None

    def _trusts(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _last(values: str) -> str:
    """What the nearest proxy added."""
    return values.rpartition(",")[2].strip()
