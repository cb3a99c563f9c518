"""The page's bundles: compressed, kept for ever, and served only while they are made of the modules there are."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from flask import render_template
from werkzeug.wrappers import Response

from errors import StartError
from tests.paths import ROOT
from tests.web.fake_system import FakeSystem
from tools.build_page import OPTIONS, build, is_current
from web.application import Application, create_app
from web.page_files import BUILT, ENTRIES, MANIFEST, digest_of_sources, read_page_files

SCRIPT = b"export const built = 1\n" * 100


@pytest.fixture
def built(root: Path) -> Path:
    """The folder of bundles of the page that `root` holds."""
    folder = root / "static" / BUILT
    folder.mkdir()
    names = {entry: entry.replace(".", "-ABCD1234.") for entry in ENTRIES}
    for name in (*names.values(), "part-1.js"):
        (folder / name).write_bytes(SCRIPT)
        (folder / f"{name}.gz").write_bytes(gzip.compress(SCRIPT, mtime=0))
    write_manifest(root, {"entries": names, "preloaded": ["part-1.js"], "files": sorted(names.values())})
    return folder


def write_manifest(root: Path, content: dict[str, Any]) -> None:
    manifest = {"sources": digest_of_sources(root / "static"), **content}
    (root / "static" / BUILT / MANIFEST).write_text(json.dumps(manifest))


@pytest.fixture
def built_app(system: FakeSystem, root: Path, built: Path) -> Application:
    (root / "templates/index.html").write_text((ROOT / "templates/index.html").read_text())
    return create_app(system.settings, system, root=root)


def get(app: Application, address: str, encodings: str = "identity") -> Response:
    with app.test_client().get(address, headers={"Accept-Encoding": encodings}) as answer:
        answer.get_data()
        return answer


def test_a_bundle_is_compressed_and_kept_for_ever(built_app: Application) -> None:
    answer = get(built_app, "/static/built/app-ABCD1234.js", "br, gzip")
    assert gzip.decompress(answer.data) == SCRIPT
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.mimetype == "text/javascript"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert {"public", "max-age=31536000", "immutable"} <= set(answer.headers["Cache-Control"].split(", "))


def test_a_client_that_cannot_decompress_gets_it_plain(built_app: Application) -> None:
    answer = get(built_app, "/static/built/app-ABCD1234.js")
    assert answer.data == SCRIPT
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_only_files_with_a_hash_in_their_name_are_kept_for_ever(built_app: Application) -> None:
    for name in ("built/manifest.json", "vendor/preact.mjs"):
        assert "immutable" not in get(built_app, f"/static/{name}").headers["Cache-Control"]


def test_the_service_worker_may_work_for_the_page_above_it(system: FakeSystem, root: Path) -> None:
    shutil.copy(ROOT / "static/service-worker.js", root / "static")
    app = create_app(system.settings, system, root=root)
    answer = get(app, "/static/service-worker.js")
    assert answer.headers["Service-Worker-Allowed"] == "../"
    assert "immutable" not in answer.headers["Cache-Control"]


def test_the_page_names_its_bundles_and_no_module(built_app: Application) -> None:
    answer = built_app.test_client().get("/")
    page = answer.text
    assert 'src="static/built/app-ABCD1234.js"' in page
    (nonce,) = re.findall(r'<script type="module" nonce="([^"]+)"', page)
    assert f"style-src 'self' 'nonce-{nonce}'" in answer.headers["Content-Security-Policy"]
    assert 'rel="modulepreload" href="static/built/part-1.js"' in page
    assert "importmap" not in page


def test_a_changed_module_is_served_without_building_again(system: FakeSystem, root: Path, built: Path) -> None:
    (root / "static/vendor/preact.mjs").write_text("export const h = 2\n")
    assert not read_page_files(root / "static").is_built
    client = create_app(system.settings, system, root=root).test_client()
    assert "importmap" in client.get("/").text


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_damaged_bundles_stop_the_start_with_what_to_do(built: Path, root: Path, content: str) -> None:
    (built / MANIFEST).write_text(content)
    with pytest.raises(StartError, match="make page"):
        read_page_files(root / "static")


def test_the_login_page_has_its_sheet(built_app: Application) -> None:
    with built_app.test_request_context():
        page = render_template("login.html")
    assert 'href="static/built/login-ABCD1234.css"' in page


def test_the_real_page_builds_from_its_sources(tmp_path: Path) -> None:
    """All of it: no import is left open, the bundles are small, and a second run finds nothing to do."""
    if not (ROOT / "node_modules/esbuild").is_dir():
        pytest.skip("esbuild is not installed")
    copy_sources(tmp_path / "static")
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    assert build(tmp_path).endswith("files")
    files = read_page_files(tmp_path / "static")
    assert files.is_built
    assert build(tmp_path).endswith("up to date")
    assert is_current(tmp_path / "static" / BUILT, digest_of_sources(tmp_path / "static"))
    first = [files["app.js"], files["page.css"], files["first-paint.js"], *files.preloaded]
    compressed = sum((tmp_path / "static" / f"{name}.gz").stat().st_size for name in first)
    assert compressed < 200_000
    assert "--minify" in OPTIONS


def copy_sources(destination: Path) -> None:
    for path in (ROOT / "static").rglob("*"):
        relative = path.relative_to(ROOT / "static")
        if path.is_file() and relative.parts[0] != BUILT:
            (destination / relative).parent.mkdir(parents=True, exist_ok=True)
            (destination / relative).write_bytes(path.read_bytes())
