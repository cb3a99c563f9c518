"""What is fetched from an address that somebody sent in place of a file, and what is not."""

from __future__ import annotations

import gzip
import logging
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from errors import (
    FileTooLargeError,
    InvalidOptionError,
    LinkAnswerError,
    LinkIncompleteError,
    LinkNotAllowedError,
    LinkTooSlowError,
    LinkUnreachableError,
    QuotaExceededError,
    TranscriptionServerError,
)
from optimizer.common.guarded_http import GuardedGet
from optimizer.intake.link_fetch import CHECK_BYTES, LinkFetcher, Patience, name_of
from tests.optimizer.intake.file_server import FileServer, serving

SOUND = b"RIFF and then sound"
PUBLIC = "1.1.1.1"
IMPATIENT = Patience(whole_s=60, window_s=0.2, least_bytes=1000, look_s=0.02)
MAX_BYTES = 3 * CHECK_BYTES


class Place:
    """Where the bytes go; counts what it is told."""

    def __init__(self) -> None:
        self.kept = b""
        self.size = 0
        self.announced: list[int] = []
        self.checked: list[int] = []

    def begin(self, nbytes: int) -> Place:
        self.announced.append(nbytes)
        return self

    def write(self, data: bytes, /) -> int:
        self.kept = (self.kept + data)[:1000]
        self.size += len(data)
        return len(data)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture
def place() -> Place:
    return Place()


def fetcher(place: Place, *, allow_private: bool = True, resolve: Any = None, **more: Any) -> LinkFetcher:
    options: dict[str, Any] = {"resolve": resolve} if resolve else {}
    get = GuardedGet(allow_private=allow_private, **options)
    more = {"check": place.checked.append, "is_unwanted": lambda: False, "max_bytes": MAX_BYTES, **more}
    return LinkFetcher(get, allow_private=allow_private, begin=place.begin, **more)


def refused(url: str, place: Place, error: type[TranscriptionServerError], **options: Any) -> str:
    with pytest.raises(error) as raised:
        fetcher(place, **options).fetch(url)
    assert raised.value.field == "url"
    assert url not in raised.value.message
    return raised.value.message


def test_a_file_is_fetched_as_it_is_sent(
    files: FileServer, place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy of the environment, no cookie, nothing compressed; and the log names the host only."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    url = files.gives("/a/talk.mp3?token=s3cret", SOUND, Set_Cookie="a=b")
    with caplog.at_level(logging.INFO):
        found = fetcher(place).fetch(f" {url} ")
    assert (found.filename, found.size, place.kept, place.announced) == ("talk.mp3", len(SOUND), SOUND, [len(SOUND)])
    assert files.headers["accept-encoding"] == "identity"
    assert not {"cookie", "authorization", "referer"} & set(files.headers)
    assert "host=127.0.0.1" in caplog.text
    assert not any(secret in caplog.text for secret in ("s3cret", "talk"))


THIS_MACHINE = """
    127.0.0.1 localhost 0x7f.1 0177.1 127.1 2130706433 [::1] [::ffff:127.0.0.1] [::ffff:7f00:1] 0 0.0.0.0
"""


@pytest.mark.parametrize("host", THIS_MACHINE.split())
def test_this_machine_is_not_asked_however_it_is_spelt(files: FileServer, place: Place, host: str) -> None:
    files.gives("/", SOUND)
    with pytest.raises((InvalidOptionError, LinkNotAllowedError, LinkUnreachableError)) as raised:
        fetcher(place, allow_private=False).fetch(f"http://{host}:{files.port}/")
    assert raised.value.field == "url"
    assert (files.asked, place.announced) == ([], [])


@pytest.mark.parametrize(
    "leads_to", ["169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1%lo", "64:ff9b::7f00:1", "127.0.0.1"]
)
def test_a_name_that_leads_to_a_private_address_is_not_followed(files: FileServer, place: Place, leads_to: str) -> None:
    url = f"http://files.example:{files.port}/"
    refused(url, place, LinkNotAllowedError, allow_private=False, resolve=lambda *_: [leads_to])
    assert files.asked == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.org/a", "gopher://example.org/", "data:audio/wav,x", "//example.org/a",
            "http://user:password@example.org/a", "http://169.254.169.254/latest", "http://[fe80::1%25lo]/", "x", ""]
)  # fmt: skip
def test_what_is_no_address_of_the_web_is_refused(url: str, place: Place) -> None:
    with pytest.raises(InvalidOptionError) as raised:
        fetcher(place, allow_private=False).fetch(url)
    assert raised.value.field == "url"


@pytest.fixture
def in_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    """PUBLIC is this machine."""
    connect = socket.create_connection

    def connected(address: tuple[str, int], timeout: float) -> socket.socket:
        return connect(("127.0.0.1" if address[0] == PUBLIC else address[0], address[1]), timeout)

    monkeypatch.setattr("optimizer.common.guarded_http.socket.create_connection", connected)


@pytest.mark.usefixtures("in_the_internet")
def test_each_redirect_is_checked_again(files: FileServer, place: Place) -> None:
    first = f"http://files.example:{files.port}/first.mp3"
    elsewhere = """
        http://127.0.0.1/ http://[::1]/ http://[::ffff:127.0.0.1]/ http://169.254.169.254/latest file:///etc/passwd
        gopher://files.example/ http://user@files.example/
    """
    for leads_to in elsewhere.split():
        files.gives("/first.mp3", status=302, Location=leads_to)
        refused(first, place, LinkNotAllowedError, allow_private=False, resolve=lambda *_: [PUBLIC])
    assert set(files.asked) == {"/first.mp3"}
    files.gives("/first.mp3", status=301, Location="/on?x=1#part")
    files.gives("/on?x=1", SOUND)
    assert fetcher(place, allow_private=False, resolve=lambda *_: [PUBLIC]).fetch(first).filename == "first.mp3"
    assert place.kept == SOUND


