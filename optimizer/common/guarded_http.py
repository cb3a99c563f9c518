"""Requests to an address that somebody named: bounded in time and size, and only to where they are allowed to go.

urllib3 does the talking. It is given the connection, so what is checked is the address that it talks to, whatever the
name leads to a moment later. No redirect is followed, no proxy asked, no cookie kept and nothing decompressed.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout, parse_url

from optimizer.common.addresses import is_public

CONNECT_S = 5.0  # for resolving the name, and again for each of its addresses
SILENCE_S = 10.0
READ_BYTES = 4096  # of the body of an answer to a POST, so that a short one ends in order
GET_BYTES = 256 * 1024

Resolve = Callable[[str, int], list[str]]


class GuardedHttpError(Exception):
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


class Guard:
    """One request at a time; `abort` from any thread, also before it."""

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

    def abort(self) -> None:
        """Ends it now, with GuardedHttpError timeout. Only a name that is being resolved is waited for."""
        with self._lock:
            self._is_aborted = True
            if self._wire is not None:
                with suppress(OSError):
                    self._wire.shutdown(socket.SHUT_RDWR)

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection to the first address of the host that may be and can be reached.

        Raises GuardedHttpError, OSError.
        """
        allowed = [address for address in self._look_up(host, port) if self._may_reach(address)]
        if not allowed:
            raise GuardedHttpError("private_address")
        for address in allowed:
            with suppress(OSError):
                return self._hold(socket.create_connection((address, port), timeout_s))
        raise GuardedHttpError("not_reached")

    def _pool_for(self, url: str) -> tuple[HTTPConnectionPool, str]:
        """And what to ask there for. Raises GuardedHttpError."""
        try:
            parts = parse_url(url)
        except urllib3.exceptions.LocationParseError:  # whose message quotes the address
            raise GuardedHttpError("name_not_found") from None
        return self._pool(parts.scheme or "", parts.host or "", parts.port), parts.request_uri

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

        thread = threading.Thread(target=resolve, name="resolve", daemon=True)
        thread.start()
        thread.join(CONNECT_S)
        if not found:
            raise GuardedHttpError("name_not_found")
        return list(found)

    def _may_reach(self, address: str) -> bool:
        return self._allow_private or is_public(ipaddress.ip_address(address))

    def _hold(self, connection: socket.socket) -> socket.socket:
        with self._lock:
            if self._is_aborted:
                connection.close()
                raise GuardedHttpError("timeout")
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


class GuardedPost(Guard):
    """`send` once. Nothing of the answer but its status and `Retry-After` is used."""

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        """Raises GuardedHttpError."""
        pool, target = self._pool_for(url)
        try:
            answer = pool.urlopen(
                "POST", target, body=body, headers=headers, redirect=False, retries=False,
                timeout=Timeout(connect=CONNECT_S, read=SILENCE_S), preload_content=False,
            )  # fmt: skip
            with suppress(urllib3.exceptions.HTTPError, OSError):
                answer.read(READ_BYTES, decode_content=False)
            answer.close()
            return PostAnswer(answer.status, _seconds(answer.headers.get("Retry-After", "")))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise GuardedHttpError(self._code_of(error)) from error
        finally:
            pool.close()
            self._let_go()


class GuardedGet(Guard):
    """`asking` as often as redirects make it necessary, one after the other."""

    @contextmanager
    def asking(self, url: str, headers: Mapping[str, str]) -> Iterator[GetAnswer]:
        """The answer, whose body is read as it comes. Raises GuardedHttpError."""
        pool, target = self._pool_for(url)
        try:
            try:
                answer = pool.urlopen(
                    "GET", target, headers=headers, redirect=False, retries=False,
                    timeout=Timeout(connect=CONNECT_S, read=SILENCE_S), preload_content=False, decode_content=False,
                )  # fmt: skip
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise GuardedHttpError(self._code_of(error)) from error
            with answer:
                yield GetAnswer(answer, self._code_of)
        finally:
            pool.close()
            self._let_go()


class GetAnswer:
    def __init__(self, answer: urllib3.BaseHTTPResponse, code_of: Callable[[BaseException], str]) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self._answer = answer
        self._code_of = code_of

    def read(self) -> bytes:
        """What has come of the body, as it was sent; nothing at its end. Raises GuardedHttpError."""
        try:
            return self._answer.read1(GET_BYTES, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise GuardedHttpError(self._code_of(error)) from error


def _seconds(text: str) -> float | None:
    """None also for a date, which nobody sends here."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


class _GuardedHTTP(HTTPConnection):
    def __init__(self, *args: Any, opened_by: Guard, **options: Any) -> None:
        super().__init__(*args, **options)
        self._opened_by = opened_by

    def _new_conn(self) -> socket.socket:
        return self._opened_by.connect(self._dns_host, self.port, CONNECT_S)


class _GuardedHTTPS(HTTPSConnection):
    def __init__(self, *args: Any, opened_by: Guard, **options: Any) -> None:
        super().__init__(*args, **options)
        self._opened_by = opened_by

    def _new_conn(self) -> socket.socket:
        return self._opened_by.connect(self._dns_host, self.port, CONNECT_S)
