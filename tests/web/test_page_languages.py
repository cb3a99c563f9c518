"""Languages of the page that are files of their own, as the server finds and names them."""

from __future__ import annotations

import html
import json
import logging
import re
from pathlib import Path

import pytest
from flask import render_template

from tests.paths import ROOT
from tests.web.fake_system import FakeSystem
from web.application import create_app
from web.page_languages import read_languages

HEBREW = {"language.name": "עברית", "language.direction": "rtl", "login.account": "חשבון"}


@pytest.fixture
def text_folder(root: Path) -> Path:
    folder = root / "static/text"
    folder.mkdir(exist_ok=True)
    return folder


def test_a_file_is_a_language(text_folder: Path) -> None:
    (text_folder / "he.json").write_text(json.dumps(HEBREW))
    *built_in, hebrew = read_languages(text_folder.parent)
    assert [language.code for language in built_in] == ["en", "zh"]
    assert hebrew.for_browser() == {"name": "עברית", "short": "HE", "locale": "he", "direction": "rtl"}
    assert hebrew.text("login.account", "Account") == "חשבון"
    assert hebrew.text("login.key", "Key") == "Key"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("he.json", "{"),
        ("he.json", "[]"),
        ("he.json", '{"language.direction": "up"}'),
        ("en.json", "{}"),
        ("Hebrew!.json", "{}"),
    ],
)
def test_a_file_that_is_none_is_left_out_and_told(
    text_folder: Path, caplog: pytest.LogCaptureFixture, name: str, content: str
) -> None:
    (text_folder / name).write_text(content)
    with caplog.at_level(logging.WARNING):
        assert len(read_languages(text_folder.parent)) == 2
    assert name in caplog.text


def test_every_page_names_the_languages_and_the_login_speaks_them(
    system: FakeSystem, root: Path, text_folder: Path
) -> None:
    (text_folder / "he.json").write_text(json.dumps(HEBREW))
    (root / "templates/index.html").write_text((ROOT / "templates/index.html").read_text())
    app = create_app(system.settings, system, root=root)
    with app.test_request_context():
        login = render_template("login.html", problem="")
    for page in (app.test_client().get("/").text, login):
        known = re.search(r'data-languages="([^"]+)"', page)
        assert known is not None
        assert json.loads(html.unescape(known[1]))["he"]["direction"] == "rtl"
    assert '<span class="own" lang="he">חשבון</span>' in login
    assert '<span class="own" lang="he">Key</span>' in login


def test_the_page_knows_english_and_chinese_by_the_same_names() -> None:
    """language.js has them, too, for tests without a page."""
    module = (ROOT / "static/text/language.js").read_text(encoding="utf-8")
    for language in read_languages(ROOT / "static")[:2]:
        fields = ", ".join(f"{name}: '{value}'" for name, value in language.for_browser().items())
        assert f"{language.code}: {{ {fields} }}" in module
