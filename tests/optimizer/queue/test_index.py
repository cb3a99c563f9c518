"""The index in memory and the database agree, after refused writes and whatever threads do at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from errors import ConflictError, StoreBusyError
from optimizer.queue.index import QueueIndex
from optimizer.queue.ordering import TARGET_SLOWDOWN, DueTimes
from optimizer.tasks.task import Task, TaskFilter, TaskStatus
from tests.optimizer.queue.helpers import Queue, at_once, ready_ids


def test_counts_agree_with_the_database_after_everything(queue: Queue) -> None:
    for task_id in "abcdef":
        queue.submit(task_id)
    queue.complete(queue.claim("a"))
    queue.fail(queue.claim("b"))
    queue.fail(queue.claim("c"), is_retryable=False)
    queue.manager.cancel("d")
    queue.claim("e")

    with queue.store.reading() as rows:
        assert queue.manager.counts() == rows.counts()
    assert queue.manager.page(TaskFilter()).counts == queue.manager.counts()


def test_a_refused_write_changes_neither_database_nor_index(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.submit("a")
    queue.changed.clear()

    def busy(*_: object) -> None:
        raise StoreBusyError()

    monkeypatch.setattr("optimizer.storage.database.failpoint", busy)
    with pytest.raises(StoreBusyError):
        queue.manager.claim("a", "cpu", 1)
    monkeypatch.undo()

    assert queue.changed == []
    assert ready_ids(queue) == ["a"]
    assert queue.manager.get("a").status is TaskStatus.PENDING


def test_the_index_keeps_the_later_of_two_changes_that_arrive_in_the_wrong_order(queue: Queue) -> None:
    """Thread one cancels, thread two retries; but thread two is the first to tell the index."""
    pending = queue.submit("a")
    cancelled = queue.manager.cancel("a")
    retried = queue.manager.retry("a")
    index = QueueIndex()

    with index.changing("a"):
        index.follow(pending, before=None, now=0.0, arrived=0.0, delay_end=None)
        with index.changing("a"):
            index.follow(retried, before=TaskStatus.CANCELLED, now=0.0, arrived=0.0, delay_end=None)
            index.follow(cancelled, before=TaskStatus.PENDING, now=0.0, arrived=0.0, delay_end=None)

    assert index.positions(["a"], now=0.0) == {"a": 1}
    assert index.counts()[TaskStatus.PENDING] == 1
    assert index.counts()[TaskStatus.CANCELLED] == 0


def test_a_view_says_how_far_a_running_task_would_be_set_back_if_it_waited_too(queue: Queue) -> None:
    index = QueueIndex(DueTimes(lambda model, audio_seconds: audio_seconds))
    before: dict[str, TaskStatus] = {}

    def follow(task: Task) -> None:
        index.follow(task, before=before.get(task.id), now=0.0, arrived=0.0, delay_end=None)
        before[task.id] = task.status

    for task_id, owner, seconds in (
        ("done", "a", 30.0),
        ("running", "a", 30.0),
        ("others", "b", 10.0),
        ("t", "b", 1.0),
    ):
        follow(queue.submit(task_id, owner=owner, audio_seconds=seconds))
    follow(queue.claim("done"))
    follow(queue.claim("others"))
    running = queue.claim("running")
    follow(running)

    asked = index.ready(now=0.0).requeued_penalty("a", 30.0)
    follow(running.with_(status=TaskStatus.PENDING, version=running.version + 1))
    penalties = {group.key.owner: group.penalty for group in index.ready(now=0.0).groups}
    assert asked == penalties["a"] - penalties["b"] == TARGET_SLOWDOWN * 20.0
    assert index.ready(now=0.0).requeued_penalty("a", 10.0) == TARGET_SLOWDOWN * 10.0


def test_after_many_racing_changes_index_and_database_agree(queue: Queue) -> None:
    queue.submit("a")

    def turn(*methods: Callable[[str], object]) -> Callable[[], object]:
        def run() -> None:
            for _ in range(10):
                for method in methods:
                    with contextlib.suppress(ConflictError):
                        method("a")

        return run

    manager = queue.manager
    results = at_once(*[turn(manager.cancel, manager.retry)] * 4)

    assert results == [None] * 4
    is_waiting = manager.get("a").status is TaskStatus.PENDING
    assert (manager.position("a") is not None) == is_waiting
    with queue.store.reading() as rows:
        assert manager.counts() == rows.counts()
