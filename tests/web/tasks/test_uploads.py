"""POST /api/tasks: what is accepted, what is refused, and that a refused upload leaves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config import Settings
from errors import DiskFullError, InvalidOptionError, QueueFullError, ShuttingDownError
from optimizer.intake.task_form import OPTION_FIELDS, read_task_form
from optimizer.tasks.task import Priority, TaskFilter
from tests.web.fake_system import FakeSystem
from tests.web.fake_tasks import BAD_MEDIA
from tests.web.requests import RECORDING, error_of, send
from web.tasks.uploads import MAX_PARTS
from whisper_core.audio.tracks import SoundTrack
from whisper_core.models.registry import ModelRegistry


@pytest.fixture(autouse=True)
def leaves_no_half_upload(system: FakeSystem) -> Iterator[None]:
    yield
    assert list((system.settings.data_dir / "incoming").iterdir()) == []
    tasks, _, _ = system.tasks(TaskFilter(limit=200))
    stored = {path.name for path in (system.settings.data_dir / "media").iterdir()}
    assert stored == {view.task.id for view in tasks}


def post_stream(client: FlaskClient, stream: BytesIO, announced: int) -> TestResponse:
    environ = {
        "wsgi.input": stream,
        "CONTENT_LENGTH": str(announced),
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
    }
    return client.post("/api/tasks", environ_overrides=environ)


def test_upload_becomes_a_task_and_its_bytes_are_kept(client: FlaskClient, system: FakeSystem) -> None:
    response = send(client)
    assert response.status_code == 202
    task = response.get_json()["task"]
    assert system.media(task["id"]).read_bytes() == RECORDING
    assert (task["filename"], task["status"], task["size_bytes"]) == ("interview.flac", "pending", len(RECORDING))


def test_an_upload_does_not_build_the_whole_status(
    client: FlaskClient, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status() -> dict[str, object]:
        raise AssertionError("the upload asked for the body of GET /api/system")

    monkeypatch.setattr(system, "status", status)
    assert send(client, device="cpu").status_code == 202


def test_options_reach_the_task(client: FlaskClient, system: FakeSystem) -> None:
    response = send(
        client,
        model="small",
        language="es",
        task="translate",
        initial_prompt=" Names: Ada. ",
        word_timestamps="on",
        temperature="0.4",
        mode="vad",
        priority="high",
        device="cpu",
    )
    task = system.task(response.get_json()["task"]["id"]).task
    assert task.options.model == "small"
    assert task.options.language == "es"
    assert task.options.task == "translate"
    assert task.options.initial_prompt == "Names: Ada."
    assert task.options.word_timestamps is True
    assert task.options.temperature == 0.4
    assert task.options.mode == "vad"
    assert response.get_json()["task"]["options"]["mode"] == "vad"
    assert (task.priority, task.requested_device) == (Priority.HIGH, "cpu")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "huge"),
        ("language", "klingon"),
        ("task", "summarise"),
        ("initial_prompt", "x" * 2001),
        ("word_timestamps", "maybe"),
        ("temperature", "nan"),
        ("temperature", "1.01"),
        ("temperature", "warm"),
        ("mode", "fast"),
        ("priority", "urgent"),
        ("device", "cuda:7"),
        ("modle", "base"),
    ],
)
def test_an_error_names_the_option_and_does_not_repeat_its_value(client: FlaskClient, field: str, value: str) -> None:
    response = send(client, RECORDING, **{field: value})
    status, code, named = error_of(response)
    assert (status, named) == (422, field)
    assert code == ("unknown_model" if field == "model" else "invalid_option")
    assert value not in response.get_json()["error"]["message"] or value == "base"


@pytest.mark.parametrize("address", ["/api/tasks", "/v1/audio/transcriptions", "/v1/audio/translations"])
@pytest.mark.parametrize("head", ["form-data", 'form-data; filename="b"', "form-data; nam"])
def test_a_part_without_a_readable_name_is_refused_by_every_form(client: FlaskClient, address: str, head: str) -> None:
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + RECORDING
    body = file + f"\r\n--b\r\nContent-Disposition: {head}\r\n\r\nx\r\n--b--\r\n".encode()
    response = client.post(address, data=body, content_type="multipart/form-data; boundary=b")
    expected = (422, "invalid_option") if address == "/api/tasks" else (400, "invalid_value")
    assert (response.status_code, response.get_json()["error"]["code"]) == expected


def test_the_track_may_be_named_in_the_address(client: FlaskClient, system: FakeSystem) -> None:
    task = client.post("/api/tasks?track=German&x=y", data={"file": (BytesIO(RECORDING), "a.mkv")}).get_json()["task"]
    assert task["options"]["track"] == "de"
    twice = client.post("/api/tasks?track=1", data={"file": (BytesIO(RECORDING), "a.mkv"), "track": "1"})
    assert error_of(twice) == (422, "invalid_option", "track")


def test_the_tracks_of_a_file_are_shown_with_their_task(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    chosen = SoundTrack(2, 3, "aac", 2, "ger", "Kommentar", is_default=True, is_chosen=True)
    system._change(task.id, tracks=(SoundTrack(1, 1, "ac3"), chosen))
    assert client.get(f"/api/tasks/{task.id}").get_json()["task"]["tracks"] == [
        {
            **dict.fromkeys(("language", "title", "channels")),
            "index": 1,
            "codec": "ac3",
            "default": False,
            "chosen": False,
        },
        {
            "index": 2,
            "codec": "aac",
            "channels": 2,
            "language": "ger",
            "title": "Kommentar",
            "default": True,
            "chosen": True,
        },
    ]


def test_every_option_may_be_sent_at_once(client: FlaskClient) -> None:
    fields: dict[str, Any] = dict.fromkeys(OPTION_FIELDS, "")
    assert send(client, **fields).status_code == 202


def test_option_sent_twice_is_refused(client: FlaskClient) -> None:
    assert error_of(send(client, model=["base", "small"])) == (422, "invalid_option", "model")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "base.en"}, "en"),
        ({"model": "base.en", "language": "auto"}, "en"),
        ({"model": "base", "language": ""}, None),
        ({"model": "base", "language": "auto"}, None),
        ({"model": "base", "language": "German"}, "de"),
        ({"model": "base", "language": "zh-CN"}, "zh"),
        ({"model": "base.en", "language": "en-US"}, "en"),
    ],
)
def test_language(client: FlaskClient, fields: dict[str, str], expected: str | None) -> None:
    assert send(client, RECORDING, **fields).get_json()["task"]["options"]["language"] == expected


def test_an_int8_model_may_ask_for_the_cpu_where_it_is_no_device_yet(make_settings: Callable[..., Settings]) -> None:
    fields = [("model", "large-int8"), ("device", "cpu")]
    form = read_task_form(fields, make_settings(), ["cuda:0"], ModelRegistry(), "tiny.en")
    assert (form.options.model, form.device) == ("large-v3-int8", "cpu")

    with pytest.raises(InvalidOptionError, match="Must be one of auto, cuda:0, cpu") as unknown:
        read_task_form(
            [("model", "base-int8"), ("device", "cuda:1")], make_settings(), ["cuda:0"], ModelRegistry(), "tiny.en"
        )
    with pytest.raises(InvalidOptionError, match=r"Must be one of auto, cuda:0\.") as published:
        read_task_form([("model", "base"), ("device", "cpu")], make_settings(), ["cuda:0"], ModelRegistry(), "tiny.en")
    assert (unknown.value.field, published.value.field) == ("device", "device")


@pytest.mark.parametrize(("fields", "field"), [({"language": "es"}, "language"), ({"task": "translate"}, "task")])
def test_english_model_refuses_other_languages_and_translation(
    client: FlaskClient, fields: dict[str, str], field: str
) -> None:
    assert error_of(send(client, RECORDING, "a.flac", model="tiny.en", **fields)) == (422, "invalid_option", field)


def test_no_file(client: FlaskClient) -> None:
    assert error_of(client.post("/api/tasks", data={"model": "base"})) == (400, "missing_file", "file")


def test_no_form_at_all(client: FlaskClient) -> None:
    assert error_of(client.post("/api/tasks", json={"file": "x"})) == (400, "missing_file", "file")


def test_file_field_without_a_file(client: FlaskClient) -> None:
    response = client.post("/api/tasks", data={"file": "text"}, content_type="multipart/form-data")
    assert error_of(response) == (400, "missing_file", "file")


def test_form_whose_file_was_not_chosen(client: FlaskClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--b--\r\n'
    response = client.post("/api/tasks", data=body, content_type="multipart/form-data; boundary=b")
    assert error_of(response) == (400, "missing_file", "file")


@pytest.mark.parametrize("size", [5, 1_000_000])
def test_a_file_without_a_name_is_told_from_a_large_one(client: FlaskClient, size: int) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + bytes(size - 4) + b"\r\n--b--\r\n"
    response = client.post("/api/tasks", data=body, content_type="multipart/form-data; boundary=b")
    assert error_of(response) == (400, "missing_file", "file")
    assert "`filename`" in response.get_json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("Gespräch.mp3", "latin-1"), ("Día – año.mp3", "cp1252"), ("Разговор.mp3", "cp1251"), ("會議.mp3", "utf-8")],
)
def test_a_name_in_an_old_code_page_is_read(client: FlaskClient, name: str, encoding: str) -> None:
    """As curl sends it from a terminal that has that code page."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode(encoding)
    response = client.post(
        "/api/tasks", data=head + RECORDING + b"\r\n--b--\r\n", content_type="multipart/form-data; boundary=b"
    )
    assert (response.status_code, response.get_json()["task"]["filename"]) == (202, name)


