"""What people ask for: that a task is cancelled, tried again, put elsewhere in the order, or deleted."""

from __future__ import annotations

import pytest

from errors import ConflictError, TaskNotFoundError
from optimizer.tasks.task import Priority, TaskStatus
from tests.optimizer.queue.helpers import Queue, at_once, ready_ids, window

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


def test_every_task_that_has_not_ended_can_be_cancelled_for_good(queue: Queue) -> None:
    for task_id in "abc":
        queue.submit(task_id)
    queue.fail(queue.claim("b"))
    queue.claim("c")

    for task_id in "abc":
        cancelled = queue.manager.cancel(task_id)
        assert (cancelled.status, cancelled.lease_token) == (TaskStatus.CANCELLED, None)
        assert queue.manager.cancel(task_id) == cancelled
    assert queue.manager.next_delay_end_in() is None
    assert ready_ids(queue) == []


def test_what_has_ended_cannot_be_cancelled(queue: Queue) -> None:
    queue.submit("a")
    queue.complete(queue.claim("a"))

    with pytest.raises(ConflictError, match="already completed"):
        queue.manager.cancel("a")


def test_of_cancel_and_complete_the_first_commit_wins(queue: Queue) -> None:
    """The other one is refused, whichever it is, and the task is never both."""
    for number in range(10):
        queue.submit(f"t{number}")
        task = queue.claim(f"t{number}")

        done, cancelled = at_once(lambda t=task: queue.complete(t), lambda t=task: queue.manager.cancel(t.id))  # type: ignore[misc]

        status = queue.manager.get(task.id).status
        if done is None:
            assert status is TaskStatus.CANCELLED
        else:
            assert status is TaskStatus.COMPLETED
            assert isinstance(cancelled, ConflictError)


def test_a_retry_that_a_person_asks_for_starts_over_at_the_back_and_keeps_the_errors(queue: Queue) -> None:
    queue.submit("a")
    task = queue.claim("a")
    queue.manager.save_window("a", task.lease_token or "", window(0))
    queue.fail(task, is_retryable=False)
    queue.submit("b")

    again = queue.manager.retry("a")

    assert (again.status, again.attempt, again.windows_done, again.progress) == (TaskStatus.PENDING, 0, 0, 0.0)
    assert again.error is None
    assert len(again.errors) == 1
    assert again.finished_at is None
    assert queue.manager.windows("a") == []
    assert queue.manager.unprepared() == ["a"]
    queue.manager.mark_prepared("a", 60.0)
    assert ready_ids(queue) == ["b", "a"]


def test_only_what_failed_or_was_cancelled_can_be_retried(queue: Queue) -> None:
    queue.submit("a")
    with pytest.raises(ConflictError):
        queue.manager.retry("a")


def test_priority_changes_the_place_of_a_waiting_task_only(queue: Queue) -> None:
    for task_id in "abc":
        queue.submit(task_id)

    queue.manager.set_priority("c", Priority.HIGH)
    assert ready_ids(queue) == ["c", "a", "b"]

    queue.claim("c")
    with pytest.raises(ConflictError):
        queue.manager.set_priority("c", Priority.LOW)


def test_delete_cancels_a_running_task_and_forgets_it(queue: Queue) -> None:
    queue.submit("a")
    queue.claim("a")
    queue.changed.clear()

    queue.manager.delete("a")

    assert queue.changed == ["a", "a"]
    assert queue.manager.counts() == dict.fromkeys(TaskStatus, 0)
    with pytest.raises(TaskNotFoundError):
        queue.manager.get("a")
    with pytest.raises(TaskNotFoundError):
        queue.manager.delete("a")
