"""The owner of a request."""

from __future__ import annotations

from flask import Flask, Request, Response
from werkzeug.test import EnvironBuilder

from web.http.owner import COOKIE, owner_of, remember_browser


def sent(address: str = "10.0.0.1", cookie: str | None = None) -> Request:
    headers = [] if cookie is None else [("Cookie", f"{COOKIE}={cookie}")]
    return Request(EnvironBuilder(headers=headers, environ_base={"REMOTE_ADDR": address}).get_environ())


def test_a_browser_is_one_owner_wherever_it_is() -> None:
    assert owner_of(sent("10.0.0.1", "a" * 32)) == owner_of(sent("10.0.0.2", "a" * 32))
    assert owner_of(sent(cookie="a" * 32)) != owner_of(sent(cookie="b" * 32))


def test_without_a_cookie_the_address_is_the_owner() -> None:
    assert owner_of(sent("10.0.0.1")) == owner_of(sent("10.0.0.1"))
    assert owner_of(sent("10.0.0.1")) != owner_of(sent("10.0.0.2"))


def test_a_cookie_that_we_did_not_set_is_ignored() -> None:
    for cookie in ("", "a" * 31, "A" * 32, "x" * 32, "a" * 33):
        assert owner_of(sent(cookie=cookie)) == owner_of(sent())


def test_an_owners_name_reveals_nothing() -> None:
    owner = owner_of(sent("10.0.0.1"))
    assert len(owner) == 16
    assert "10.0.0.1" not in owner


def test_a_browser_gets_its_token_once() -> None:
    app = Flask(__name__)
    with app.test_request_context("/"):
        (cookie,) = remember_browser(Response()).headers.getlist("Set-Cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    token = cookie.split(";")[0].removeprefix(f"{COOKIE}=")
    assert owner_of(sent(cookie=token)) != owner_of(sent())
    with app.test_request_context("/", headers={"Cookie": f"{COOKIE}={token}"}):
        assert "Set-Cookie" not in remember_browser(Response()).headers
