from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import WSGIRequestHandler, make_server

from config import Settings
from tests.paths import ROOT
from tests.web.api_description import ADDRESS, ApiDescription
from tests.web.api_document import PATH, Document
from tests.web.fake_system import FakeSystem
from web.application import Application, create_app, live_feed_of

PAGE = """<!doctype html><title>t</title>
<script type="importmap" nonce="{{ csp_nonce }}">{{ files.import_map | tojson }}</script>
<main data-model="{{ default_model }}" data-language="{{ default_language }}">{{ version }}</main>"""

MakeSettings = Callable[..., Settings]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A page with one library, in place of the real one."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/index.html").write_text(PAGE)
    for name in ("languages.html", "login.html", "shared.html"):
        shutil.copy(ROOT / "templates" / name, tmp_path / "templates")
    vendor = tmp_path / "static/vendor"
    vendor.mkdir(parents=True)
    (vendor / "preact.mjs").write_text("export const h = 1\n")
    (vendor / "importmap.json").write_text(json.dumps({"imports": {"preact": "./static/vendor/preact.mjs"}}))
    return tmp_path


@pytest.fixture
def system(make_settings: MakeSettings) -> FakeSystem:
    return FakeSystem(make_settings(max_upload_mb=1, enable_webhooks=True))


@pytest.fixture
def app(system: FakeSystem, root: Path) -> Application:
    return create_app(system.settings, system, root=root)


@pytest.fixture
def client(app: Application) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def description(client: FlaskClient) -> ApiDescription:
    return ApiDescription(client.get(ADDRESS).get_json())


@pytest.fixture(scope="session")
def document() -> Document:
    """docs/api.md."""
    return Document(PATH.read_text())


@pytest.fixture
def live_port(app: Application) -> Iterator[int]:
    with served(app) as port:
        yield port


@contextmanager
def served(app: Application) -> Iterator[int]:
    """The application with its live feed, served on this port by threads of this process."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    live_feed_of(app).start()
    yield server.port
    live_feed_of(app).stop()
    server.shutdown()
    server.server_close()
    thread.join()


class _QuietHandler(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        return
