"""What people call their tasks, and what they ask the list for."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient

from errors import InvalidOptionError
from optimizer.tasks.task import TaskSort, TaskStatus
from tests.web.fake_system import FakeSystem
from tests.web.requests import error_of
from web.http.list_query import TaskListQuery


def test_a_task_is_renamed_and_its_downloads_are_called_so(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add("rec01.mp3")
    system.complete(task.id, "Hello.")
    body = {"title": " Board/Council, 12.30 ", "note": "Ask\nagain.", "tags": ["radio", "Radio", "draft"]}
    shown = client.patch(f"/api/tasks/{task.id}", json=body).get_json()["task"]
    assert (shown["title"], shown["note"], shown["tags"]) == ("Board/Council, 12.30", "Ask\nagain.", ["radio", "draft"])
    assert shown["filename"] == "rec01.mp3"

    srt = client.get(f"/api/tasks/{task.id}/transcript?format=srt&download=true")
    assert 'filename="Board-Council, 12.30.srt"' in srt.headers["Content-Disposition"]
    with client.get(f"/api/tasks/{task.id}/media?download=true") as media:
        assert 'filename="Board-Council, 12.30.mp3"' in media.headers["Content-Disposition"]
    archive = zipfile.ZipFile(BytesIO(client.get("/api/transcripts.zip?format=txt").data))
    assert archive.namelist() == ["Board-Council, 12.30.txt"]
    assert client.get(f"/api/tasks/{task.id}/transcript?format=md").data.startswith(b"# Board/Council, 12.30\n")

    for title in ("", None):
        assert client.patch(f"/api/tasks/{task.id}", json={"title": title}).get_json()["task"]["title"] is None
    assert client.get("/api/tasks?tag=draft").get_json()["tasks"][0]["id"] == task.id


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": "x" * 201}, "title"),
        ({"title": 5}, "title"),
        ({"note": "x" * 10_001}, "note"),
        ({"tags": "radio"}, "tags"),
        ({"tags": ["x" * 51]}, "tags"),
        ({"tags": [5]}, "tags.0"),
        ({"title": "x", "priority": None}, "priority"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(
    client: FlaskClient, system: FakeSystem, body: dict[str, Any], field: str
) -> None:
    task = system.add()
    assert error_of(client.patch(f"/api/tasks/{task.id}", json=body)) == (422, "invalid_option", field)
    assert system.task(task.id).task == task


def test_a_list_is_asked_for_by_date_length_and_order() -> None:
    query = TaskListQuery.model_validate(
        {"from": "2026-11-24", "to": "2026-11-24", "min_seconds": "60", "sort": "length", "order": "asc"}
    )
    wanted = query.wanted()
    assert wanted.created_from == datetime(2026, 11, 24, tzinfo=UTC)
    assert wanted.created_before == datetime(2026, 11, 25, tzinfo=UTC)
    assert (wanted.min_seconds, wanted.max_seconds, query.task_sort()) == (60.0, None, TaskSort.LENGTH)
    later = TaskListQuery.model_validate({"to": "2026-11-24T10:00:00+01:00", "status": "failed"})
    assert later.wanted().created_before == datetime(2026, 11, 24, 9, tzinfo=UTC)
    assert (later.wanted().status, later.task_sort()) == (TaskStatus.FAILED, TaskSort.CREATED)
    assert TaskListQuery().task_sort() is TaskSort.ARRIVAL


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "0001-01-01T00:00:00+23:00", "1764"])
@pytest.mark.parametrize("field", ["from", "to"])
def test_what_is_no_date_is_refused(field: str, text: str) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        TaskListQuery.model_validate({field: text}).wanted()
    assert refused.value.field == field


def test_the_last_day_of_all_has_no_day_after_it() -> None:
    with pytest.raises(InvalidOptionError):
        TaskListQuery.model_validate({"to": "9999-12-31"}).wanted()


@pytest.mark.parametrize(
    ("query", "field"),
    [("order=up", "order"), ("min_seconds=-1", "min_seconds"), ("max_seconds=nan", "max_seconds"), ("from=x", "from")],
)
def test_an_error_names_what_of_the_list_is_wrong(client: FlaskClient, query: str, field: str) -> None:
    assert error_of(client.get(f"/api/tasks?{query}")) == (422, "invalid_option", field)


def test_counts_follow_the_search(client: FlaskClient, system: FakeSystem) -> None:
    system.complete(system.add("harbour.mp3").id)
    system.add("harbour two.mp3")
    system.add("other.mp3")
    found = client.get("/api/tasks?q=harbour&status=completed").get_json()
    assert len(found["tasks"]) == 1
    assert (found["counts"]["completed"], found["counts"]["pending"]) == (1, 1)


@pytest.mark.parametrize("query", ["owner=alice", "sort=owner"])
def test_owners_are_for_those_who_are_told_them(client: FlaskClient, query: str) -> None:
    assert error_of(client.get(f"/api/tasks?{query}")) == (403, "forbidden", None)


def test_the_line_comes_from_its_front(client: FlaskClient, system: FakeSystem) -> None:
    first, second = system.add(), system.add()
    system.complete(system.add().id)
    found = client.get("/api/tasks?sort=line&limit=1").get_json()
    assert [task["id"] for task in found["tasks"]] == [first.id]
    found = client.get(f"/api/tasks?sort=line&cursor={found['next_cursor']}").get_json()
    assert [task["id"] for task in found["tasks"]] == [second.id]


def test_a_task_is_moved_by_itself(client: FlaskClient, system: FakeSystem) -> None:
    first, second = system.add(), system.add()
    address = f"/api/tasks/{second.id}"
    assert client.patch(address, json={"before": first.id}).get_json()["task"]["id"] == second.id
    assert system.task(second.id).task.arranged == 1.0
    assert client.patch(address, json={"after": first.id}).status_code == 200
    assert error_of(client.patch(address, json={"before": "gone"})) == (404, "task_not_found", None)
    for body in ({"before": first.id, "title": "x"}, {"before": first.id, "after": first.id}):
        assert error_of(client.patch(address, json=body)) == (422, "invalid_option", "before")
    system.complete(first.id)
    assert error_of(client.patch(address, json={"after": first.id})) == (409, "conflict", None)
