"""One POST to an address that somebody named: bounded in time and size, and only to where it is allowed to go.

urllib3 does the talking. It is given the connection, so what is checked is the address that it talks to, whatever the
name leads to a moment later. Nothing of the answer but its status and `Retry-After` is used, no redirect is followed
and no proxy asked.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout, parse_url

from optimizer.common.addresses import is_public

CONNECT_S = 5.0  # for resolving the name, and again for each of its addresses
SILENCE_S = 10.0
READ_BYTES = 4096  # of an answer's body, so that a short one ends in order

Resolve = Callable[[str, int], list[str]]


class PostError(Exception):
    """Why there is no answer. code: private_address, name_not_found, not_reached, tls, timeout or bad_answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class PostAnswer:
    status: int
    retry_after_s: float | None = None


def addresses_of(host: str, port: int) -> list[str]:
    """What the system's resolver says. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedPost:
    """`send` once; `abort` from any thread, also before it."""

    def __init__(
        self, *, allow_private: bool, tls: ssl.SSLContext | None = None, resolve: Resolve = addresses_of
    ) -> None:
        """tls: None for the system's certificate authorities."""
        self._allow_private = allow_private
        self._tls = tls
        self._resolve = resolve
        self._lock = threading.Lock()
        self._is_aborted = False
        self._wire: socket.socket | None = None  # a second descriptor of the connection

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        """Raises PostError."""
        try:
            parts = parse_url(url)
        except urllib3.exceptions.LocationParseError:  # whose message quotes the address
            raise PostError("name_not_found") from None
        pool = self._pool(parts.scheme or "", parts.host or "", parts.port)
        try:
            answer = pool.urlopen(
                "POST", parts.request_uri, body=body, headers=headers, redirect=False, retries=False,
                timeout=Timeout(connect=CONNECT_S, read=SILENCE_S), preload_content=False,
            )  # fmt: skip
            with suppress(urllib3.exceptions.HTTPError, OSError):
                answer.read(READ_BYTES, decode_content=False)
            answer.close()
            return PostAnswer(answer.status, _seconds(answer.headers.get("Retry-After", "")))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise PostError(self._code_of(error)) from error
        finally:
            pool.close()
            self._let_go()

    def abort(self) -> None:
        """Ends it now: `send` raises PostError timeout. Only a name that is being resolved is waited for."""
        with self._lock:
            self._is_aborted = True
            if self._wire is not None:
                with suppress(OSError):
                    self._wire.shutdown(socket.SHUT_RDWR)

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection to the first address of the host that may be and can be reached. Raises PostError, OSError."""
        allowed = [address for address in self._look_up(host, port) if self._may_reach(address)]
        if not allowed:
            raise PostError("private_address")
        for address in allowed:
            with suppress(OSError):
                return self._hold(socket.create_connection((address, port), timeout_s))
        raise PostError("not_reached")

    def _pool(self, scheme: str, host: str, port: int | None) -> HTTPConnectionPool:
        if scheme == "https":
            tls = self._tls or ssl.create_default_context()
            pool: HTTPConnectionPool = HTTPSConnectionPool(host, port, ssl_context=tls, opened_by=self)
            pool.ConnectionCls = _GuardedHTTPS
        else:
            pool = HTTPConnectionPool(host, port, opened_by=self)
            pool.ConnectionCls = _GuardedHTTP
        return pool

    def _look_up(self, host: str, port: int) -> list[str]:
        """Resolving cannot be interrupted, so it happens on a thread that is left to end by itself."""
        with suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        found: list[str] = []

        def resolve() -> None:
            with suppress(OSError, UnicodeError):
                found.extend(self._resolve(host, port))

        thread = threading.Thread(target=resolve, name="webhook-resolve", daemon=True)
        thread.start()
        thread.join(CONNECT_S)
        if not found:
            raise PostError("name_not_found")
        return list(found)

    def _may_reach(self, address: str) -> bool:
        return self._allow_private or is_public(ipaddress.ip_address(address))

    def _hold(self, connection: socket.socket) -> socket.socket:
        with self._lock:
            if self._is_aborted:
                connection.close()
                raise PostError("timeout")
            self._wire = connection.dup()  # the connection itself is handed over to TLS
        return connection

    def _let_go(self) -> None:
        with self._lock:
            wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _code_of(self, error: BaseException) -> str:
        if self._is_aborted or isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
            return "timeout"
        return "tls" if isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError) else "bad_answer"


def _seconds(text: str) -> float | None:
    """None also for a date, which nobody sends here."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


class _GuardedHTTP(HTTPConnection):
    def __init__(self, *args: Any, opened_by: GuardedPost, **options: Any) -> None:
        super().__init__(*args, **options)
        self._opened_by = opened_by

    def _new_conn(self) -> socket.socket:
        return self._opened_by.connect(self._dns_host, self.port, CONNECT_S)


class _GuardedHTTPS(HTTPSConnection):
    def __init__(self, *args: Any, opened_by: GuardedPost, **options: Any) -> None:
        super().__init__(*args, **options)
        self._opened_by = opened_by

    def _new_conn(self) -> socket.socket:
        return self._opened_by.connect(self._dns_host, self.port, CONNECT_S)
