"""Waiting tasks with and without samples on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.tasks.task import Priority, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, new_task, running_queue

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

MINUTE_BYTES = 60 * 32_000


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with running_queue(tmp_path, FakeClock()) as queue:
        yield queue


def submit(queue: Queue, task_id: str, *, has_samples: bool = True, **changes: object) -> None:
    queue.manager.submit(new_task(task_id, audio_seconds=60.0, **changes), has_samples=has_samples)


def ready(queue: Queue) -> list[str]:
    return [task.id for task in queue.manager.waiting().in_order()]


def upcoming(queue: Queue) -> list[tuple[str, bool]]:
    return [(task.id, has_samples) for task, has_samples in queue.manager.samples.upcoming(10)]


def test_a_task_without_samples_keeps_its_place_and_may_not_run(queue: Queue) -> None:
    submit(queue, "a", has_samples=False)
    submit(queue, "b")
    assert ready(queue) == ["b"]
    assert upcoming(queue) == [("a", False), ("b", True)]
    assert [queue.manager.position(name) for name in "ab"] == [1, 2]
    assert queue.manager.unprepared() == []


def test_it_may_run_once_they_are_made_and_everybody_is_told(queue: Queue) -> None:
    submit(queue, "a", has_samples=False)
    queue.changed.clear()
    queue.manager.samples.mark_made("a")
    assert (ready(queue), queue.changed) == (["a"], ["a"])
    assert not queue.manager.samples.any_missing()


def test_bytes_are_counted_for_waiting_tasks_with_samples_by_owner(queue: Queue) -> None:
    submit(queue, "a", owner="x")
    submit(queue, "b", owner="y")
    submit(queue, "c", owner="y", has_samples=False)
    kept_bytes = queue.manager.samples.kept_bytes
    assert kept_bytes("y") == (2 * MINUTE_BYTES, MINUTE_BYTES)

    task = queue.claim("a")  # a running task's samples are not for the queue to remove
    assert kept_bytes("x") == (MINUTE_BYTES, 0)
    queue.manager.requeue(task.id, task.lease_token or "")
    assert kept_bytes("x") == (2 * MINUTE_BYTES, MINUTE_BYTES)

    queue.manager.delete("b")
    queue.manager.cancel("a")
    queue.manager.delete("c")
    assert kept_bytes("x") == (0, 0)
    assert not queue.manager.samples.any_missing()


def test_samples_are_dropped_from_the_end_of_the_queue(queue: Queue) -> None:
    submit(queue, "a", priority=Priority.LOW)
    submit(queue, "b")
    submit(queue, "c", priority=Priority.HIGH)
    assert [task.id for task in queue.manager.samples.last_ones(but={"c"})] == ["a", "b"]


def test_the_samples_of_a_running_task_are_never_dropped(queue: Queue) -> None:
    submit(queue, "a")
    queue.claim("a")
    removed: list[str] = []
    assert not queue.manager.samples.try_drop("a", lambda: removed.append("a"))
    assert removed == []


def test_a_task_whose_samples_were_dropped_waits_for_new_ones(queue: Queue) -> None:
    submit(queue, "a")
    removed: list[str] = []
    assert queue.manager.samples.try_drop("a", lambda: removed.append("a"))
    assert (removed, ready(queue), upcoming(queue)) == (["a"], [], [("a", False)])
    assert queue.manager.get("a").status is TaskStatus.PENDING


def test_a_start_finds_out_whose_samples_are_there(tmp_path: Path) -> None:
    clock = FakeClock()
    with running_queue(tmp_path, clock) as before:
        submit(before, "a")
        submit(before, "b")
        before.submit("c", audio_seconds=None)
    with running_queue(tmp_path, clock) as queue:
        queue.manager.recover({"a"})
        assert (ready(queue), upcoming(queue)) == (["a"], [("a", True), ("b", False)])
        assert queue.manager.unprepared() == ["c"]
        assert queue.manager.samples.kept_bytes("")[0] == MINUTE_BYTES


def test_nothing_is_remembered_of_a_task_that_could_not_be_stored(queue: Queue, tmp_path: Path) -> None:
    submit(queue, "a", idempotency_key="k")
    submit(queue, "b", idempotency_key="k", has_samples=False)
    assert not queue.manager.samples.any_missing()
    queue.manager.samples.mark_missing("unknown")
    assert not queue.manager.samples.any_missing()
