"""The recipes of docs/deploy.md for a server below a path: the page, a login, an upload in parts, the live feed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
import websocket

from tests.deploy.proxies import BELOW_A_PATH
from tests.web.live_client import text_from
from tests.web.running_server import RunningServer
from tests.web.tasks.tus_client import CONTENT_TYPE, VERSION, metadata

pytestmark = pytest.mark.server

KEY = "k" * 40
LIMIT_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"API_KEYS": f"admin:{KEY}", "TRUSTED_PROXIES": "127.0.0.1"}
    with RunningServer(tmp_path_factory.mktemp("server"), env=env) as server, server.outliving_tests():
        yield server


@pytest.mark.parametrize("name", sorted(BELOW_A_PATH))
def test_everything_works_below_a_path(server: RunningServer, tmp_path: Path, name: str) -> None:
    with BELOW_A_PATH[name](tmp_path, server.port) as port, requests.Session() as session:
        base = f"http://127.0.0.1:{port}/whisper/"
        form = session.get(base[:-1], timeout=LIMIT_S)
        assert (form.url, form.status_code) == (f"{base}login", 200)
        assert session.get(urljoin(form.url, "static/css/login.css"), timeout=LIMIT_S).status_code == 200

        page = session.post(f"{base}login", data={"name": "admin", "key": KEY}, timeout=LIMIT_S)
        assert (page.url, page.status_code) == (base, 200)
        assert f'data-host="127.0.0.1:{port}"' in page.text
        assert [(cookie.name, cookie.path) for cookie in session.cookies] == [("session", "/whisper")]

        create_and_follow(session, f"{base}api/uploads")
        started = session.post(
            f"{base}v1/audio/transcriptions",
            files={"file": ("a.flac", b"fLaC sound")},
            headers={"Prefer": "respond-async"},
            timeout=LIMIT_S,
        )
        assert session.get(urljoin(base, started.headers["Location"]), timeout=LIMIT_S).status_code == 200
        live = websocket.create_connection(
            f"ws://127.0.0.1:{port}/whisper/socket.io/?EIO=4&transport=websocket",
            origin=f"http://127.0.0.1:{port}",
            cookie=f"session={session.cookies['session']}",
            timeout=LIMIT_S,
        )
        assert text_from(live).startswith("0")
        live.send("40")
        assert text_from(live).startswith("40{")
        live.close()


def create_and_follow(session: requests.Session, address: str) -> None:
    """A resumable upload in two steps, at the address that the first answer gives."""
    data = b"fLaC and then sound"
    headers = {**VERSION, "Upload-Length": str(len(data)), "Upload-Metadata": metadata(filename="a.flac")}
    created = session.post(address, headers=headers, timeout=LIMIT_S)
    assert created.status_code == 201
    at = urljoin(address, created.headers["Location"])
    sent = {**VERSION, "Upload-Offset": "0", "Content-Type": CONTENT_TYPE}
    assert session.patch(at, data, headers=sent, timeout=LIMIT_S).headers["Task-Id"] in at
