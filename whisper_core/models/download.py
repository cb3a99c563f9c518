"""One large file over HTTP: resumed after a cut, given up after a silence, bounded in tries.

Proxies are those of the environment, as everywhere in urllib.
"""

from __future__ import annotations

import http.client
import logging
import re
import shutil
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from errors import DiskFullError, ShuttingDownError

log = logging.getLogger(__name__)

READ_BYTES = 1 << 18
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class FetchProgress:
    """source: "official" or "package-index". total_bytes: as far as it is known yet."""

    source: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Patience:
    """connect_s: for looking up the name, and again for connecting. stall_s: without a byte. tries: in a row without
    progress_bytes of progress; the pause doubles after each."""

    connect_s: float = 5.0
    stall_s: float = 30.0
    tries: int = 4
    pause_s: float = 1.0
    progress_bytes: int = 1_000_000


DEFAULT_PATIENCE = Patience()


class FetchFailedError(Exception):
    """This source cannot give the file now. `str(error)` says why in a few public words."""


class _TryAgainError(Exception):
    """A fault that may be gone at the next try."""


class Download:
    """One address into one file. `run` returns when the file is there in full; its checksum is the caller's business.

    What has come so far stays in the file when a run fails, and the next one goes on from there.
    """

    def __init__(
        self,
        url: str,
        part: Path,
        *,
        on_progress: Callable[[int, int], None],
        should_stop: Callable[[], bool],
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        self._url = url
        self._part = part
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._patience = patience
        self._opener = _opener(patience)

    def run(self) -> None:
        """Blocks. Raises FetchFailedError, DiskFullError, ShuttingDownError (within stall_s of should_stop())."""
        tries = 0
        while True:
            before = self._done_bytes()
            try:
                self._try_once()
                return
            except _TryAgainError as error:
                has_progressed = self._done_bytes() - before >= self._patience.progress_bytes
                tries = 1 if has_progressed else tries + 1
                log.info("event=fetch_cut try=%d reason=%s", tries, error)
                if tries >= self._patience.tries:
                    raise FetchFailedError(str(error)) from error
            self._pause(self._patience.pause_s * 2 ** (tries - 1))

    def _try_once(self) -> None:
        done = self._done_bytes()
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310 - the address is ours
        try:
            with self._opener.open(request) as response:
                self._receive(response, done)
        except urllib.error.HTTPError as error:
            self._refused(error)
        except urllib.error.URLError as error:
            raise self._unreachable(error) from error
        except (TimeoutError, http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
            raise _TryAgainError("the connection was cut") from error

    def _receive(self, response: Any, done: int) -> None:
        """Append the answer to the part, or begin anew when the server sends the file from its start."""
        span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == HTTPStatus.PARTIAL_CONTENT and span and int(span[1]) == done:
            total, mode = int(span[2]), "ab"
        else:
            done, mode = 0, "wb"
            total = int(response.headers.get("Content-Length", 0))
        check_space(self._part.parent, total - done)
        with open(self._part, mode) as part:
            done = self._copy(response, part, done, total)
        if done < total:
            raise _TryAgainError("the connection was cut")

    def _copy(self, response: Any, part: IO[bytes], done: int, total: int) -> int:
        while data := _read(response):
            if self._should_stop():
                raise ShuttingDownError()
            part.write(data)
            done += len(data)
            self._on_progress(done, max(done, total))
        return done

    def _refused(self, error: urllib.error.HTTPError) -> None:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range") == f"bytes */{self._done_bytes()}":
                return  # the part is the whole file already
            self._part.unlink(missing_ok=True)
            raise _TryAgainError("the file has changed") from error
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code == HTTPStatus.TOO_MANY_REQUESTS:
            raise _TryAgainError(f"the server answered {error.code}") from error
        raise FetchFailedError(f"the server answered {error.code}") from error

    def _unreachable(self, error: urllib.error.URLError) -> Exception:
        """No second try when nothing has ever come from there: another source is asked instead, at once."""
        if self._done_bytes() > 0:
            return _TryAgainError("it cannot be reached")
        return FetchFailedError("it cannot be reached")

    def _done_bytes(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._should_stop():
                raise ShuttingDownError()
            time.sleep(min(0.1, left))


def _read(response: Any) -> bytes:
    """Any OSError is the network's here (a route that vanishes is no ConnectionError); those of the disk pass."""
    try:
        data: bytes = response.read1(READ_BYTES)
    except OSError as error:
        raise _TryAgainError("the connection was cut") from error
    return data


def check_space(folder: Path, wanted_bytes: int) -> None:
    """Raise DiskFullError when the folder's disk has less room than that."""
    if shutil.disk_usage(folder).free < wanted_bytes:
        raise DiskFullError("The server's disk has no room for the model's weights.")


def _opener(patience: Patience) -> urllib.request.OpenerDirector:
    """urllib with a short time-out for connecting and a longer one for silence, which it cannot tell apart itself."""

    def connect(connection: http.client.HTTPConnection, connect_now: Callable[[], None]) -> None:
        _look_up(connection.host, connection.port, patience.connect_s)
        connection.timeout = patience.connect_s
        connect_now()
        connection.sock.settimeout(patience.stall_s)

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


def _look_up(host: str, port: int, timeout_s: float) -> None:
    """Raise OSError unless the name resolves in time: the system's resolver may need half a minute to say no.

    A look-up cannot be interrupted, so it is left to a thread that ends by itself.
    """
    outcome: list[OSError | None] = []

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not outcome:
        raise TimeoutError("the name was not resolved in time")
    if outcome[0] is not None:
        raise outcome[0]
