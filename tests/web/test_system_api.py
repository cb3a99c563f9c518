"""History, events, log lines and timelines over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

import logs
from optimizer.monitoring.event_log import SystemEvent
from optimizer.monitoring.samples import DeviceSample, Sample
from tests.web.fake_system import FakeSystem
from tests.web.fake_tasks import EPOCH
from tests.web.requests import error_of
from web.http.answer_schemas import TimelineAnswer
from web.http.system_schemas import HistoryAnswer, LogAnswer, SystemEventsAnswer

NOW = EPOCH.timestamp()


def sample(at: float, **changes: Any) -> Sample:
    given: dict[str, Any] = {
        "throughput": 12.5,
        "running": 2.0,
        "waiting": 3.0,
        "retrying": 0.0,
        "started": 0,
        "completed": 1,
        "failed": 0,
        "mean_wait_seconds": None,
        "p95_wait_seconds": None,
        "occupancy": 0.5,
        "devices": {"cpu": DeviceSample(1000, 0, 300, 200, 10, {"base": 100})},
        "speeds": {"cpu": {"base": 6.2}},
    }
    return Sample(at=at, span_seconds=30.0, **(given | changes))


@pytest.fixture
def ring() -> Iterator[logs.RecentLines]:
    """The latest lines of this test, as `configure_logging` would keep them."""
    handler, root = logs.RecentLines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel("INFO")
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def test_history_gives_samples_and_the_changes_between_them(client: FlaskClient, system: FakeSystem) -> None:
    system.samples = [sample(NOW - 7200), sample(NOW - 60), sample(NOW)]
    system.event_log = [
        SystemEvent(1, NOW - 90, "decision", "A began.", {"task_id": "A"}),
        SystemEvent(2, NOW - 50, "tuning", "MAX_CONCURRENT_TASKS from 8 to 6.", {"before": 8, "after": 6}),
    ]
    body = client.get("/api/system/history?hours=1").get_json()
    HistoryAnswer.model_validate(body)
    assert [each["at"] for each in body["samples"]] == [NOW - 60, NOW]
    assert body["samples"][0]["devices"]["cpu"]["models"] == {"base": 100}
    assert set(body["samples"][0]) == set(HistoryAnswer.model_json_schema()["$defs"]["SampleBody"]["properties"])
    assert body["changes"] == [
        {"at": NOW - 50, "text": "MAX_CONCURRENT_TASKS from 8 to 6.", "data": {"before": 8, "after": 6}}
    ]


@pytest.mark.parametrize("query", ["hours=0", "hours=169", "hours=nan", "hours=often", "days=1"])
def test_a_history_longer_than_what_is_kept_is_refused(client: FlaskClient, query: str) -> None:
    assert client.get(f"/api/system/history?{query}").status_code == 422


def test_events_come_newest_first_and_by_page(client: FlaskClient, system: FakeSystem) -> None:
    kinds = ["decision", "memory", "decision", "device"]
    system.event_log = [SystemEvent(n, NOW + n, kind, str(n)) for n, kind in enumerate(kinds, start=1)]  # type: ignore[arg-type]
    body = client.get("/api/system/events").get_json()
    SystemEventsAnswer.model_validate(body)
    assert [event["id"] for event in body["events"]] == [4, 3, 2, 1]
    page = client.get("/api/system/events?kind=decision&limit=1").get_json()["events"]
    assert page == [{"id": 3, "at": NOW + 3, "kind": "decision", "text": "3", "data": {}}]
    older = client.get("/api/system/events?kind=decision&before=3").get_json()["events"]
    assert [event["id"] for event in older] == [1]


@pytest.mark.parametrize("query", ["kind=gossip", "limit=0", "limit=501", "before=0", "before=99999999999999999999"])
def test_bad_parameters_for_events_are_refused(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/api/system/events?{query}")
    assert error_of(answer) == (422, "invalid_option", query.partition("=")[0])


def test_log_gives_the_newest_lines_newest_last(client: FlaskClient, ring: logs.RecentLines) -> None:
    for number in range(5):
        logging.getLogger("optimizer.system").info("event=number number=%d", number)
    body = client.get("/api/system/log?limit=2").get_json()
    LogAnswer.model_validate(body)
    assert [line["message"] for line in body["lines"]] == ["event=number number=3", "event=number number=4"]
    assert (body["lines"][0]["level"], body["lines"][0]["logger"]) == ("INFO", "optimizer.system")


def test_log_lines_are_one_line_and_hold_no_traceback(client: FlaskClient, ring: logs.RecentLines) -> None:
    try:
        raise OSError("/home/somebody/secret/path")
    except OSError:
        logging.getLogger("web").exception("upload of %r failed\nERROR forged", "a.mp3")
    (line,) = client.get("/api/system/log").get_json()["lines"]
    assert line["message"] == "upload of 'a.mp3' failed\\nERROR forged (OSError)"


def test_the_number_of_recent_lines_is_bounded(ring: logs.RecentLines) -> None:
    for number in range(logs.RECENT_LINES + 10):
        logging.getLogger("x").info("%d%s", number, "x" * (2 * logs.MAX_RECENT_CHARACTERS))
    lines = logs.recent_lines(5000)
    assert len(lines) == logs.RECENT_LINES
    assert lines[0].message.startswith("10x")
    assert {len(line.message) for line in lines} == {logs.MAX_RECENT_CHARACTERS}
    assert logs.recent_lines(0) == []


def test_a_timeline_is_oldest_first_and_in_words(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    system.complete(task.id, " Hello.")
    body = client.get(f"/api/tasks/{task.id}/timeline").get_json()
    TimelineAnswer.model_validate(body)
    assert [(event["code"], event["text"]) for event in body["events"]] == [
        ("uploaded", "Uploaded, 0.0 MB."),
        ("completed", "Done after 4.0 s, 13.8 times as fast as it plays."),
    ]
    assert body["events"][0]["at"] == "2026-11-24T12:00:01.000Z"


def test_the_timeline_of_an_unknown_task_is_404(client: FlaskClient) -> None:
    answer = client.get("/api/tasks/nobody/timeline")
    assert error_of(answer) == (404, "task_not_found", None)


def test_answers_are_not_cached(client: FlaskClient) -> None:
    assert client.get("/api/system/log").headers["Cache-Control"] == "no-store"
