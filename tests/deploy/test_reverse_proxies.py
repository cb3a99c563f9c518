"""deploy/nginx.conf and deploy/Caddyfile before the real server: the page, large uploads and the live feed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import websocket

from tests.deploy.proxies import HOST, PROXIES, USER, Proxy
from tests.leaks import children, outliving_tests
from tests.server.client import Client
from tests.server.conftest import noise, server_in
from tests.web.live_client import text_from
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

BOUNDARY = "----of-this-test"
ABOVE_NGINX_DEFAULT = 1_100_000  # bytes; it would refuse more than a mebibyte
EARLY_ANSWERED_BYTES = {"nginx": 11_000_000, "caddy": 200_000}  # of a body that is answered before it is all there


@dataclass(frozen=True)
class Site:
    """A server and what stands before it."""

    server: RunningServer
    proxy_name: str
    proxy: Proxy

    @property
    def direct(self) -> Client:
        return Client(self.server)

    def upload_under_way(self) -> int:
        """Bytes of unfinished uploads that the server has written down."""
        return sum(path.stat().st_size for path in (self.server.data_dir / "incoming").glob("*.part"))


@pytest.fixture(scope="module", params=sorted(PROXIES))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests of the module that take it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "proxy").mkdir()
    with server_in(folder, ALLOWED_HOSTS=HOST, TRUSTED_PROXIES="127.0.0.1") as server, server.outliving_tests():
        before = children()
        with PROXIES[request.param](folder / "proxy", server.port) as proxy, outliving_tests(*(children() - before)):
            yield Site(server, request.param, proxy)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two minutes, four windows, 3.8 MB."""
    return noise(tmp_path_factory.mktemp("sound") / "two.wav", minutes=2).read_bytes()


def form_around(file: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="two.wav"\r\n\r\n'
    return head.encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()


def begin_upload(connection: http.client.HTTPConnection, proxy: Proxy, length: int) -> None:
    connection.putrequest("POST", "/api/tasks")
    for name, value in proxy.headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()


def test_nobody_gets_in_without_the_password(site: Site) -> None:
    with site.proxy.http() as connection:
        connection.request("GET", "/api/tasks")
        assert connection.getresponse().status == 401


def test_the_page_is_served_under_its_name(site: Site) -> None:
    with site.proxy.http() as connection:
        connection.request("GET", "/", headers=site.proxy.headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert b"<!doctype html>" in answer.read().lower()


def test_what_a_client_says_in_the_proxys_place_is_not_passed_on(site: Site) -> None:
    forged = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    with site.proxy.http() as connection:
        connection.request("GET", "/", headers={**site.proxy.headers, **forged})
        answer = connection.getresponse()
        cookie = answer.getheader("Set-Cookie", "")
    assert answer.status == 200
    assert {"Path=/", "Secure"} <= set(cookie.split("; "))


def test_an_upload_goes_straight_through_while_it_is_being_sent(site: Site, sound: bytes) -> None:
    form = form_around(sound)
    half = len(form) // 2
    assert half > ABOVE_NGINX_DEFAULT
    with site.proxy.http() as connection:
        begin_upload(connection, site.proxy, len(form))
        connection.send(form[:half])
        site.direct.wait_until(lambda: site.upload_under_way() > half - 256_000, "the first half on the server's disk")
        connection.send(form[half:])
        answer = connection.getresponse()
        body = json.load(answer)
        assert answer.status == 202, body
    task = site.direct.wait_for(body["task"]["id"], "completed")
    assert task["progress"] == 1


def test_an_answer_before_the_whole_body_reaches_the_client(site: Site) -> None:
    """The proxy still passes the body on when the server has answered and closed the connection. Caddy breaks off
    a client that has more than 256 KB still to send."""
    refusals = (("POST", "/api/nothing", 404), ("PUT", "/api/tasks", 405), ("PATCH", "/api/system", 413))
    for method, path, status in refusals:
        with site.proxy.http() as connection:
            headers = {**site.proxy.headers, "Content-Type": "application/json"}
            connection.request(method, path, bytes(EARLY_ANSWERED_BYTES[site.proxy_name]), headers)
            answer = connection.getresponse()
            assert answer.status == status
            assert "code" in json.load(answer)["error"]
    assert site.direct.get("/healthz").status_code == 200


def test_the_live_feed_tells_of_a_task(site: Site, sound: bytes) -> None:
    live = websocket.create_connection(
        f"wss://{HOST}:{site.proxy.port}/socket.io/?EIO=4&transport=websocket",
        socket=site.proxy.connect(),
        origin=site.proxy.origin,
        header={"Authorization": site.proxy.headers["Authorization"]},
        timeout=20,
    )
    try:
        assert text_from(live).startswith("0")
        live.send("40")
        assert text_from(live).startswith("40")
        form = form_around(sound)
        with site.proxy.http() as connection:
            begin_upload(connection, site.proxy, len(form))
            connection.send(form)
            task_id = json.load(connection.getresponse())["task"]["id"]
        packets = iter(lambda: text_from(live), "")
        assert any(packet.startswith('42["task"') and task_id in packet for packet in packets)
    finally:
        live.close()
        live.shutdown()
    site.direct.wait_for(task_id, "completed")


ADMIN_KEY = "k" * 40


@pytest.mark.parametrize("proxy_name", sorted(PROXIES))
def test_whoever_gets_past_the_password_has_an_account_of_that_name(
    proxy_name: str, tmp_path: Path, sound: bytes
) -> None:
    """Whatever the client says of itself."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    accounts = {"API_KEYS": f"admin:{ADMIN_KEY}", "TRUSTED_PROXIES": "127.0.0.1", "AUTH_HEADER": "X-Remote-User"}
    with (
        server_in(tmp_path, ALLOWED_HOSTS=HOST, **accounts) as server,
        PROXIES[proxy_name](folder, server.port) as proxy,
    ):
        form = form_around(sound)
        headers = {**proxy.headers, "X-Remote-User": "admin", "X-Forwarded-Proto": "http"}
        with proxy.http() as connection:
            connection.request("GET", "/api/system/log", headers=headers)
            assert connection.getresponse().status == 403
        with proxy.http() as connection:
            begin_upload(connection, proxy, len(form))
            connection.send(form)
            task = json.load(connection.getresponse())["task"]
        assert requests.get(f"{server.address}/api/tasks", timeout=30).status_code == 401
        as_admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
        (told,) = requests.get(f"{server.address}/api/tasks", headers=as_admin, timeout=30).json()["tasks"]
        assert (told["id"], told["owner"]) == (task["id"], USER)
