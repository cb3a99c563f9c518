"""Who gets in, and what nobody gets to without a key or a session."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from optimizer.accounts.live_keys import CACHE_LASTS_S
from optimizer.tasks.task import TaskFilter
from setting_values import MIN_SECRET_CHARACTERS
from tests.web.access.conftest import PEOPLE, MakeSite, Site, key_of, log_in
from tests.web.requests import error_of, is_refused, send
from web.http.access import LOGINS_PER_MINUTE

# Where people get to without a key or a session. Whoever adds a route that belongs here adds it here, too.
OPEN_TO_ALL = {"/static/<path:filename>", "/login", "/healthz", "/readyz"} | {
    f"/s/<token>{more}" for more in ("", "/transcript", "/media")
}
STATE_CHANGING = ("POST", "PUT", "PATCH", "DELETE")
# What a page can send to another site without asking it first.
CONTENT_TYPES_OF_FORMS = ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded")


def every_request(site: Site) -> list[tuple[str, str, str]]:
    """(method, address, rule) of every route, with invented arguments."""
    return [
        (method, re.sub(r"<[^>]+>", "x", rule.rule), rule.rule)
        for rule in site.app.url_map.iter_rules()
        for method in sorted(rule.methods or ())
    ]


@pytest.mark.proves("S01")
def test_nobody_gets_in_but_where_it_is_listed(site: Site) -> None:
    site.app.add_url_rule("/added-without-a-thought", view_func=lambda: "secret")
    client = site.nobody
    reached = set()
    for method, address, rule in every_request(site):
        with client.open(address, method=method) as answer:
            if answer.status_code == 401 and rule != "/login":  # which refuses an empty form
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert method == "HEAD" or is_refused(answer, address, 401, "not_authenticated")
            else:
                reached.add(rule)
    assert reached == OPEN_TO_ALL
    assert client.get("/login").status_code == 200
    assert error_of(client.get("/nothing/here")) == (401, "not_authenticated", None)
    assert "secret" not in client.get("/added-without-a-thought").text


def test_the_apis_description_says_how_a_key_is_sent(site: Site) -> None:
    description = site.by_key("alice").get("/openapi/openapi.json").get_json()
    assert description["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert {"key": []} in description["security"]


def test_a_browser_is_led_to_the_login(site: Site) -> None:
    answer = site.nobody.get("/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "login")


def test_strangers_are_not_told_why_the_server_is_not_ready(site: Site) -> None:
    site.system.readiness_reasons = ["cuda:0 keeps failing"]
    assert site.nobody.get("/readyz").get_json() == {"status": "unavailable", "reasons": []}
    assert site.by_key("alice").get("/readyz").get_json()["reasons"] == ["cuda:0 keeps failing"]
    site.system.readiness_reasons, site.system.degradation_reasons = [], ["the Ray cluster cannot be reached"]
    assert site.nobody.get("/readyz").get_json() == {"status": "degraded", "reasons": []}


@pytest.mark.proves("S02")
def test_a_key_is_kept_as_a_hash_sent_in_the_header_only_and_can_be_revoked(site: Site) -> None:
    key, text = site.keys.add("carol")
    site.later(CACHE_LASTS_S)
    client = site.by_key("carol", text)
    assert client.get("/api/tasks").status_code == 200
    assert site.nobody.get("/api/tasks", headers={"Authorization": f"bearer {text}"}).status_code == 200
    for refused in (
        site.nobody.get(f"/api/tasks?api_key={text}"),
        client.get(f"/api/tasks?api_key={text}"),
        site.nobody.get("/api/tasks", headers={"Authorization": f"Basic {text}"}),
        site.nobody.get("/api/tasks", headers={"X-Api-Key": text}),
        site.by_key("carol", text[:-1]).get("/api/tasks"),
        site.by_key("carol", key.sha256).get("/api/tasks"),
    ):
        assert error_of(refused) == (401, "not_authenticated", None)
    kept = b"".join(path.read_bytes() for path in site.system.settings.data_dir.rglob("*") if path.is_file())
    assert key.sha256.encode() in kept
    assert text.encode() not in kept
    assert len(text) > 43  # 256 bits in base64
    site.keys.revoke(key.id)
    site.later(CACHE_LASTS_S)
    assert error_of(client.get("/api/tasks")) == (401, "not_authenticated", None)
    assert site.by_key("alice").get("/api/tasks").status_code == 200


@pytest.mark.proves("S03")
def test_logins_are_few_and_say_nothing_of_what_is_wrong(site: Site) -> None:
    client = site.nobody
    wrong = "k" * MIN_SECRET_CHARACTERS
    unknown, known, exchanged = (
        log_in(client, "nobody", wrong), log_in(client, "alice", wrong), log_in(client, "alice", key_of("mallory"))
    )  # fmt: skip
    for answer in (unknown, known, exchanged):
        assert (answer.status_code, answer.text) == (401, unknown.text)
        assert "Set-Cookie" not in answer.headers
    tries = 2
    while (answer := log_in(client, "alice", wrong)).status_code == 401:
        tries += 1
    assert (tries, answer.status_code) == (LOGINS_PER_MINUTE, 429)
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert log_in(client, "alice").status_code == 429  # also with the right key
    assert log_in(client, "mallory").status_code == 303
    first = client.get_cookie("session")
    assert log_in(client, "mallory").status_code == 303
    second = client.get_cookie("session")
    assert first is not None
    assert second is not None
    assert first.value != second.value
    client.set_cookie("session", first.value)
    assert client.get("/api/tasks").status_code == 401


def test_a_session_ends_with_its_key_and_at_the_logout(site: Site) -> None:
    key, text = site.keys.add("carol")
    site.later(CACHE_LASTS_S)
    one, other = site.by_session("carol", text), site.by_session("carol", text)
    cookie = one.get_cookie("session")
    assert one.post("/logout").status_code == 303
    assert cookie is not None
    one.set_cookie("session", cookie.value)
    assert one.get("/api/tasks").status_code == 401
    assert other.get("/api/tasks").status_code == 200
    site.keys.revoke(key.id)
    site.later(CACHE_LASTS_S)
    assert other.get("/api/tasks").status_code == 401


def test_a_forged_cookie_is_nobodys(site: Site) -> None:
    client = site.by_session("alice")
    cookie = client.get_cookie("session")
    assert cookie is not None
    token, _, signature = cookie.value.rpartition(".")
    for forged in (token, f"{token}.", f"{token}.{signature[::-1]}", f"x{token}.{signature}", "x" * 3000):
        client.set_cookie("session", forged)
        assert client.get("/api/tasks").status_code == 401


@pytest.mark.proves("S07")
def test_only_a_trusted_proxy_is_believed(make_site: MakeSite) -> None:
    site = make_site(trusted_proxies="10.0.0.0/8, ::1", auth_header="X-Remote-User", allowed_hosts="*")
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "speech.example", "X-Remote-User": "Carol"}

    spoofed = site.app.test_client()
    assert spoofed.get("/api/tasks", headers=said).status_code == 401
    answers = [
        log_in(spoofed, "alice", "k" * 40, headers={**said, "X-Forwarded-For": f"192.0.2.{number}"})
        for number in range(LOGINS_PER_MINUTE + 1)
    ]
    assert answers[-1].status_code == 429  # the address is still the same
    assert "Secure" not in log_in(spoofed, "mallory", headers=said).headers["Set-Cookie"]

    client = site.app.test_client()
    client.environ_base["REMOTE_ADDR"] = "10.1.2.3"
    assert send(client, headers=said).get_json()["task"]["filename"] == "interview.flac"
    (task,) = site.by_key("admin").get("/api/tasks").get_json()["tasks"]
    assert task["owner"] == "carol"
    for number in range(LOGINS_PER_MINUTE + 1):
        headers = {"X-Forwarded-For": f"spoofed, 192.0.2.{number}, 10.9.9.9"}
        assert log_in(client, "alice", "k" * 40, headers=headers).status_code == 401
    cookie = log_in(client, "mallory", headers={"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    socket = {"X-Forwarded-Proto": "wss"}  # as Traefik says of a WebSocket
    assert log_in(client, "mallory", headers=socket).headers["Set-Cookie"].startswith("__Host-session=")
    origin = {"Origin": "https://speech.example"}
    assert client.post("/api/tasks/x/cancel", headers={**said, **origin}).status_code == 404
    assert client.post("/api/tasks/x/cancel", headers={**said, "Origin": "https://localhost"}).status_code == 403


def test_below_a_path_a_session_is_for_that_path(make_site: MakeSite) -> None:
    site = make_site(trusted_proxies="127.0.0.1")
    below = {"X-Forwarded-Prefix": "/whisper/", "X-Forwarded-Proto": "https"}
    cookie = log_in(site.app.test_client(), "mallory", headers=below).headers["Set-Cookie"]
    assert cookie.startswith("__Secure-session=")
    assert "Path=/whisper" in cookie.split("; ")

    for unusable in ("whisper", '/"', "//evil.example"):
        refused = log_in(site.app.test_client(), "mallory", headers={"X-Forwarded-Prefix": unusable})
        assert "Path=/" in refused.headers["Set-Cookie"].split("; ")


@pytest.mark.proves("S08")
def test_no_other_site_changes_anything_with_a_session(site: Site) -> None:
    client = site.by_session("alice")
    task = site.system.add(owner="alice")
    foreign: list[dict[str, str]] = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ]
    for headers in foreign:
        for method, address, _ in every_request(site):
            for content_type in CONTENT_TYPES_OF_FORMS if method in STATE_CHANGING else ():
                answer = client.open(address, method=method, headers=headers, data="--x--", content_type=content_type)
                assert is_refused(answer, address, 403, "cross_origin"), (method, address)
        assert send(client, headers=headers).status_code == 403
        assert client.delete(f"/api/tasks/{task.id}", headers=headers).status_code == 403
    assert [view.task.id for view in site.system.tasks(TaskFilter())[0]] == [task.id]
    answer = site.by_key("alice").delete(f"/api/tasks/{task.id}", headers=foreign[0])
    assert answer.status_code == 204
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]
    assert "SameSite=Lax" in log_in(site.nobody, "alice").headers["Set-Cookie"]


@pytest.mark.proves("S09")
def test_the_cookie_is_out_of_reach_and_its_signing_key_is_private(make_site: MakeSite) -> None:
    site = make_site()
    path = site.system.settings.data_dir / "secret_key"
    assert not path.exists()
    plain = log_in(site.nobody, "alice").headers["Set-Cookie"]
    over_tls = log_in(site.nobody, "alice", base_url="https://localhost").headers["Set-Cookie"]
    assert plain.startswith("session=")
    assert over_tls.startswith("__Host-session=")
    for cookie in (plain, over_tls):
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
    assert "Secure" in over_tls.split("; ")
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_bytes()) >= MIN_SECRET_CHARACTERS
    answer = site.by_session("alice").get("/")
    assert answer.headers["Cache-Control"] == "no-store"  # no cache may give the page to somebody else
    assert key_of("alice") not in answer.text


@pytest.mark.proves("S26")
def test_a_burst_is_answered_with_429_and_a_time_to_come_back(make_site: MakeSite) -> None:
    site = make_site(requests_per_minute=10)
    browser = site.app.test_client()
    browser.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    log_in(browser, "alice")

    def burst(client: FlaskClient, address: str, **options: Any) -> TestResponse:
        answers = [client.open(address, **options) for _ in range(12)]
        assert [answer.status_code for answer in answers].index(429) == 10
        return answers[-1]

    for who, address, options in (
        (site.by_key("alice"), "/api/tasks?q=secret", {}),
        (site.by_key("mallory"), "/api/tasks", {"method": "POST"}),
        (site.nobody, "/api/tasks", {}),
    ):
        refused = burst(who, address, **options)
        assert error_of(refused) == (429, "rate_limited", None)
        assert int(refused.headers["Retry-After"]) >= 1
    assert browser.get("/api/system").status_code == 429  # the account, not the way it came
    assert site.by_key("admin").get("/api/tasks").status_code == 200
    assert set(PEOPLE) == {"alice", "mallory", "admin"}


def test_only_the_admins_key_reads_the_metrics_and_they_can_be_switched_off(make_site: MakeSite) -> None:
    site = make_site()
    assert site.nobody.get("/metrics").status_code == 401
    assert error_of(site.by_key("alice").get("/metrics")) == (403, "forbidden", None)
    text = site.by_key("admin").get("/metrics").text
    for status in (401, 403):  # who was refused is counted, too
        assert f'whisper_http_requests_total{{method="GET",route="/metrics",status="{status}"}} 1.0' in text
    assert make_site(enable_metrics=False).by_key("admin").get("/metrics").status_code == 404
