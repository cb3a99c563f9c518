"""POST /api/tasks with an address in place of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config import Settings
from optimizer.tasks.task import TaskFilter
from tests.optimizer.intake.file_server import FileServer, serving
from tests.web.api_description import ADDRESS
from tests.web.fake_system import FakeSystem
from tests.web.fake_tasks import BAD_MEDIA
from tests.web.requests import RECORDING, error_of, send
from web.application import create_app
from web.http.client_presence import CLIENT_IS_GONE

MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture
def system(make_settings: Callable[..., Settings]) -> FakeSystem:
    return FakeSystem(make_settings(max_upload_mb=1, enable_links=True, link_allow_private=True))


@pytest.fixture(autouse=True)
def leaves_nothing_half(system: FakeSystem) -> Iterator[None]:
    yield
    assert list((system.settings.data_dir / "incoming").iterdir()) == []
    tasks, _, _ = system.tasks(TaskFilter(limit=200))
    assert {path.name for path in (system.settings.data_dir / "media").iterdir()} == {view.task.id for view in tasks}


def send_link(client: FlaskClient, url: str, **fields: Any) -> TestResponse:
    more = {name: fields.pop(name) for name in ("headers", "environ_overrides") if name in fields}
    return client.post("/api/tasks", data={"url": url, **fields}, content_type="multipart/form-data", **more)


def test_what_is_at_the_address_becomes_a_task(client: FlaskClient, system: FakeSystem, files: FileServer) -> None:
    response = send_link(client, files.gives("/talk.flac", RECORDING), model="small", priority="high")
    assert response.status_code == 202
    task = response.get_json()["task"]
    assert system.media(task["id"]).read_bytes() == RECORDING
    assert (task["filename"], task["options"]["model"], task["priority"]) == ("talk.flac", "small", "high")
    assert files.url not in response.text


def test_nothing_is_fetched_for_a_bad_request(client: FlaskClient, files: FileServer) -> None:
    url = files.gives("/a", RECORDING)
    assert error_of(send_link(client, url, model="huge")) == (422, "unknown_model", "model")
    assert error_of(send(client, url=url)) == (422, "invalid_option", "url")  # beside a file
    assert error_of(send_link(client, [url, url])) == (422, "invalid_option", "url")  # type: ignore[arg-type]
    assert error_of(send_link(client, "file:///etc/passwd")) == (422, "invalid_option", "url")
    assert error_of(send_link(client, " ")) == (400, "missing_file", "file")
    assert files.asked == []


def test_a_file_that_cannot_be_used_leaves_nothing(client: FlaskClient, files: FileServer) -> None:
    """The fixture looks."""
    assert error_of(send_link(client, files.gives("/a", BAD_MEDIA)))[:2] == (415, "unsupported_media")
    assert error_of(send_link(client, files.gives("/b")))[:2] == (400, "empty_file")
    assert error_of(send_link(client, files.gives("/c", RECORDING, length=900))) == (422, "link_incomplete", "url")
    assert error_of(send_link(client, files.gives("/d", length=2_000_000))) == (413, "too_large", "url")
    assert error_of(send_link(client, files.gives("/e", status=403))) == (422, "link_refused", "url")


def test_sent_again_with_its_key_it_is_not_fetched_again(client: FlaskClient, files: FileServer) -> None:
    url, headers = files.gives("/a", RECORDING), {"Idempotency-Key": "once"}
    first = send_link(client, url, headers=headers).get_json()["task"]["id"]
    again = send_link(client, url, headers=headers)
    assert (again.status_code, again.get_json()["task"]["id"]) == (200, first)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert files.asked == ["/a"]
    other = send_link(client, url, language="de", headers=headers)
    assert error_of(other) == (422, "idempotency_mismatch", None)


def test_it_ends_when_its_sender_hangs_up(client: FlaskClient, files: FileServer) -> None:
    def say_nothing(_: object) -> None:
        files.is_over.wait(30)

    files.answers["/a"] = say_nothing
    response = send_link(client, f"{files.url}/a", environ_overrides={CLIENT_IS_GONE: lambda: files.asked != []})
    assert error_of(response) == (422, "link_too_slow", "url")


def test_the_description_has_the_field_where_links_are_on(client: FlaskClient, make_settings: Any, root: Path) -> None:
    def form_of(client: FlaskClient) -> Any:
        paths = client.get(ADDRESS).get_json()["paths"]
        return paths["/api/tasks"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]

    form = form_of(client)
    assert form["oneOf"] == [{"required": ["file"]}, {"required": ["url"]}]
    assert "url" in form["properties"]
    system = FakeSystem(make_settings())
    plain = form_of(create_app(system.settings, system, root=root).test_client())
    assert (plain["required"], "url" in plain["properties"]) == (["file"], False)


def test_private_addresses_need_a_setting_of_their_own(
    make_settings: Callable[..., Settings], root: Path, files: FileServer
) -> None:
    system = FakeSystem(make_settings(enable_links=True))
    client = create_app(system.settings, system, root=root).test_client()
    files.gives("/", RECORDING)
    for host in ("127.0.0.1", "[::ffff:127.0.0.1]"):
        assert error_of(send_link(client, f"http://{host}:{files.port}/")) == (422, "invalid_option", "url")
    assert error_of(send_link(client, f"http://localhost:{files.port}/")) == (422, "link_not_allowed", "url")
    assert files.asked == []


def test_without_the_setting_nothing_is_fetched(
    make_settings: Callable[..., Settings], root: Path, files: FileServer
) -> None:
    system = FakeSystem(make_settings(link_allow_private=True))
    client = create_app(system.settings, system, root=root).test_client()
    assert error_of(send_link(client, files.gives("/", RECORDING))) == (400, "missing_file", "file")
    assert error_of(send(client, url=files.url)) == (422, "invalid_option", "url")
    assert files.asked == []
