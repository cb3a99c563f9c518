"""The recording at an address that somebody sent in place of a file, fetched into an upload.

Where a connection may lead is checked for each one, also after a redirect (`guarded_http`). The other server may be
slow, lie about the length or never end: what it sends is bounded in size, in time and from below in rate.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from errors import (
    BadRequestError,
    FileTooLargeError,
    InvalidOptionError,
    LinkAnswerError,
    LinkIncompleteError,
    LinkNotAllowedError,
    LinkTooSlowError,
    LinkUnreachableError,
)
from optimizer.common.addresses import checked_url
from optimizer.common.clock import Clock, SystemClock
from optimizer.common.filenames import display_name, has_media_ending
from version import PRODUCT_NAME, __version__

if TYPE_CHECKING:
    from optimizer.common.guarded_http import GetAnswer, GuardedGet

log = logging.getLogger(__name__)

LINK_FIELD = "url"
MAX_REDIRECTS = 5
CHECK_BYTES = 16 * 1024 * 1024  # how much is fetched between two looks at the owner's quota

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "User-Agent": f"{re.sub(r'[^A-Za-z0-9.-]+', '-', PRODUCT_NAME)}/{__version__}",
    "Accept": "audio/*, video/*, application/octet-stream;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",
}
_ERRORS: Mapping[str, type[BadRequestError]] = {"private_address": LinkNotAllowedError, "timeout": LinkTooSlowError}


class Sink(Protocol):
    """Where the bytes go. It discards itself when they do not fit."""

    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True)
class Patience:
    """At least `least_bytes` in every `window_s`, the first byte included, and all of it within `whole_s`."""

    whole_s: float = 4 * 3600
    window_s: float = 30
    least_bytes: int = 120_000
    look_s: float = 0.5


@dataclass(frozen=True)
class FetchedLink:
    filename: str
    size: int


class LinkFetcher:
    """`fetch` once. begin: makes the place for a file of so many bytes, 0 when that is unknown. check: told from time
    to time how much there is, and raises when that is too much for its owner. is_unwanted: whether whoever sent the
    address has gone."""

    def __init__(
        self,
        get: GuardedGet,
        *,
        max_bytes: int,
        allow_private: bool,
        begin: Callable[[int], Sink],
        check: Callable[[int], None],
        is_unwanted: Callable[[], bool],
        patience: Patience = Patience(),
        clock: Clock | None = None,
    ) -> None:
        self._get = get
        self._max_bytes = max_bytes
        self._allow_private = allow_private
        self._begin = begin
        self._check = check
        self._is_unwanted = is_unwanted
        self._patience = patience
        self._clock = clock or SystemClock()
        self._received = 0
        self._is_over = threading.Event()

    def fetch(self, url: str) -> FetchedLink:
        """Raises InvalidOptionError, FileTooLargeError and the errors of links, with the field; and what `begin`,
        `check` and the sink raise."""
        began = self._clock.monotonic()
        first = url = checked_url(url, allow_private=self._allow_private, field=LINK_FIELD)
        with self._watched():
            for _ in range(MAX_REDIRECTS + 1):
                with self._answer(url) as answer:
                    next_url = self._redirect(answer, url)
                    if next_url is None:
                        self._receive(answer)
                        seconds = self._clock.monotonic() - began
                        host = urlsplit(url).hostname
                        log.info("event=link_fetched host=%s bytes=%d seconds=%.1f", host, self._received, seconds)
                        return FetchedLink(name_of(answer.headers, url, first), self._received)
                    url = next_url
        raise LinkAnswerError("The address leads from one to another too often.", field=LINK_FIELD)

    @contextmanager
    def _answer(self, url: str) -> Iterator[GetAnswer]:
        from optimizer.common.guarded_http import GuardedHttpError

        try:
            with self._get.asking(url, _HEADERS) as answer:
                yield answer
        except GuardedHttpError as error:
            broke: type[BadRequestError] = LinkIncompleteError if self._received else LinkUnreachableError
            raise _ERRORS.get(error.code, broke)(field=LINK_FIELD) from error

    def _redirect(self, answer: GetAnswer, url: str) -> str | None:
        """Where the answer leads on; None for the file itself. Raises LinkNotAllowedError or LinkAnswerError."""
        place = answer.headers.get("Location")
        if answer.status in _REDIRECTS and place:
            try:
                joined = urljoin(url, _readable(place)).partition("#")[0]
                return checked_url(joined, allow_private=self._allow_private, field=LINK_FIELD)
            except (InvalidOptionError, ValueError):
                raise LinkNotAllowedError(field=LINK_FIELD) from None
        if answer.status != 200:
            raise LinkAnswerError(f"The server at this address answers with {answer.status}.", field=LINK_FIELD)
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise LinkAnswerError("The server at this address sends the file compressed.", field=LINK_FIELD)
        if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
            raise LinkAnswerError("The address leads to a page, not to an audio or video file.", field=LINK_FIELD)
        return None

    def _receive(self, answer: GetAnswer) -> None:
        announced = _length(answer.headers.get("Content-Length", ""))
        self._refuse_too_large(announced)
        sink = self._begin(announced)
        while data := answer.read():
            self._refuse_too_large(self._received + len(data))
            if self._received // CHECK_BYTES != (self._received + len(data)) // CHECK_BYTES:
                self._check(self._received + len(data))
            sink.write(data)
            self._received += len(data)
        if self._is_over.is_set():  # the end of the body is that of the connection, which the watch has closed
            raise LinkTooSlowError(field=LINK_FIELD)
        if announced and self._received != announced:
            raise LinkIncompleteError(field=LINK_FIELD)
        self._check(self._received)

    def _refuse_too_large(self, nbytes: int) -> None:
        if nbytes > self._max_bytes:
            limit = self._max_bytes // 1_000_000
            raise FileTooLargeError(f"This server accepts files of up to {limit} MB.", field=LINK_FIELD)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Ends a connection that nobody waits for any more, or not any longer. A read may wait, so it is a thread."""
        is_done = threading.Event()
        thread = threading.Thread(target=self._watch, args=(is_done,), name="link-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_done.set()
            thread.join()

    def _watch(self, is_done: threading.Event) -> None:
        patience = self._patience
        began = mark = self._clock.monotonic()
        marked = 0
        while not is_done.wait(patience.look_s):
            now, received = self._clock.monotonic(), self._received
            is_too_slow = now - mark >= patience.window_s and received - marked < patience.least_bytes
            if is_too_slow or now - began > patience.whole_s or self._is_unwanted():
                self._is_over.set()
                self._get.abort()
                return
            if now - mark >= patience.window_s:
                mark, marked = now, received


def name_of(headers: Mapping[str, str], url: str, first_url: str) -> str:
    """As the server calls the file; else the end of its address, or of the one that led there."""
    message = Message()
    message["Content-Disposition"] = _readable(headers.get("Content-Disposition", "")).replace("\n", " ")
    given = message.get_filename()
    if given:
        return display_name(given)
    names = [unquote(urlsplit(each).path.rpartition("/")[2]) for each in (url, first_url)]
    return display_name(next(filter(has_media_ending, names), None) or next(filter(None, names), ""))


def _readable(header: str) -> str:
    """Headers come as Latin-1, but many servers send UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _length(text: str) -> int:
    """0 when it is unknown."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
