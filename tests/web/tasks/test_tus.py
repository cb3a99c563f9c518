"""Resumable uploads over HTTP: the protocol's own rules, and what of the form's they share."""

from __future__ import annotations

import base64
import hashlib
from io import BytesIO

import pytest
from flask.testing import FlaskClient

from errors import DiskFullError, QueueFullError
from optimizer.tasks.task import Priority
from tests.web.fake_system import FakeSystem
from tests.web.fake_tasks import BAD_MEDIA
from tests.web.requests import RECORDING, error_of, send
from tests.web.tasks.tus_client import ADDRESS, CONTENT_TYPE, VERSION, TusClient

LENGTH = len(RECORDING)


@pytest.fixture
def tus(client: FlaskClient) -> TusClient:
    return TusClient(client)


def checksum(data: bytes, algorithm: str = "sha1") -> dict[str, str]:
    digest = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


def test_an_upload_in_two_parts_becomes_a_task(tus: TusClient, system: FakeSystem) -> None:
    address = tus.created(LENGTH, filename="interview.flac", filetype="audio/flac", language="es", model="small",
                          word_timestamps="true", mode="vad", priority="high", device="cpu",
                          initial_prompt="名字：Ada", temperature="0.4", task="translate")  # fmt: skip
    first = tus.patch(address, 0, RECORDING[:7])
    assert (first.status_code, first.headers["Upload-Offset"], "Task-Id" in first.headers) == (204, "7", False)
    assert tus.offset(address) == 7

    last = tus.patch(address, 7, RECORDING[7:])

    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(LENGTH))
    task = system.task(last.headers["Task-Id"]).task
    assert system.media(task.id).read_bytes() == RECORDING
    assert (task.filename, task.sha256) == ("interview.flac", hashlib.sha256(RECORDING).hexdigest())
    options = task.options
    assert (options.model, options.language, options.task, options.mode) == ("small", "es", "translate", "vad")
    assert (options.word_timestamps, options.initial_prompt, options.temperature) == (True, "名字：Ada", 0.4)
    assert (task.priority, task.requested_device) == (Priority.HIGH, "cpu")


def test_repeating_the_last_request_after_a_lost_answer_tells_the_same_task(tus: TusClient) -> None:
    address = tus.created(LENGTH)
    task_id = tus.patch(address, 0, RECORDING).headers["Task-Id"]
    head, again = tus.head(address), tus.patch(address, LENGTH, b"")
    assert (head.status_code, head.headers["Task-Id"], head.headers["Upload-Offset"]) == (200, task_id, str(LENGTH))
    assert (again.status_code, again.headers["Task-Id"]) == (204, task_id)
    assert error_of(tus.patch(address, 0, RECORDING))[:2] == (409, "offset_mismatch")
    assert error_of(tus.delete(address))[:2] == (409, "already_finished")


def test_options_tell_what_the_server_can(client: FlaskClient) -> None:
    response = client.options(ADDRESS)
    assert response.status_code == 204
    assert response.headers["Tus-Version"] == "1.0.0"
    assert response.headers["Tus-Max-Size"] == "1000000"
    assert response.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
    extensions = set(response.headers["Tus-Extension"].split(","))
    assert extensions == {"creation", "creation-with-upload", "checksum", "expiration", "termination"}


def test_creation_tells_where_to_go_on_and_until_when(tus: TusClient) -> None:
    response = tus.create(LENGTH, language="en")
    assert response.headers["Location"].startswith("uploads/")  # relative, so that it is right behind any proxy
    head = tus.head("/api/" + response.headers["Location"])
    assert (head.headers["Upload-Length"], head.headers["Upload-Offset"]) == (str(LENGTH), "0")
    assert head.headers["Upload-Expires"] == response.headers["Upload-Expires"]
    assert head.headers["Upload-Expires"].endswith(" GMT")
    assert head.headers["Cache-Control"] == "no-store"
    sent = dict(pair.split(" ") for pair in head.headers["Upload-Metadata"].split(","))
    assert base64.b64decode(sent["filename"]) == b"a.flac"
    assert base64.b64decode(sent["language"]) == b"en"


