"""The headers and checks of every address. A new route is covered as soon as it exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from config import Settings
from tests.paths import ROOT
from tests.web.fake_system import FakeSystem
from tests.web.requests import error_of, is_refused, send
from web.application import Application, create_app
from web.http.security import SAFE_METHODS, AllowedHosts, is_same_origin
from web.server import refusals

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
POLICY = ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'")


def every_request(app: Application) -> list[tuple[str, str]]:
    """(method, address) of each route, with invented arguments, and of the live feed."""
    requests = [("GET", "/socket.io/?EIO=4&transport=polling"), ("POST", "/socket.io/?EIO=4&transport=polling&sid=x")]
    for rule in app.url_map.iter_rules():
        address = re.sub(r"<[^>]+>", "x", rule.rule)
        requests += [(method, address) for method in sorted(rule.methods or ())]
    return requests


@pytest.mark.proves("S10")
def test_headers_are_on_every_answer(app: Application, client: FlaskClient, system: FakeSystem) -> None:
    """Errors, downloads, static files, the live feed, and refusals that never reach the application."""
    task = system.add()
    system.complete(task.id, " Hello.")
    downloads = [f"/api/tasks/{task.id}/{what}" for what in ("media", "media?download=1", "transcript?format=srt")]
    others = ["/nothing", "/api/nothing", "/static/vendor/preact.mjs", "/api/transcripts.zip", *downloads]
    for method, address in [*every_request(app), *(("GET", each) for each in others)]:
        with client.open(address, method=method) as response:
            shown = {name: response.headers.get(name) for name in HEADERS}
            assert shown == HEADERS, (method, address)
            policy = response.headers["Content-Security-Policy"]
            assert all(part in policy for part in POLICY), (method, address)
            assert "unsafe" not in policy
            assert re.fullmatch(r"[0-9a-f]{16}", response.headers["X-Request-Id"])
    for refusal in refusals.ALL:
        head = refusal.encode().partition(b"\r\n\r\n")[0].decode()
        assert all(f"\r\n{name}: {value}\r\n" in head + "\r\n" for name, value in HEADERS.items()), refusal
        assert all(part in head for part in POLICY)


def test_the_page_has_no_inline_script_and_puts_no_text_into_it_as_markup() -> None:
    """The policy would stop most of it; this says where."""
    for path in [*(ROOT / "templates").rglob("*.html"), *(ROOT / "static").rglob("*.js")]:
        if {"vendor", "built"} & set(path.parts):
            continue
        text = path.read_text()
        assert re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\|\s*safe\b", text) is None, path
        assert path.suffix != ".html" or re.search(r"<[^>]+\son\w+=", text) is None, path
        assert re.search(r"<script(?![^>]*(\bsrc=|\bnonce=))", text) is None, path


def test_other_sites_change_nothing(app: Application, client: FlaskClient) -> None:
    for method, address in every_request(app):
        if method in SAFE_METHODS and not address.startswith("/socket.io"):
            continue
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        ):
            response = client.open(address, method=method, headers=headers)
            assert is_refused(response, address.partition("?")[0], 403, "cross_origin"), (method, address, headers)


def test_form_of_another_site_makes_no_task(client: FlaskClient, system: FakeSystem) -> None:
    response = send(client, headers={"Origin": "http://evil.example"})
    assert response.status_code == 403
    assert client.get("/api/tasks").get_json()["tasks"] == []


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_own_page_and_scripts_may_change_things(client: FlaskClient, headers: dict[str, str]) -> None:
    assert send(client, headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        ("http://localhost:5552", "localhost:5552", True),
        ("https://speech.example", "speech.example", True),  # a proxy ends TLS
        ("http://localhost:5553", "localhost:5552", False),
        ("http://localhost", "localhost:5552", False),
        ("http://evil.example", "localhost", False),
        ("null", "localhost", False),
        ("file://localhost", "localhost", False),
        ("http://[::1]:5552", "[::1]:5552", True),
        ("http://[", "localhost", False),
        ("http://localhost:x", "localhost", False),
    ],
)
def test_origin(origin: str, host: str, is_same: bool) -> None:
    assert is_same_origin({"HTTP_ORIGIN": origin, "HTTP_HOST": host}) is is_same


@pytest.mark.parametrize(
    "address", ["/", "/api/tasks", "/socket.io/?EIO=4&transport=polling", "/static/vendor/preact.mjs"]
)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:5552", "localhost.evil.example", "", "[", "a b"])
def test_foreign_host_names_are_refused(client: FlaskClient, address: str, host: str) -> None:
    """Otherwise a web site could point its name at this machine and read everything (DNS rebinding)."""
    response = client.get(address, headers={"Host": host})
    assert error_of(response) == (400, "unknown_host", None)


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"])
def test_forwarding_headers_change_nothing(client: FlaskClient, header: str) -> None:
    response = client.get(
        "/socket.io/?EIO=4&transport=polling", headers={header: "evil.example", "Origin": "http://evil.example"}
    )
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("changes", "host", "is_allowed"),
    [
        ({}, "localhost:5552", True),
        ({}, "LOCALHOST", True),
        ({}, "127.0.0.1:5552", True),
        ({}, "[::1]:5552", True),
        ({}, "192.168.1.20:5552", True),
        ({}, "speech.example", False),
        ({"allowed_hosts": "speech.example, other.example"}, "speech.example:80", True),
        ({"allowed_hosts": "*"}, "anything.example", True),
        ({"host": "speech.lan"}, "speech.lan", True),
    ],
)
def test_hosts(make_settings: Callable[..., Settings], changes: dict[str, str], host: str, is_allowed: bool) -> None:
    assert AllowedHosts.of(make_settings(**changes)).allows(host) is is_allowed


def test_jsonp_is_not_spoken(client: FlaskClient) -> None:
    """A script tag of any site could read it."""
    assert client.get("/socket.io/?EIO=4&transport=polling&j=0").status_code == 400


def test_debugging_cannot_be_switched_on_from_outside(
    system: FakeSystem, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    app = create_app(system.settings, system, root=root)
    system.tasks = lambda *_: 1 / 0  # type: ignore[method-assign,assignment]
    response = app.test_client().get("/api/tasks")
    assert error_of(response) == (500, "internal", None)
    assert "Traceback" not in response.get_data(as_text=True)