def test_empty_file(client: FlaskClient) -> None:
    assert error_of(send(client, b"")) == (400, "empty_file", None)


def test_file_without_sound(client: FlaskClient) -> None:
    assert error_of(send(client, BAD_MEDIA)) == (415, "unsupported_media", None)


def test_two_files(client: FlaskClient) -> None:
    response = client.post("/api/tasks", data={"file": [(BytesIO(b"fLaC"), "a"), (BytesIO(b"fLaC"), "b")]})
    assert error_of(response) == (422, "invalid_option", "file")


def test_file_under_another_name(client: FlaskClient) -> None:
    response = client.post("/api/tasks", data={"recording": (BytesIO(b"fLaC"), "a")})
    assert error_of(response) == (422, "invalid_option", "file")


def test_a_file_at_another_address_is_refused(client: FlaskClient) -> None:
    task_id = send(client).get_json()["task"]["id"]
    response = client.post(f"/api/tasks/{task_id}/cancel", data={"file": (BytesIO(b"x"), "a")})
    assert response.status_code == 200  # the body is not looked at


def test_file_above_the_limit(client: FlaskClient) -> None:
    assert error_of(send(client, bytes(1_000_001)))[:2] == (413, "too_large")


def test_a_length_above_the_limit_is_refused_before_the_body_is_read(client: FlaskClient) -> None:
    class Unreadable(BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

    response = post_stream(client, Unreadable(), 10**10)
    assert error_of(response) == (413, "too_large", "file")


@pytest.mark.parametrize("cut_at", [1, 30, 95, 150, 3000])
def test_an_interrupted_body_leaves_nothing(client: FlaskClient, cut_at: int) -> None:
    """The client announced more than it sent."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.flac"\r\n\r\n' + bytes(4000)
    response = post_stream(client, BytesIO(body[:cut_at]), len(body) + 10)
    assert error_of(response) == (400, "bad_request", None)


@pytest.mark.parametrize("cut_at", [95, 3000])
def test_a_form_that_ends_within_the_file_is_refused(client: FlaskClient, cut_at: int) -> None:
    """The body has the announced length, but its last boundary is missing."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.flac"\r\n\r\n' + bytes(4000)
    response = client.post("/api/tasks", data=body[:cut_at], content_type="multipart/form-data; boundary=b")
    assert response.status_code == 400


def test_too_many_parts(client: FlaskClient) -> None:
    response = send(client, RECORDING, **{f"x{number}": "1" for number in range(MAX_PARTS)})
    assert error_of(response)[:2] == (413, "too_large")


def test_option_of_megabytes(client: FlaskClient) -> None:
    assert send(client, initial_prompt="x" * 200_000).status_code == 413


def test_large_file_with_lines_is_kept_whole(client: FlaskClient, system: FakeSystem) -> None:
    """With line ends at every position of the parser's 64 KB reads: it keeps back what could start a boundary."""
    data = b"fLaC" + b"".join(b"x" * (index % 97) + b"\r\n--" for index in range(12_000))[:900_000]
    task_id = send(client, data).get_json()["task"]["id"]
    assert system.media(task_id).read_bytes() == data


def test_same_key_gives_the_same_task(client: FlaskClient) -> None:
    first = send(client, headers={"Idempotency-Key": "k1"})
    again = send(client, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, "Idempotent-Replayed" in first.headers) == (202, False)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.get_json() == first.get_json()


def test_same_key_with_another_file_is_refused(client: FlaskClient) -> None:
    send(client, headers={"Idempotency-Key": "k1"})
    response = send(client, b"fLaC something else", headers={"Idempotency-Key": "k1"})
    assert error_of(response)[:2] == (422, "idempotency_mismatch")


@pytest.mark.parametrize("key", ["x" * 201, "two words", "ü"])
def test_unusable_key(client: FlaskClient, key: str) -> None:
    response = send(client, headers={"Idempotency-Key": key})
    assert error_of(response) == (422, "invalid_option", "Idempotency-Key")


@pytest.mark.parametrize(
    ("error", "status"), [(QueueFullError(), 429), (ShuttingDownError(), 503), (DiskFullError(), 507)]
)
def test_a_server_that_refuses_says_when_to_try_again(
    client: FlaskClient, system: FakeSystem, error: Exception, status: int
) -> None:
    def refuse() -> None:
        raise error

    system.before_answer = refuse
    response = send(client)
    assert response.status_code == status
    assert int(response.headers["Retry-After"]) > 0


def test_a_fault_of_the_server_shows_no_details(
    client: FlaskClient, system: FakeSystem, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("secret detail")

    system.before_answer = fail
    response = send(client)
    assert error_of(response)[:2] == (500, "internal")
    assert "secret" not in response.get_data(as_text=True)
    assert response.headers["X-Request-Id"] in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "..\\..\\boot.ini",
        "a\u202egnp.exe",
        "CON",
        "a" * 4000 + ".mp3",
        "nul\x00byte.mp3",
        "'; rm -rf / #.mp3",
        "<img src=x onerror=alert(1)>.mp3",
        "聲音 ḿ.mp3",
        ".",
        "..",
    ],
)
def test_hostile_names_are_stored_to_be_shown_only(
    client: FlaskClient, system: FakeSystem, tmp_path: Path, name: str
) -> None:
    before = {path for path in tmp_path.rglob("*") if system.settings.data_dir not in path.parents}
    response = send(client, name=name)
    assert response.status_code == 202
    task = response.get_json()["task"]
    assert len(task["filename"].encode()) <= 255
    assert not set("/\\\n\r\x00\u202e") & set(task["filename"])
    assert {path for path in tmp_path.rglob("*") if system.settings.data_dir not in path.parents} == before
    with client.get(f"/api/tasks/{task['id']}/media?download=true") as media:
        assert media.status_code == 200
        assert media.headers["Content-Disposition"].startswith("attachment; filename")