@pytest.mark.usefixtures("in_the_internet")
def test_a_name_that_leads_elsewhere_a_moment_later_gains_nothing(files: FileServer, place: Place) -> None:
    """It is looked up for each connection, and what was looked up is what is connected to."""
    answers = [[PUBLIC], ["127.0.0.1"]]
    files.gives("/a", status=302, Location="/secret")
    files.gives("/secret", SOUND)
    refused(f"http://rebound.example:{files.port}/a", place, LinkNotAllowedError, allow_private=False,
            resolve=lambda *_: answers.pop(0))  # fmt: skip
    assert files.asked == ["/a"]


def test_redirects_end(files: FileServer, place: Place) -> None:
    refused(files.gives("/round", status=302, Location="/round"), place, LinkAnswerError)
    assert len(files.asked) == 6


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 404}, "404"),
        ({"status": 304}, "304"),
        ({"status": 206, "body": SOUND}, "206"),
        ({"body": b"<html>", "Content_Type": "text/html; charset=utf-8"}, "page"),
        ({"body": gzip.compress(bytes(10_000_000)), "Content_Encoding": "gzip"}, "compressed"),
    ],
)
def test_an_answer_that_is_no_file_is_told(files: FileServer, place: Place, answer: Any, words: str) -> None:
    assert words in refused(files.gives("/a", **answer), place, LinkAnswerError)
    assert place.announced == []


def test_a_file_that_is_too_large_by_its_announcement_is_not_begun(files: FileServer, place: Place) -> None:
    refused(files.gives("/a", length=10**15), place, FileTooLargeError)
    refused(files.gives("/a", length=MAX_BYTES + 1), place, FileTooLargeError)
    assert place.announced == []


def endless(files: FileServer, piece: bytes, pause_s: float = 0) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not files.is_over.wait(pause_s):
            handler.wfile.write(piece)

    return answer


def test_a_body_without_an_end_is_cut_at_the_limit(files: FileServer, place: Place) -> None:
    files.answers["/a"] = endless(files, bytes(1_000_000))
    refused(f"{files.url}/a", place, FileTooLargeError)
    assert MAX_BYTES - 1_000_000 < place.size <= MAX_BYTES
    assert len(place.checked) == 2


def test_what_its_owner_may_not_have_is_given_up(files: FileServer, place: Place) -> None:
    def check(nbytes: int) -> None:
        raise QuotaExceededError()

    files.answers["/a"] = endless(files, bytes(1_000_000))
    with pytest.raises(QuotaExceededError):
        fetcher(place, check=check).fetch(f"{files.url}/a")
    assert place.size <= CHECK_BYTES


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["silent", "slow"])
def test_a_slow_server_is_left(files: FileServer, place: Place, piece: bytes) -> None:
    files.answers["/a"] = endless(files, piece, pause_s=0.05)
    refused(f"{files.url}/a", place, LinkTooSlowError, patience=IMPATIENT)


def test_an_answer_that_never_begins_is_left(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        refused(url, place, LinkTooSlowError, patience=IMPATIENT)


def test_a_steady_server_that_takes_too_long_in_all_is_left(files: FileServer, place: Place) -> None:
    files.answers["/a"] = endless(files, bytes(100), pause_s=0.01)
    patience = Patience(whole_s=0.3, window_s=0.1, least_bytes=1, look_s=0.02)
    refused(f"{files.url}/a", place, LinkTooSlowError, patience=patience)


def test_nothing_is_fetched_for_somebody_who_has_gone(files: FileServer, place: Place) -> None:
    files.answers["/a"] = endless(files, b"x", pause_s=0.02)
    patience = Patience(look_s=0.02)
    refused(f"{files.url}/a", place, LinkTooSlowError, patience=patience, is_unwanted=lambda: place.size > 0)


def test_a_file_that_breaks_off_is_not_taken_for_a_whole_one(files: FileServer, place: Place) -> None:
    refused(files.gives("/a", SOUND, length=1000), place, LinkIncompleteError)


def test_where_nobody_listens_nothing_is_reached(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    refused(f"http://127.0.0.1:{port}/", place, LinkUnreachableError)
    refused("http://nowhere.example/", place, LinkUnreachableError, resolve=lambda *_: [])


def test_a_certificate_that_is_none_is_not_accepted(files: FileServer, place: Place) -> None:
    refused(f"https://127.0.0.1:{files.port}/", place, LinkUnreachableError)


@pytest.mark.parametrize(
    ("disposition", "url", "first", "name"),
    [
        ('attachment; filename="a b.mp3"', "http://x/y.wav", "http://x/z", "a b.mp3"),
        ("attachment; filename*=UTF-8''Gespr%C3%A4ch.mp3", "http://x/", "http://x/", "Gespräch.mp3"),
        ('attachment; filename="Gespr\u00c3\u00a4ch.mp3"', "http://x/", "http://x/", "Gespräch.mp3"),
        ('attachment; filename="../../etc/passwd"', "http://x/", "http://x/", "passwd"),
        ("inline", "http://x/a%20b.m4a?c=d.mp3", "http://x/z", "a b.m4a"),
        ("", "http://cdn/0123456789", "http://x/talk.mp3", "talk.mp3"),
        ("", "http://cdn/0123456789", "http://x/", "0123456789"),
        ("", "http://x/", "http://x", "recording"),
        ("", "http://x/..%2F..%2Fetc%2Fpasswd", "http://x", "passwd"),
    ],
)
def test_the_name_of_the_file(disposition: str, url: str, first: str, name: str) -> None:
    assert name_of({"Content-Disposition": disposition}, url, first) == name
