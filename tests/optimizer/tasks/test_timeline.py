"""A task's timeline: written together with each change, readable as sentences, gone with the task."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from errors import StoreBusyError, TaskNotFoundError
from optimizer.common import failpoints
from optimizer.common.text import duration
from optimizer.storage import repository
from optimizer.storage.schema import task_events
from optimizer.tasks import timeline
from optimizer.tasks.task import ErrorInfo, Priority, Task, TaskStatus
from optimizer.tasks.timeline import TaskEvent
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import OOM, Queue, running_queue, window

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def busy() -> None:
    raise StoreBusyError()


def events(queue: Queue, task_id: str) -> list[tuple[str, dict[str, Any]]]:
    return [(event.code, dict(event.data)) for event in queue.manager.timeline(task_id)]


def codes(queue: Queue, task_id: str) -> list[str]:
    return [code for code, _ in events(queue, task_id)]


def test_a_whole_life_is_in_the_timeline_with_its_figures(queue: Queue, clock: FakeClock) -> None:
    queue.submit("A", audio_seconds=None, size_bytes=2_500_000)
    clock.advance(3)
    queue.manager.mark_prepared("A", 60.0)
    queue.manager.set_priority("A", Priority.HIGH)
    clock.advance(9)
    task = queue.manager.claim("A", "cpu", 1_000, {"reason": "shortest", "passed": 2})
    assert task is not None
    clock.advance(5)
    queue.complete(task)
    assert events(queue, "A") == [
        ("uploaded", {"size_bytes": 2_500_000}),
        ("decoded", {"audio_seconds": 60.0}),
        ("prioritised", {"priority": "high"}),
        (
            "started",
            {
                "device": "cpu",
                "model": "base",
                "attempt": 1,
                "waited_seconds": 12.0,
                "reason": "shortest",
                "passed": 2,
            },
        ),
        ("completed", {"seconds": 5.0, "speed": 12.0}),
    ]
    assert [event.text for event in queue.manager.timeline("A")] == [
        "Uploaded, 2.5 MB.",
        "Its sound was read: 1 min 0 s.",
        "Its priority was set to high.",
        "Started on cpu with base, after 12 s of waiting: it had the least work left.",
        "Done after 5.0 s, 12.0 times as fast as it plays.",
    ]


def test_a_task_that_gave_way_goes_on_and_its_speed_is_that_of_the_rest(queue: Queue, clock: FakeClock) -> None:
    queue.submit("A")
    first = queue.claim("A")
    queue.manager.save_window("A", first.lease_token or "", window(0, of=4))
    queue.manager.requeue("A", first.lease_token or "", preempted_by="B")
    second = queue.claim("A")
    clock.advance(9)
    queue.complete(second)
    assert events(queue, "A")[3:] == [
        ("gave_way", {"to_task": "B", "progress": 0.25}),
        ("started", {"device": "cpu", "model": "base", "attempt": 2, "progress": 0.25}),
        ("completed", {"seconds": 9.0, "speed": 5.0}),
    ]


def test_failures_retries_and_what_people_asked_for_are_in_the_timeline(queue: Queue, clock: FakeClock) -> None:
    queue.submit("A", max_attempts=2)
    queue.fail(queue.claim("A"))
    clock.advance(10)
    queue.manager.end_delays()
    queue.fail(queue.claim("A"))
    queue.manager.retry("A")
    queue.manager.cancel("A")
    queue.manager.cancel("A")  # harmless, and told once
    error = {"code": "out_of_memory", "message": "The device ran out of memory."}
    assert events(queue, "A")[2:] == [
        ("started", {"device": "cpu", "model": "base", "attempt": 1, "waited_seconds": 0.0}),
        ("retrying", {**error, "delay_seconds": 10.0}),
        ("started", {"device": "cpu", "model": "base", "attempt": 2}),
        ("failed", error),
        ("restarted", {}),
        ("cancelled", {}),
    ]


def test_interrupts_are_in_the_timeline_after_a_restart_and_the_third_one_is_a_failure(
    tmp_path: Path, clock: FakeClock
) -> None:
    for _ in range(3):
        with running_queue(tmp_path, clock) as queue:
            if not queue.manager.counts()[TaskStatus.PENDING]:
                queue.submit("A")
            queue.claim("A")
    with running_queue(tmp_path, clock) as queue:
        ends = [event for event in events(queue, "A") if event[0] in ("interrupted", "failed")]
        assert [(code, data["code"]) for code, data in ends] == [
            ("interrupted", "interrupted"), ("interrupted", "interrupted"), ("failed", "poison"),
        ]  # fmt: skip


def test_a_file_that_cannot_be_used_is_a_failure_in_the_timeline(queue: Queue) -> None:
    queue.submit("A", audio_seconds=None)
    queue.manager.fail_preparation("A", ErrorInfo("no_audio", "There is no sound in it"))
    assert events(queue, "A")[-1] == ("failed", {"code": "no_audio", "message": "There is no sound in it"})
    assert queue.manager.timeline("A")[-1].text == "Failed: There is no sound in it."


def test_what_is_not_committed_is_not_in_the_timeline(queue: Queue) -> None:
    queue.submit("A")
    failpoints.arm({"store.before_commit": busy})
    with pytest.raises(StoreBusyError):
        queue.claim("A")
    failpoints.disarm()
    assert codes(queue, "A") == ["uploaded", "decoded"]


def test_a_late_report_is_not_in_the_timeline(queue: Queue) -> None:
    queue.submit("A")
    old = queue.claim("A")
    queue.manager.requeue("A", old.lease_token or "")
    assert queue.fail(old) is None
    assert codes(queue, "A") == ["uploaded", "decoded", "started", "interrupted"]


def test_windows_are_not_in_the_timeline(queue: Queue) -> None:
    queue.submit("A")
    task = queue.claim("A")
    for index in range(4):
        queue.manager.save_window("A", task.lease_token or "", window(index))
    assert codes(queue, "A") == ["uploaded", "decoded", "started"]


def test_a_deleted_tasks_timeline_is_gone(queue: Queue) -> None:
    queue.submit("A")
    queue.manager.delete("A")
    with queue.store.database.reading() as connection:
        assert connection.execute(task_events.select()).all() == []
    with pytest.raises(TaskNotFoundError):
        queue.manager.timeline("A")
    queue.manager.add_event("A", timeline.MEMORY, step="waits")  # nothing, and no error


def test_an_event_without_a_change_of_state_is_added(queue: Queue) -> None:
    queue.submit("A")
    queue.manager.add_event("A", timeline.MEMORY, step="batch_shrunk", slots=4)
    assert events(queue, "A")[-1] == ("memory", {"step": "batch_shrunk", "slots": 4})


def test_a_task_without_events_gets_a_timeline_from_its_row(queue: Queue, clock: FakeClock) -> None:
    queue.submit("done", audio_seconds=60.0)
    queue.submit("failed", max_attempts=1)
    queue.submit("waits")
    clock.advance(4)
    done, failed = queue.claim("done"), queue.claim("failed")
    clock.advance(6)
    queue.complete(done)
    queue.fail(failed, is_retryable=False)
    with queue.store.database.writing() as connection:
        connection.execute(task_events.delete())
    assert events(queue, "done") == [
        ("uploaded", {"size_bytes": 1000}),
        ("started", {"device": "cpu", "model": "base", "attempt": 1, "waited_seconds": 4.0}),
        ("completed", {"seconds": 6.0, "speed": 10.0}),
    ]
    assert events(queue, "failed")[-1] == ("failed", {"code": OOM.code, "message": OOM.message})
    assert codes(queue, "waits") == ["uploaded"]


def test_of_a_very_long_timeline_the_latest_part_is_read(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "MAX_EVENTS", 3)
    queue.submit("A")
    for slots in range(5):
        queue.manager.add_event("A", timeline.MEMORY, step="batch_shrunk", slots=slots)
    assert [data["slots"] for _, data in events(queue, "A")] == [2, 3, 4]


def test_a_damaged_entry_costs_no_other_entry(queue: Queue) -> None:
    queue.submit("A")
    with queue.store.database.writing() as connection:
        connection.execute(task_events.update().where(task_events.c.code == "decoded").values(data="{"))
    assert codes(queue, "A") == ["uploaded"]


@pytest.mark.parametrize(
    ("code", "data", "text"),
    [
        (
            "started",
            {"device": "cuda:0", "model": "base", "reason": "of its own"},
            "Started on cuda:0 with base: of its own.",
        ),
        (
            "started",
            {"device": "cpu", "model": "base", "attempt": 2, "progress": 0.4},
            "Started on cpu with base, attempt 2, from 40% on.",
        ),
        (
            "gave_way",
            {"progress": 0.5},
            "Stepped aside at 50% for a task that is shorter or more urgent; nothing is lost.",
        ),
        ("memory", {"step": "model_evicted"}, "Memory ran out, so a model that was idle left it."),
        ("interrupted", {"code": "given_back"}, "Stopped on the way; it continues after its last finished window."),
        (
            "interrupted",
            {"code": "worker_died"},
            "Interrupted (worker_died); it continues after its last finished window.",
        ),
        (
            "retrying",
            {"message": "It broke.", "delay_seconds": 75},
            "The attempt failed: It broke. Next try in 1 min 15 s.",
        ),
        ("completed", {}, "Done."),
        ("restarted", {}, "Started over by hand."),
        ("started", {}, "Started."),  # its figures are missing
        ("moved_house", {}, "Moved house."),  # of a later version
    ],
)  # fmt: skip
def test_every_event_reads_as_a_sentence(code: str, data: dict[str, Any], text: str) -> None:
    assert TaskEvent(NOW, code, data).text == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (12.4, "12 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_quarantined_task_is_a_failure_in_the_timeline(queue: Queue, tmp_path: Path, clock: FakeClock) -> None:
    task: Task = queue.submit("A")
    with queue.store.database.writing() as connection:
        connection.exec_driver_sql("UPDATE tasks SET options = '{' WHERE id = 'A'")
    assert queue.manager.claim("A", "cpu", 1) is None
    assert events(queue, task.id)[-1][1]["code"] == "bad_record"
