"""A file's name is only ever shown: it is no path on the server and no line of a header."""

from __future__ import annotations

import base64
import re
import unicodedata
from email.message import Message
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from optimizer.common.filenames import UNNAMED
from tests.properties import budget
from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING, send
from tests.web.tasks.tus_client import TusClient
from web.http.security import content_security_policy

HOSTILE = [
    "../../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/passwd",
    "C:\\windows\\system32\\x.wav",
    "nul\x00byte.mp3",
    "CON",
    "a\u202egnp.exe",
    "a\u200bb\u2028c\u2029d.wav",
    "x" * 4096 + ".mp3",
    "line\r\nSet-Cookie: owner=me",
    'quote".mp3',
    "semi;colon=1.mp3",
    "'; rm -rf / #.mp3",
    "-i",
    "concat:/etc/passwd",
    "%2e%2e%2fetc",
    "<img src=x onerror=alert(1)>.html",
    "聲音 ḿ.mp3",
    "e\u0301.wav",
    ".",
    "..",
    " ",
]
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
JOINERS = "\u200c\u200d"  # they shape letters of Persian and Hindi, and emoji; see test_filenames.py
ANY_NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def as_browsers_write(name: str) -> str:
    """In a form's header, by the HTML standard."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def task_of(response: TestResponse) -> str:
    body = response.get_json(silent=True)
    return str(body["task"]["id"]) if body else response.headers["Task-Id"]


@pytest.mark.proves("S13")
@pytest.mark.parametrize("way", ["form", "tus"])
def test_a_name_is_shown_cleaned_and_never_part_of_a_path(
    client: FlaskClient, system: FakeSystem, tmp_path: Path, way: str
) -> None:
    """By both ways in. Lone surrogates can only come by the form: tus sends UTF-8."""
    tus = TusClient(client)

    def upload(name: str) -> TestResponse:
        if way == "tus":
            return tus.create(len(RECORDING), data=RECORDING, filename=name)
        return send(client, name=as_browsers_write(name))

    @budget(30, suppress_health_check=list(HealthCheck))
    @given(name=ANY_NAME)
    def check(name: str) -> None:
        outside = files_of(tmp_path) - files_of_data(system, tmp_path)
        response = upload(name)
        assert response.status_code in (201, 202), name
        task = client.get(f"/api/tasks/{task_of(response)}").get_json()["task"]
        shown = task["filename"]
        assert 0 < len(shown.encode()) <= 255
        assert unicodedata.normalize("NFC", shown) == shown
        assert not {unicodedata.category(character) for character in shown if character not in JOINERS} & HIDDEN
        assert not set(shown) & set("/\\")
        assert (system.settings.data_dir / "media" / task["id"]).read_bytes() == RECORDING
        assert re.fullmatch(r"[0-9A-Z]{26}", task["id"])
        assert files_of(tmp_path) - files_of_data(system, tmp_path) == outside
        assert list((system.settings.data_dir / "incoming").iterdir()) == []
        client.delete(f"/api/tasks/{task['id']}")

    for hostile in HOSTILE:
        check = example(name=hostile)(check)
    check()
    assert list((system.settings.data_dir / "media").iterdir()) == []


def files_of_data(system: FakeSystem, root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in system.settings.data_dir.rglob("*")}


@pytest.mark.proves("S14")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_download_is_an_attachment_of_an_exact_type_under_a_well_formed_name(
    client: FlaskClient, system: FakeSystem, name: str
) -> None:
    page = b"<!doctype html><script>alert(1)</script>"
    tus = TusClient(client)
    encoded = base64.b64encode(name.encode()).decode()
    response = tus.create(len(page), data=page, headers={"Upload-Metadata": f"filename {encoded}"})
    task_id = response.headers["Task-Id"]
    system.complete(task_id, " Hello")
    shown = system.task(task_id).task.filename
    types = {
        "transcript?format=txt": "text/plain",
        "transcript?format=srt": "application/x-subrip",
        "transcript?format=vtt": "text/vtt",
        "transcript?format=tsv": "text/tab-separated-values",
        "transcript?format=json": "application/json",
        "media?": "application/octet-stream",
    }
    for address, expected in types.items():
        with client.get(f"/api/tasks/{task_id}/{address}&download=true") as download:
            assert download.status_code == 200
            assert download.mimetype == expected
            assert download.headers["X-Content-Type-Options"] == "nosniff"
            assert download.headers["Content-Security-Policy"] == content_security_policy()
            assert len(download.headers.getlist("Set-Cookie")) == 0
            kind, filename = parsed(download.headers["Content-Disposition"])
            assert kind == "attachment"
            stem = shown if address == "media?" else PurePosixPath(shown).stem or UNNAMED
            assert filename.startswith(stem[:20])
            assert not set(filename) & set("/\\\r\n\0")
    with client.get(f"/api/tasks/{task_id}/media") as inline:
        assert inline.mimetype == "application/octet-stream"  # no browser shows a page in that


def parsed(header: str) -> tuple[str, str]:
    """The kind and the file name, as an independent parser of RFC 6266 reads them."""
    assert header.isascii()
    assert not set(header) & set("\r\n\0")
    message = Message()
    message["Content-Disposition"] = header
    extended = re.search(r"filename\*=UTF-8''([^;]*)", header)
    name = unquote(extended[1]) if extended else message.get_filename()
    assert name
    return message.get_content_disposition() or "", name
