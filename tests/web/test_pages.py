from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from errors import StartError
from optimizer.tasks.start_reason import StartReason
from tests.paths import ROOT
from tests.web.fake_system import FakeSystem
from version import __version__
from web.application import create_app


def test_page_has_its_import_map_under_the_nonce(client: FlaskClient) -> None:
    response = client.get("/")
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', response.text))
    assert f"script-src 'self' 'nonce-{nonce}'" in response.headers["Content-Security-Policy"]
    import_map = json.loads(re.search(r'<script type="importmap"[^>]*>(.*?)</script>', response.text, re.S)[1])  # type: ignore[index]
    assert import_map == {"imports": {"preact": "./static/vendor/preact.mjs"}}
    assert __version__ in response.text


def test_every_page_has_its_own_nonce(client: FlaskClient) -> None:
    assert client.get("/").headers["Content-Security-Policy"] != client.get("/").headers["Content-Security-Policy"]


def test_api_documentation_runs_under_the_policy(client: FlaskClient) -> None:
    """Its files come from the installed package, and its inline script has the nonce."""
    page = client.get("/openapi/")
    assert page.status_code == 200
    assert not re.search(r"https?://", page.text)
    for tag in re.findall(r"<(?:script|style)[^>]*>", page.text):
        assert "nonce=" in tag or "src=" in tag
    for address in re.findall(r'(?:src|href)="(swagger/[^"]+)"', page.text):
        with client.get(f"/openapi/{address}") as part:
            assert part.status_code == 200
    assert client.get("/openapi/openapi.json").get_json()["openapi"].startswith("3.1")


@pytest.mark.parametrize("dictionary", ["en-system.js", "zh-system.js"])
def test_the_page_has_a_text_for_every_reason_for_a_start(dictionary: str) -> None:
    texts = (ROOT / "static" / "text" / dictionary).read_text()
    assert set(re.findall(r"'why\.(\w+)'", texts)) == {reason.value for reason in StartReason}


def test_unknown_page_is_a_small_page(client: FlaskClient) -> None:
    response = client.get("/nothing", headers={"Accept": "text/html"})
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "<script" not in response.text


def test_unknown_address_of_the_api_is_json(client: FlaskClient) -> None:
    assert client.get("/api/nothing", headers={"Accept": "text/html"}).mimetype == "application/json"


@pytest.mark.parametrize("damage", ["no map", "bad map", "no module"])
def test_missing_libraries_stop_the_start_with_what_to_do(system: FakeSystem, root: Path, damage: str) -> None:
    import_map = root / "static/vendor/importmap.json"
    if damage == "no map":
        import_map.unlink()
    elif damage == "bad map":
        import_map.write_text("[]")
    else:
        (root / "static/vendor/preact.mjs").unlink()
    with pytest.raises(StartError, match="make page"):
        create_app(system.settings, system, root=root)