def test_the_first_bytes_may_come_with_the_creation(tus: TusClient) -> None:
    part = tus.create(LENGTH, data=RECORDING[:5])
    assert (part.status_code, part.headers["Upload-Offset"]) == (201, "5")
    whole = tus.create(LENGTH, data=RECORDING)
    assert (whole.status_code, whole.headers["Upload-Offset"]) == (201, str(LENGTH))
    assert whole.headers["Task-Id"]


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("version", [None, "0.2.2"])
def test_another_version_is_refused(client: FlaskClient, tus: TusClient, method: str, version: str | None) -> None:
    address = ADDRESS if method == "POST" else tus.created(LENGTH)
    response = client.open(address, method=method, headers={"Tus-Resumable": version} if version else {})
    assert (response.status_code, response.headers["Tus-Version"]) == (412, "1.0.0")
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert method == "HEAD" or error_of(response)[1] == "tus_version"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"modle": "base"}, (422, "invalid_option", "modle")),
        ({"model": "huge"}, (422, "unknown_model", "model")),
        ({"language": "klingon"}, (422, "invalid_option", "language")),
        ({"temperature": "warm"}, (422, "invalid_option", "temperature")),
        ({"initial_prompt": "x" * 2001}, (422, "invalid_option", "initial_prompt")),
        ({"device": "cuda:7"}, (422, "invalid_option", "device")),
        ({"model": "base-int8", "device": "cuda:0"}, (422, "invalid_option", "device")),
        ({"file": "x"}, (422, "invalid_option", "file")),
        ({"filename": ""}, (400, "missing_file", "filename")),
    ],
)
def test_a_wrong_option_is_refused_before_a_byte_is_sent(
    tus: TusClient, system: FakeSystem, options: dict[str, str], error: tuple[int, str, str]
) -> None:
    assert error_of(tus.create(LENGTH, **options)) == error
    assert list((system.settings.data_dir / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("length", "error"),
    [
        ("0", (400, "empty_file", None)),
        ("1000001", (413, "too_large", None)),
        ("-1", (400, "bad_request", "Upload-Length")),
        ("1e3", (400, "bad_request", "Upload-Length")),
        ("٣", (400, "bad_request", "Upload-Length")),
    ],
)
def test_a_wrong_length_is_refused(tus: TusClient, length: str, error: tuple[int, str, str | None]) -> None:
    header = length.encode().decode("latin-1")
    assert error_of(tus.create(header)) == error


@pytest.mark.parametrize(
    "pairs", ["filename ü", "filename YQ==,filename YQ==", "filename ====", "filename /w==", "ä YQ=="]
)
def test_metadata_that_cannot_be_read_is_refused(client: FlaskClient, pairs: str) -> None:
    headers = VERSION | {"Upload-Length": "5", "Upload-Metadata": pairs.encode().decode("latin-1")}
    assert client.post(ADDRESS, headers=headers).status_code in (400, 422)


def test_a_wrong_offset_changes_nothing(tus: TusClient) -> None:
    address = tus.created(LENGTH)
    tus.patch(address, 0, RECORDING[:5])
    for wrong in (0, 4, 6, LENGTH):
        assert error_of(tus.patch(address, wrong, b"x"))[:2] == (409, "offset_mismatch")
    assert tus.offset(address) == 5
    assert error_of(tus.patch(address, "five", b"x"))[:2] == (400, "bad_request")


def test_another_content_type_is_refused(client: FlaskClient, tus: TusClient) -> None:
    address = tus.created(LENGTH)
    headers = VERSION | {"Upload-Offset": "0", "Content-Type": "application/octet-stream"}
    assert error_of(client.patch(address, headers=headers, data=RECORDING))[:2] == (415, "unsupported_type")
    assert tus.offset(address) == 0


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_bytes_with_the_wrong_checksum_do_not_count(tus: TusClient, algorithm: str) -> None:
    address = tus.created(LENGTH)
    wrong = tus.patch(address, 0, RECORDING[:5], **checksum(b"other", algorithm))
    assert (wrong.status, error_of(wrong)[1]) == ("460 Checksum Mismatch", "checksum_mismatch")
    assert tus.offset(address) == 0
    assert tus.patch(address, 0, RECORDING, **checksum(RECORDING, algorithm)).headers["Task-Id"]


@pytest.mark.parametrize("header", ["md5 x", "sha1", "sha1 !", "sha256 YQ=="])
def test_a_checksum_that_cannot_be_read_is_refused(tus: TusClient, header: str) -> None:
    address = tus.created(LENGTH)
    response = tus.patch(address, 0, RECORDING, **{"Upload-Checksum": header})
    assert error_of(response) == (400, "bad_request", "Upload-Checksum")


def test_of_two_writers_one_is_locked_out(tus: TusClient, system: FakeSystem) -> None:
    address = tus.created(LENGTH)
    with system.parts.appending(address.rpartition("/")[2], 0) as other:
        other.write(RECORDING[:3])
        assert error_of(tus.patch(address, 3, RECORDING[3:]))[:2] == (423, "upload_busy")
    assert tus.offset(address) == 3


@pytest.mark.parametrize("announced", [None, LENGTH + 5])
def test_more_than_was_announced_is_refused_and_the_upload_is_gone(
    client: FlaskClient, tus: TusClient, announced: int | None
) -> None:
    address = tus.created(LENGTH)
    environ = {"wsgi.input": BytesIO(RECORDING + b"more!"), "wsgi.input_terminated": True}
    if announced is not None:
        environ["CONTENT_LENGTH"] = str(announced)
    headers = VERSION | {"Upload-Offset": "0", "Content-Type": CONTENT_TYPE}
    response = client.patch(address, headers=headers, environ_overrides=environ)
    assert error_of(response)[:2] == (413, "too_large")
    assert tus.head(address).status_code == 404


def test_what_came_before_the_client_vanished_is_kept(client: FlaskClient, tus: TusClient) -> None:
    address = tus.created(LENGTH)
    environ = {"wsgi.input": BytesIO(RECORDING[:6]), "CONTENT_LENGTH": str(LENGTH)}
    headers = VERSION | {"Upload-Offset": "0", "Content-Type": CONTENT_TYPE}
    assert client.patch(address, headers=headers, environ_overrides=environ).status_code == 400
    assert tus.offset(address) == 6
    assert tus.patch(address, 6, RECORDING[6:]).headers["Task-Id"]


def test_a_cancelled_upload_is_gone(tus: TusClient, system: FakeSystem) -> None:
    address = tus.created(LENGTH)
    tus.patch(address, 0, RECORDING[:5])
    assert tus.delete(address).status_code == 204
    assert list((system.settings.data_dir / "incoming").iterdir()) == []
    assert error_of(tus.delete(address))[:2] == (404, "upload_not_found")
    assert error_of(tus.patch(address, 5, RECORDING[5:]))[:2] == (404, "upload_not_found")


def test_a_file_without_sound_is_refused_and_the_refusal_is_told_again(tus: TusClient, system: FakeSystem) -> None:
    address = tus.created(len(BAD_MEDIA))
    assert error_of(tus.patch(address, 0, BAD_MEDIA))[:2] == (415, "unsupported_media")
    head = tus.head(address)
    assert (head.headers["Upload-Offset"], "Task-Id" in head.headers) == (str(len(BAD_MEDIA)), False)
    assert error_of(tus.patch(address, len(BAD_MEDIA), b""))[:2] == (415, "unsupported_media")
    assert [path.suffix for path in (system.settings.data_dir / "incoming").iterdir()] == [".json"]


@pytest.mark.parametrize(("error", "status"), [(QueueFullError(), 429), (DiskFullError(), 507)])
def test_what_may_pass_costs_nobody_the_upload(
    tus: TusClient, system: FakeSystem, error: Exception, status: int
) -> None:
    def refuse() -> None:
        raise error

    address = tus.created(LENGTH)
    system.before_answer = refuse
    response = tus.patch(address, 0, RECORDING)
    assert (response.status_code, int(response.headers["Retry-After"]) > 0) == (status, True)
    assert tus.offset(address) == LENGTH
    system.before_answer = lambda: None
    assert tus.patch(address, LENGTH, b"").headers["Task-Id"]


def test_clients_without_patch_can_say_so_in_a_header(client: FlaskClient, tus: TusClient) -> None:
    address = tus.created(LENGTH)
    headers = VERSION | {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": CONTENT_TYPE}
    assert client.post(address, headers=headers, data=RECORDING).headers["Task-Id"]
    assert client.post(address, headers=VERSION).status_code == 405


def test_the_same_key_goes_on_with_the_same_upload(tus: TusClient) -> None:
    key = {"Idempotency-Key": "k"}
    first = tus.create(LENGTH, headers=key)
    tus.patch("/api/" + first.headers["Location"], 0, RECORDING[:5])
    again = tus.create(LENGTH, headers=key)
    assert (again.status_code, again.headers["Location"]) == (200, first.headers["Location"])
    assert (again.headers["Upload-Offset"], again.headers["Idempotent-Replayed"]) == ("5", "true")
    assert error_of(tus.create(LENGTH + 1, headers=key))[:2] == (422, "idempotency_mismatch")
    assert error_of(tus.create(LENGTH, headers=key, language="es"))[:2] == (422, "idempotency_mismatch")


def test_a_key_that_has_made_its_task_is_answered_at_once(tus: TusClient, client: FlaskClient) -> None:
    key = {"Idempotency-Key": "k"}
    task_id = tus.create(LENGTH, headers=key, data=RECORDING).headers["Task-Id"]
    again = tus.create(LENGTH, headers=key)
    assert (again.status_code, again.headers["Task-Id"], again.headers["Idempotent-Replayed"]) == (200, task_id, "true")
    assert error_of(tus.create(LENGTH + 1, headers=key))[:2] == (422, "idempotency_mismatch")
    by_form = send(client, name="a.flac", headers=key)
    assert (by_form.status_code, by_form.get_json()["task"]["id"]) == (200, task_id)


def test_a_key_of_an_unfinished_upload_is_in_flight_for_the_form(tus: TusClient, client: FlaskClient) -> None:
    tus.create(LENGTH, headers={"Idempotency-Key": "k"})
    assert error_of(send(client, headers={"Idempotency-Key": "k"}))[:2] == (409, "idempotency_in_flight")


def test_the_same_file_again_is_a_new_task_with_a_hint(tus: TusClient, client: FlaskClient) -> None:
    first = tus.create(LENGTH, data=RECORDING)
    again = tus.create(LENGTH, data=RECORDING)
    assert "Duplicate-Of" not in first.headers
    assert again.headers["Duplicate-Of"] == first.headers["Task-Id"] != again.headers["Task-Id"]
    by_form = send(client).get_json()
    assert by_form["duplicate_of"] == again.headers["Task-Id"]


def test_one_can_ask_by_hash_before_sending_for_one_s_own_tasks_only(client: FlaskClient) -> None:
    task_id = send(client).get_json()["task"]["id"]
    question = f"/api/tasks?sha256={hashlib.sha256(RECORDING).hexdigest()}"
    assert [task["id"] for task in client.get(question).get_json()["tasks"]] == [task_id]
    elsewhere = client.get(question, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.get_json()["tasks"] == []
    assert error_of(client.get("/api/tasks?sha256=ABC"))[:2] == (422, "invalid_option")


def test_every_answer_names_the_protocol_s_version(client: FlaskClient, tus: TusClient) -> None:
    answers = [tus.create(LENGTH), tus.create("x"), tus.head("/api/uploads/nothing"), client.put(ADDRESS)]
    assert {answer.headers.get("Tus-Resumable") for answer in answers} == {"1.0.0"}
