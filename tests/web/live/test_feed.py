"""The live feed: real WebSockets, the feed's own thread, and a system that the test controls."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import websocket
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from optimizer.tasks.events import TaskChanged
from tests.properties import budget
from tests.web.fake_system import FakeSystem
from tests.web.fake_tasks import segment
from tests.web.live_client import LiveClient, wait_until_closed
from web.application import Application, live_feed_of
from web.live.broadcaster import MAX_WATCHED
from web.live.clients import MAX_QUEUED_PACKETS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "from", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture
def listener(live_port: int) -> Iterator[LiveClient]:
    with LiveClient(live_port) as connected:
        yield connected


def test_every_client_hears_of_a_task(live_port: int, system: FakeSystem) -> None:
    with LiveClient(live_port) as first, LiveClient(live_port) as second:
        task = system.add("interview.mp3")
        assert first.next("task")["id"] == second.next("task")["id"] == task.id


def test_task_event_is_the_apis_task(listener: LiveClient, client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    assert listener.next("task") == client.get(f"/api/tasks/{task.id}").get_json()["task"]


def test_progress_reaches_every_client_and_text_only_those_who_watch(live_port: int, system: FakeSystem) -> None:
    task = system.add()
    with LiveClient(live_port) as watcher, LiveClient(live_port) as other:
        assert watcher.ask("watch", {"id": task.id, "from": 0}) == {"ok": True}
        assert watcher.next("segments")["segments"] == []  # nothing was missed
        system.finish_window(task.id, " Hello")
        text = watcher.next("segments")
        assert (text["id"], text["seq"], text["from"], text["segments"][0]["text"]) == (task.id, 1, 0, " Hello")
        expected = {
            "id": task.id, "seq": 1, "progress": 0.5, "audio_done_seconds": 30.0, "speed": 12.5, "eta_seconds": 3.1
        }  # fmt: skip
        assert watcher.next("progress") == expected
        assert other.next("progress") == expected
        assert "segments" not in other.heard_so_far


def test_a_client_that_was_away_gets_what_it_missed(listener: LiveClient, system: FakeSystem) -> None:
    task = system.add()
    system.finish_window(task.id, " one", " two")
    system.finish_window(task.id, " three")
    listener.emit("watch", {"id": task.id, "from": 1})
    missed = listener.next("segments")
    assert (missed["seq"], missed["from"]) == (2, 1)
    assert [s["text"] for s in missed["segments"]] == [" two", " three"]


def test_after_unwatch_there_is_no_more_text(listener: LiveClient, system: FakeSystem) -> None:
    task = system.add()
    listener.ask("watch", {"id": task.id})
    listener.next("segments")
    listener.ask("unwatch", {"id": task.id})
    listener.ask("watch", {"id": system.add().id})  # answered after the unwatch has been obeyed
    listener.next("segments")
    system.finish_window(task.id, " secret")
    listener.next("progress")
    assert listener.heard_so_far.count("segments") == 2


def test_clients_hear_of_a_deleted_task(listener: LiveClient, system: FakeSystem) -> None:
    task = system.add()
    listener.next("task")
    system.delete(task.id)
    assert listener.next("deleted") == {"id": task.id}


def test_system_event_is_the_apis_system(listener: LiveClient, client: FlaskClient, system: FakeSystem) -> None:
    system.set_limits(max_batch_size=2)
    assert listener.next("system") == client.get("/api/system").get_json()


def test_a_change_of_a_task_that_no_longer_exists_is_ignored(listener: LiveClient, system: FakeSystem) -> None:
    system.tell(TaskChanged("gone"))
    task = system.add()
    assert listener.next("task")["id"] == task.id


def test_fault_in_one_step_does_not_end_the_feed(
    listener: LiveClient, system: FakeSystem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(system, "status", lambda: 1 / 0)
    task = system.add()
    assert listener.next("task")["id"] == task.id
    system.finish_window(task.id, " x")
    listener.next("progress")
    assert "event=live_step_failed" in caplog.text


def test_a_number_that_is_not_finite_reaches_the_client_as_null(listener: LiveClient, system: FakeSystem) -> None:
    task = system.add()
    listener.ask("watch", {"id": task.id})
    listener.next("segments")
    odd = replace(segment(0, " x"), avg_logprob=math.nan)
    system.tell(replace(system.finish_window(task.id, " x"), segments=(odd,)))
    listener.next("segments")
    assert listener.next("segments")["segments"][0]["avg_logprob"] is None


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ([], None),
        (["x"], None),
        ([{"id": "a"}, {"id": "b"}], None),
        ([{}], "id"),
        ([{"id": 7}], "id"),
        ([{"id": "x" * 65}], "id"),
        ([{"id": "\ud800"}], "id"),
        ([{"id": "a", "from": -1}], "from"),
        ([{"id": "a", "from": True}], "from"),
        ([{"id": "a", "from": 1.5}], "from"),
    ],
)
def test_bad_payload_is_answered_and_ignored(listener: LiveClient, payload: list[object], field: str | None) -> None:
    assert listener.ask("watch", *payload)["error"]["code"] == "invalid_option"
    assert listener.ask("watch", *payload)["error"]["field"] == field


def test_unknown_task_cannot_be_watched(listener: LiveClient) -> None:
    assert listener.ask("watch", {"id": "nothing"})["error"]["code"] == "task_not_found"


def test_rooms_are_named_by_the_server(listener: LiveClient, system: FakeSystem) -> None:
    """With an id like another room's name, or like another client's, a client joins nothing."""
    for name in ("task:x", "", "/", "live"):
        assert "error" in listener.ask("watch", {"id": name})


def test_a_client_watches_a_limited_number(listener: LiveClient, system: FakeSystem, app: Application) -> None:
    ids = [system.add().id for _ in range(MAX_WATCHED + 3)]
    for task_id in ids:
        assert listener.ask("watch", {"id": task_id}) == {"ok": True}
    assert [listener.next("segments")["id"] for _ in range(MAX_WATCHED)] == ids[:MAX_WATCHED]
    system.finish_window(ids[-1], " x")
    listener.next("progress")
    assert listener.heard_so_far.count("segments") == MAX_WATCHED


def test_a_client_at_the_limit_can_ask_again_for_what_it_watches(listener: LiveClient, system: FakeSystem) -> None:
    ids = [system.add().id for _ in range(MAX_WATCHED)]
    for task_id in ids:
        listener.ask("watch", {"id": task_id})
        listener.next("segments")
    listener.ask("watch", {"id": ids[0], "from": 7})
    again = listener.next("segments")
    assert (again["id"], again["from"]) == (ids[0], 7)


@budget(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=st.sampled_from(["watch", "unwatch", "task", "system", "x"]), payload=st.lists(JSON, max_size=3))
def test_any_payload_leaves_the_feed_working(
    listener: LiveClient, system: FakeSystem, event: str, payload: list[object]
) -> None:
    listener.emit(event, *payload)
    assert "error" in listener.ask("watch", {"id": "nothing"})


def test_client_that_does_not_read_is_dropped(
    live_port: int, system: FakeSystem, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue does not grow without limit, and the other clients hear everything."""
    with LiveClient(live_port) as stuck:
        (session,) = live_feed_of(app).socketio.server.eio.sockets.values()
        monkeypatch.setattr(session.queue, "qsize", lambda: MAX_QUEUED_PACKETS + 1)
        with LiveClient(live_port) as other:
            task = system.add()
            stuck.wait_until_closed()
            assert other.next("task")["id"] == task.id


def test_a_session_that_never_connects_is_dropped(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("web.live.clients.CONNECT_DEADLINE_S", -1)
    monkeypatch.setattr("web.live.clients.SWEEP_INTERVAL_S", 0.05)
    monkeypatch.setattr("web.live.broadcaster.IDLE_ROUND_S", 0.05)
    live_port = request.getfixturevalue("live_port")  # not earlier: the feed reads the interval when it starts
    silent = websocket.create_connection(
        f"ws://127.0.0.1:{live_port}/socket.io/?EIO=4&transport=websocket", timeout=LiveClient.LIMIT_S
    )
    silent.recv()
    wait_until_closed(silent)
    silent.shutdown()


def test_foreign_page_cannot_open_a_socket(live_port: int) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        LiveClient(live_port, Origin="http://evil.example")
