"""Which addresses may be named, and to which machines a connection is made."""

from __future__ import annotations

import ipaddress
import socket
import threading

import pytest

from errors import InvalidOptionError
from optimizer.common.addresses import checked_url, is_public
from optimizer.common.guarded_http import GuardedHttpError, GuardedPost, PostAnswer
from tests.optimizer.automation.receivers import Receiver, receiving

NOT_PUBLIC = """
    127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 240.0.0.1 255.255.255.255
    192.0.0.8 198.18.0.1 :: ::1 fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1
    64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1:: 2001:0:1::1 100::1
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_what_is_not_in_the_internet_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_what_is_in_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "", "hook", "ftp://example.org/", "file:///etc/passwd", "https://", "https:///path", "https://a b/",
        "https://example.org/\r\nX: y", "https://user:password@example.org/", "https://user@example.org/",
        "https://example.org:0/", "https://example.org:99999/", "https://example.org/#part", "https://[::1/",
        "https://example.org\\@127.0.0.1/", "https://" + "a" * 2000, "http://127.0.0.1/", "http://[::1]:8080/",
        "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest",
    ],
)  # fmt: skip
def test_what_is_no_usable_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidOptionError) as raised:
        checked_url(url, allow_private=False, field="url")
    assert raised.value.field == "url"
    assert len(url) < 10 or url not in raised.value.message


@pytest.mark.parametrize("url", ["https://example.org", "http://example.org:8080/a?b=c", "https://bücher.example/x"])
def test_an_ordinary_address_is_taken(url: str) -> None:
    assert checked_url(f" {url} ", allow_private=False, field="url") == url
    assert checked_url("http://127.0.0.1:1/", allow_private=True, field="url")


def code_of(url: str, **options: object) -> str:
    with pytest.raises(GuardedHttpError) as raised:
        GuardedPost(**{"allow_private": False, **options}).send(url, b"{}", {})  # type: ignore[arg-type]
    return raised.value.code


@pytest.mark.proves("S34")
def test_a_webhook_reaches_only_where_it_may_go_whatever_a_name_leads_to() -> None:
    """Asked again at each connection, so a name that led elsewhere when it was looked at first gains nothing."""
    with receiving(Receiver()) as receiver:
        port = receiver.url.split(":")[2].split("/")[0]
        for scheme in ("http", "https"):
            for host in ("127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"):
                assert code_of(f"{scheme}://{host}:{port}/") == "private_address"
            for leads_to in (["10.0.0.1"], ["::ffff:127.0.0.1", "fe80::1%lo"], ["169.254.169.254", "127.0.0.1"]):
                assert code_of(f"{scheme}://rebound.example:{port}/", resolve=lambda *_, to=leads_to: to) == (
                    "private_address"
                )
        assert receiver.got == []
        post = GuardedPost(allow_private=True, resolve=lambda *_: ["127.0.0.1"])
        assert post.send(f"http://some.example:{port}/", b"{}", {}) == PostAnswer(204)
        assert receiver.got[0][0]["host"] == f"some.example:{port}"
        receiver.answers, receiver.headers = [302], {"Location": receiver.url, "Retry-After": "30"}
        assert GuardedPost(allow_private=True).send(receiver.url, b"{}", {}) == PostAnswer(302, 30.0)
        assert len(receiver.got) == 2  # the redirect was not followed
        assert code_of(receiver.url.replace("http", "https", 1), allow_private=True) == "tls"


@pytest.mark.parametrize("url", ["http://a%zzb/token", "http://\u2460\u2461.example/token"])
def test_a_host_that_cannot_be_one_is_not_found_and_not_quoted(url: str) -> None:
    """urlsplit takes it, urllib3 does not."""
    assert checked_url(url, allow_private=False, field="url") == url
    with pytest.raises(GuardedHttpError, match="name_not_found") as raised:
        GuardedPost(allow_private=False).send(url, b"{}", {})
    assert raised.value.__cause__ is None


def test_a_receiver_that_says_nothing_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        post = GuardedPost(allow_private=True)
        outcome: list[str] = []

        def send() -> None:
            try:
                post.send(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", {})
            except GuardedHttpError as error:
                outcome.append(error.code)

        thread = threading.Thread(target=send)
        thread.start()
        connection, _ = silent.accept()
        with connection:
            connection.recv(10)
            post.abort()
            thread.join(20)
    assert outcome == ["timeout"]
