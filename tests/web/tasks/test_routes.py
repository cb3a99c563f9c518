"""Tasks, models and system over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from errors import TaskNotFoundError
from optimizer.tasks.speakers_key import told_task
from optimizer.tasks.task import TaskOptions
from tests.web.fake_system import FakeSystem
from tests.web.requests import error_of
from web.http.answer_schemas import TaskAnswer, TaskListAnswer
from whisper_core.audio.tracks import SoundTrack


def test_a_task_has_the_documented_fields(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add("interview.mp3")
    body = client.get(f"/api/tasks/{task.id}").get_json()
    described = set(TaskAnswer.model_json_schema()["$defs"]["TaskBody"]["properties"])
    assert set(body["task"]) == described - {
        "owner",
        "match",
    }  # for an admin with accounts, for a search
    TaskAnswer.model_validate(body)
    shown = body["task"]
    assert shown["created_at"] == "2026-11-24T12:00:01.000Z"
    assert (shown["position"], shown["attempts"], shown["max_attempts"]) == (1, 0, 4)
    assert shown["memory"] == dict.fromkeys(
        ("estimated_bytes", "predicted_bytes", "reserved_bytes", "measured_bytes", "peak_bytes")
    )
    assert shown["waiting_reason"] == "waits: 3 tasks ahead"
    assert shown["waiting"] == {"code": "tasks_ahead", "data": {"count": 3}}


def test_a_failed_task_has_its_error(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    system.fail(task.id, "out_of_memory", "The device ran out of memory.")
    shown = client.get(f"/api/tasks/{task.id}").get_json()["task"]
    assert shown["error"] == {"code": "out_of_memory", "message": "The device ran out of memory."}


def test_tasks_come_a_page_at_a_time(client: FlaskClient, system: FakeSystem) -> None:
    ids = [system.add().id for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/api/tasks", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})}).get_json()
        seen += [task["id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
    assert seen == ids[::-1]
    assert page["counts"] == {
        "pending": 5, "processing": 0, "completed": 0, "failed": 0, "retrying": 0, "cancelled": 0
    }  # fmt: skip


def test_tasks_are_filtered(client: FlaskClient, system: FakeSystem) -> None:
    system.add("one.mp3", model="small")
    done = system.add("two.mp3")
    system.complete(done.id, "text")
    found = client.get("/api/tasks?status=completed&model=base&q=TWO").get_json()
    assert [task["id"] for task in found["tasks"]] == [done.id]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("status=done", "status"),
        ("cursor=x", "cursor"),
        ("sort=a", "sort"),
    ],
)
def test_an_error_names_the_bad_parameter(client: FlaskClient, query: str, field: str) -> None:
    assert error_of(client.get(f"/api/tasks?{query}")) == (422, "invalid_option", field)


def test_priority_of_a_waiting_task_changes(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    response = client.patch(f"/api/tasks/{task.id}", json={"priority": "high"})
    assert response.get_json()["task"]["priority"] == "high"
    system.complete(task.id)
    assert error_of(client.patch(f"/api/tasks/{task.id}", json={"priority": "low"}))[:2] == (409, "conflict")


@pytest.mark.parametrize(
    "body", [{}, {"priority": "urgent"}, {"priority": 2}, {"priority": "low", "status": "completed"}]
)
def test_bad_priority(client: FlaskClient, system: FakeSystem, body: dict[str, object]) -> None:
    status, code, field = error_of(client.patch(f"/api/tasks/{system.add().id}", json=body))
    assert (status, code) == (422, "invalid_option")
    assert field in ("priority", "status")


@pytest.mark.parametrize("body", ["", "[]", "{", "null", '"x"', "7", "[" * 20_000 + "]" * 20_000])
def test_body_that_is_no_object(client: FlaskClient, system: FakeSystem, body: str) -> None:
    response = client.patch(f"/api/tasks/{system.add().id}", data=body, content_type="application/json")
    assert error_of(response) == (400, "bad_request", None)


def test_another_track_is_another_task_of_the_same_file(client: FlaskClient, system: FakeSystem) -> None:
    first = system.add("film.mkv", owner="alice")
    answer = client.post(f"/api/tasks/{first.id}/track", json={"track": 2})
    assert answer.status_code == 202
    made = system.task(answer.get_json()["task"]["id"]).task
    assert system.media(made.id).read_bytes() == system.media(first.id).read_bytes()
    assert (made.owner, made.filename, made.options) == ("alice", "film.mkv", replace(first.options, track="2"))
    assert system.task(first.id).task.options == first.options

    again = client.post(f"/api/tasks/{first.id}/track", json={"track": "2"})
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.get_json()["task"]["id"] == made.id


def test_again_is_another_task_of_the_same_file_with_the_options_that_were_named(
    client: FlaskClient, system: FakeSystem
) -> None:
    first = system.add("interview.flac", b"fLaC sound", owner="alice")
    changed = {
        "model": "small",
        "word_timestamps": True,
        "temperature": 0.5,
        "logprob_threshold": "none",
        "priority": "low",
    }
    answer = client.post(f"/api/tasks/{first.id}/again", json={"options": changed})
    assert answer.status_code == 202
    made = system.task(answer.get_json()["task"]["id"]).task
    assert (made.owner, made.filename, made.priority.word) == ("alice", "interview.flac", "low")
    assert made.options == replace(
        first.options, model="small", word_timestamps=True, temperature=0.5, logprob_threshold=None
    )
    assert system.media(made.id).read_bytes() == b"fLaC sound"

    back = {"options": {"temperature": None, "word_timestamps": False, "batch": "retries"}}
    again = client.post(f"/api/tasks/{made.id}/again", json=back)
    last = system.task(again.get_json()["task"]["id"]).task
    assert (last.options.temperature, last.options.word_timestamps, last.options.model) == (None, False, "small")
    assert (last.batch_id, made.batch_id) == ("retries", None)
    twice = client.post(f"/api/tasks/{made.id}/again", json=back)
    assert (twice.status_code, twice.get_json()["task"]["id"]) == (200, last.id)


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"model": "unheard-of"}, "unknown_model", "model"),
        ({"temperature": 7}, "invalid_option", "temperature"),
        ({"beams": 5}, "invalid_option", "beams"),
        ({"patience": 1.0}, "invalid_option", "patience"),
    ],
)
def test_again_names_the_option_that_cannot_be(
    client: FlaskClient, system: FakeSystem, options: dict[str, Any], code: str, field: str
) -> None:
    response = client.post(f"/api/tasks/{system.add().id}/again", json={"options": options})
    assert error_of(response) == (422, code, field)


def test_speakers_of_a_completed_task_are_told_apart_by_a_task_that_transcribes_nothing(
    client: FlaskClient, system: FakeSystem
) -> None:
    first = system.add("talk.mp3", owner="alice")
    system._change(first.id, options=replace(first.options, initial_prompt="Ann", mode="vad", track="2"))
    system.complete(first.id, " Hello.")
    answer = client.post(f"/api/tasks/{first.id}/speakers", json={"num_speakers": 2})
    assert answer.status_code == 202
    made = system.task(answer.get_json()["task"]["id"]).task
    assert system.media(made.id).read_bytes() == system.media(first.id).read_bytes()
    assert (made.owner, made.filename, told_task(made.idempotency_key)) == ("alice", "talk.mp3", first.id)
    assert made.options == TaskOptions(
        model="base", language="en", clip_timestamps="0,0", track="2", speakers=True, num_speakers=2
    )

    again = client.post(f"/api/tasks/{first.id}/speakers", json={"num_speakers": 2})
    assert (again.status_code, again.get_json()["task"]["id"]) == (200, made.id)
    system.fail(made.id, "worker_died", "It died.")
    anew = client.post(f"/api/tasks/{first.id}/speakers", json={"num_speakers": 2})
    assert anew.status_code == 202
    assert anew.get_json()["task"]["id"] != made.id
    with pytest.raises(TaskNotFoundError):
        system.task(made.id)


def test_speakers_can_be_told_apart_only_where_there_is_a_text(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    assert error_of(client.post(f"/api/tasks/{task.id}/speakers", json={}))[:2] == (409, "transcript_not_ready")
    system.complete(task.id, " Hello.")
    for wrong in (0, 51, "two", 2.5, True):
        answer = client.post(f"/api/tasks/{task.id}/speakers", json={"num_speakers": wrong})
        assert error_of(answer) == (422, "invalid_option", "num_speakers")


@pytest.mark.parametrize("track", ["", "0", "the second", 65])
def test_another_track_must_be_one(client: FlaskClient, system: FakeSystem, track: str | int) -> None:
    response = client.post(f"/api/tasks/{system.add().id}/track", json={"track": track})
    assert error_of(response) == (422, "invalid_option", "track")


def test_a_track_that_is_not_there_is_refused_before_the_file_is_copied(
    client: FlaskClient, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = system.add("film.mkv")
    system._change(first.id, tracks=(SoundTrack(index=1, stream=0, codec="aac", channels=2, language="ger"),))
    monkeypatch.setattr(system, "begin_upload", None)
    for track in ("2", "fr"):
        response = client.post(f"/api/tasks/{first.id}/track", json={"track": track})
        assert error_of(response) == (422, "no_such_track", "track")


def test_cancel_retry_delete(client: FlaskClient, system: FakeSystem) -> None:
    path = f"/api/tasks/{system.add().id}"
    assert client.post(f"{path}/cancel").get_json()["task"]["status"] == "cancelled"
    assert client.post(f"{path}/cancel").status_code == 200
    assert client.post(f"{path}/retry").get_json()["task"]["status"] == "pending"
    assert error_of(client.post(f"{path}/retry"))[:2] == (409, "conflict")
    deleted = client.delete(path)
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert error_of(client.get(path)) == (404, "task_not_found", None)


@pytest.mark.parametrize("task_id", ["nothing", "..%2f..%2fetc", "01J" + "0" * 500, "%00"])
@pytest.mark.parametrize("rest", ["", "/transcript", "/media"])
def test_unknown_task(client: FlaskClient, task_id: str, rest: str) -> None:
    assert error_of(client.get(f"/api/tasks/{task_id}{rest}"))[:2] in [(404, "task_not_found"), (404, "not_found")]


def test_models(client: FlaskClient) -> None:
    body = client.get("/api/models").get_json()
    assert body["default"] == "base"
    assert body["languages"]["en"] == "english"
    assert "tiny.en" in [model["name"] for model in body["models"]]


def test_weights_are_fetched_on_request(client: FlaskClient, system: FakeSystem) -> None:
    assert client.post("/api/models/small/fetch").status_code == 202
    assert system.fetched == ["small"]
    assert error_of(client.post("/api/models/huge/fetch")) == (422, "unknown_model", "model")


def test_limits_change(client: FlaskClient, system: FakeSystem) -> None:
    body = client.patch("/api/system", json={"max_batch_size": 2}).get_json()
    assert body["limits"] == {"max_concurrent_tasks": 8, "max_batch_size": 2}


@pytest.mark.parametrize(
    "body",
    [
        {"max_batch_size": 0},
        {"max_concurrent_tasks": "many"},
        {"port": 1},
        {"max_batch_size": 1.5},
        {"max_batch_size": True},
        {"max_concurrent_tasks": "5"},
    ],
)
def test_bad_limits(client: FlaskClient, body: dict[str, object]) -> None:
    status, code, field = error_of(client.patch("/api/system", json=body))
    assert (status, code, field) == (422, "invalid_option", next(iter(body)))


def test_limits_without_any(client: FlaskClient) -> None:
    assert error_of(client.patch("/api/system", json={}))[0] == 400


def test_system(client: FlaskClient) -> None:
    assert client.get("/api/system").get_json()["devices"][0]["name"] == "cpu"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health(client: FlaskClient, system: FakeSystem, path: str) -> None:
    assert client.get(path).get_json() == {"status": "ok", "reasons": []}
    system.health_reasons = system.readiness_reasons = ["the disk is full"]
    response = client.get(path)
    assert (response.status_code, response.get_json()["reasons"]) == (503, ["the disk is full"])
    assert int(response.headers["Retry-After"]) > 0


def test_a_server_that_lacks_other_machines_is_degraded_and_ready(client: FlaskClient, system: FakeSystem) -> None:
    system.degradation_reasons = ["the Ray cluster cannot be reached"]
    assert client.get("/healthz").get_json() == {"status": "ok", "reasons": []}
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()) == (
        200, {"status": "degraded", "reasons": ["the Ray cluster cannot be reached"]},
    )  # fmt: skip
    system.readiness_reasons = ["no device is ready"]
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["reasons"] == ["no device is ready", "the Ray cluster cannot be reached"]


def test_a_wrong_method_is_answered_with_the_right_ones(client: FlaskClient) -> None:
    response = client.put("/api/tasks")
    assert error_of(response)[:2] == (405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]


def test_a_large_body_is_refused_where_no_file_is_expected(client: FlaskClient, system: FakeSystem) -> None:
    response = client.patch(
        f"/api/tasks/{system.add().id}", data=b"{" + b" " * 100_000, content_type="application/json"
    )
    assert response.status_code in (400, 413)


def test_a_search_shows_where_it_found_each_task_and_counts_what_it_found(
    client: FlaskClient, system: FakeSystem
) -> None:
    spoken, named, other = system.add("talk.mp3"), system.add("fox.mp3"), system.add("other.mp3")
    system.complete(spoken.id, " Good morning.", " The <b>fox</b> is here.")
    system.complete(other.id, " Nothing.")

    answer = client.get("/api/tasks?q=fox").get_json()

    TaskListAnswer.model_validate(answer)
    assert {task["id"]: task["match"] for task in answer["tasks"]} == {
        spoken.id: {
            "field": "text",
            "snippet": [
                {"text": "The <b>", "marked": False},
                {"text": "fox", "marked": True},
                {"text": "</b> is here.", "marked": False},
            ],
            "segment": 1,
            "start": 2.0,
        },
        named.id: {
            "field": "filename",
            "snippet": [{"text": "fox", "marked": True}, {"text": ".mp3", "marked": False}],
            "segment": None,
            "start": None,
        },
    }
    assert (answer["counts"]["completed"], answer["counts"]["pending"]) == (1, 1)
    assert all("match" not in task for task in client.get("/api/tasks").get_json()["tasks"])
