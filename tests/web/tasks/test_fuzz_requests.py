"""What the API reads by hand from a request, with anything in it: ranges, keys, forms, names of models."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from optimizer.tasks.task import TaskFilter
from tests.properties import budget
from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING
from whisper_core.models.catalogue import MODELS

SHARED = [HealthCheck.function_scoped_fixture]
SOUND = b"fLaC" + bytes(range(60))
HEADER_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40)
NUMBER = st.sampled_from(
    ["", "0", "1", "5", "63", "64", "65", "-1", "007", "99999999999999999999", "1e3", "+1", " 2 ", "x"]
)
RANGE = st.tuples(st.sampled_from(["bytes=", "bytes =", "Bytes=", "seconds=", "bytes", "=", ""]), NUMBER, NUMBER).map(
    lambda parts: f"{parts[0]}{parts[1]}-{parts[2]}"
)


@budget(150, suppress_health_check=SHARED)
@given(wanted=RANGE | st.lists(RANGE, max_size=3).map(",".join) | HEADER_TEXT)
def test_any_range_gives_the_bytes_that_the_answer_names(client: FlaskClient, system: FakeSystem, wanted: str) -> None:
    tasks, _, _ = system.tasks(TaskFilter(limit=1))
    task_id = tasks[0].task.id if tasks else system.add(data=SOUND).id
    with client.get(f"/api/tasks/{task_id}/media", headers={"Range": wanted}) as answer:
        if answer.status_code == 206:
            named = re.fullmatch(rf"bytes (\d+)-(\d+)/{len(SOUND)}", answer.headers["Content-Range"])
            assert named is not None
            first, last = int(named[1]), int(named[2])
            assert 0 <= first <= last < len(SOUND)
            assert (answer.data, answer.content_length) == (SOUND[first : last + 1], last + 1 - first)
        elif answer.status_code == 416:
            assert answer.headers["Content-Range"] == f"bytes */{len(SOUND)}"
        else:
            assert (answer.status_code, answer.data) == (200, SOUND)


def form(boundary: bytes = b"b", name: bytes = b"a.flac", sound: bytes = RECORDING) -> bytes:
    return (
        b'--%s\r\nContent-Disposition: form-data; name="priority"\r\n\r\nhigh\r\n'
        b'--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: audio/flac\r\n\r\n%s\r\n'
        b"--%s--\r\n"
    ) % (boundary, boundary, name, sound, boundary)


@st.composite
def mutated_forms(draw: st.DrawFn) -> bytes:
    """A good form of which up to three stretches were cut out, doubled or replaced."""
    body = form()
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        piece = draw(st.sampled_from([b"", body[start:end] * 2, b"\r\n", b"--b", b'"', b"\x00", b";", b"\xff\xfe"]))
        body = body[:start] + piece + body[end:]
    return body


TYPES = ("multipart/form-data; boundary=b", 'multipart/form-data; boundary="b"; charset=utf-7', "multipart/form-data")


@budget(150, suppress_health_check=SHARED)
@given(body=mutated_forms(), content_type=st.sampled_from(TYPES), cut=st.integers(0, 20))
def test_any_form_is_a_task_or_a_refusal_that_leaves_nothing(
    client: FlaskClient, system: FakeSystem, body: bytes, content_type: str, cut: int
) -> None:
    """cut: bytes that were announced and never come."""
    environ = {"CONTENT_LENGTH": str(len(body) + cut)}
    answer = client.post("/api/tasks", data=body, content_type=content_type, environ_overrides=environ)
    assert answer.status_code in (202, 400, 413, 415, 422)
    data_dir = system.settings.data_dir
    assert list((data_dir / "incoming").iterdir()) == []
    if answer.status_code == 202:
        system.delete(answer.get_json()["task"]["id"])
    else:
        assert answer.get_json()["error"]["message"].endswith(".")
    assert list((data_dir / "media").iterdir()) == []


@budget(80, suppress_health_check=SHARED)
@given(key=HEADER_TEXT | st.sampled_from(["k" * 200, "k" * 201, "a,b", '"quoted"', "k"]))
def test_any_idempotency_key_is_refused_or_means_one_task(client: FlaskClient, system: FakeSystem, key: str) -> None:
    answers = [
        client.post(
            "/api/tasks",
            data=form(),
            content_type=TYPES[0],
            headers={"Idempotency-Key": key},
        )
        for _ in range(2)
    ]
    if answers[0].status_code == 422:
        assert [answer.get_json()["error"]["field"] for answer in answers] == ["Idempotency-Key"] * 2
        return
    ids = {answer.get_json()["task"]["id"] for answer in answers}
    assert len(ids) == 1
    assert answers[1].headers["Idempotent-Replayed"] == "true"


NAMES = st.text(max_size=20) | st.lists(
    st.sampled_from(["tiny", "base", ".en", "-int8", "/", "..", "%2e", "\\", "\x00", "large", ".pt", " "]), max_size=4
).map("".join)


@budget(100, suppress_health_check=SHARED)
@given(name=NAMES)
@pytest.mark.parametrize("way", ["fetch", "form"])
def test_any_name_of_a_model_is_one_of_the_catalogue_or_refused(
    client: FlaskClient, system: FakeSystem, way: str, name: str
) -> None:
    if way == "fetch":
        system.fetched.clear()
        answer = client.post(f"/api/models/{name}/fetch")
        assert answer.status_code in (202, 308, 404, 405, 422)
        assert set(system.fetched) <= set(MODELS)
        return
    fields = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n' % name.encode("utf-8", "replace")
    answer = client.post("/api/tasks", data=fields + form(), content_type=TYPES[0])
    if answer.status_code == 202:
        assert answer.get_json()["task"]["options"]["model"] in MODELS
    else:
        assert (answer.status_code, answer.get_json()["error"]["code"]) in {
            (422, "unknown_model"),
            (400, "bad_request"),
        }
