"""What becomes of a task whose attempt failed or was interrupted: delays, attempts left, poison."""

from __future__ import annotations

import random

import pytest

from optimizer.queue.backoff import RetryDelay
from optimizer.tasks.task import ErrorInfo, TaskStatus
from tests.optimizer.queue.helpers import OOM, RETRY_DELAY_S, Queue, ready_ids, window

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


def test_a_failed_attempt_goes_to_the_back_with_a_growing_delay(queue: Queue) -> None:
    queue.submit("a")
    queue.submit("b")
    retrying = queue.fail(queue.claim("a"))

    assert retrying is not None
    assert retrying.status is TaskStatus.RETRYING
    assert retrying.error == ErrorInfo(OOM.code, OOM.message, queue.clock.now(), attempt=1)
    assert [queue.manager.position(task_id) for task_id in "ab"] == [2, 1]
    assert queue.manager.next_delay_end_in() == RETRY_DELAY_S
    assert queue.manager.claim("a", "cpu", 1) is None

    queue.clock.advance(RETRY_DELAY_S)
    assert queue.manager.end_delays() == 1
    assert queue.manager.next_delay_end_in() is None
    assert ready_ids(queue) == ["b", "a"]

    queue.fail(queue.claim("a"))
    assert queue.manager.next_delay_end_in() == 2 * RETRY_DELAY_S


def test_a_task_fails_when_its_attempts_are_used_up(queue: Queue) -> None:
    queue.submit("a", max_attempts=2)
    queue.fail(queue.claim("a"))
    queue.clock.advance(RETRY_DELAY_S)
    queue.manager.end_delays()

    failed = queue.fail(queue.claim("a"))

    assert failed is not None
    assert (failed.status, failed.attempt) == (TaskStatus.FAILED, 2)
    assert [error.attempt for error in failed.errors] == [1, 2]
    assert failed.finished_at == queue.clock.now()


def test_an_error_that_no_retry_can_help_fails_at_once(queue: Queue) -> None:
    queue.submit("a")

    failed = queue.fail(queue.claim("a"), is_retryable=False)

    assert failed is not None
    assert failed.status is TaskStatus.FAILED


def test_windows_stay_over_a_retry(queue: Queue) -> None:
    queue.submit("a")
    task = queue.claim("a")
    queue.manager.save_window("a", task.lease_token or "", window(0))
    queue.fail(task)

    assert queue.manager.windows("a") == [window(0)]
    assert queue.manager.get("a").windows_done == 1


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, 10 * 365 * 86400.0])
def test_a_delay_is_not_moved_by_a_jump_of_the_wall_clock(queue: Queue, jump_s: float) -> None:
    queue.submit("a")
    queue.fail(queue.claim("a"))
    queue.clock.jump(jump_s)

    assert queue.manager.next_delay_end_in() == RETRY_DELAY_S
    assert queue.manager.end_delays() == 0


def test_a_requeued_task_keeps_its_place_and_its_attempts(queue: Queue) -> None:
    queue.submit("a", max_attempts=1)
    queue.submit("b")
    task = queue.claim("a")

    back = queue.manager.requeue("a", task.lease_token or "")

    assert back is not None
    assert (back.status, back.interrupts, back.has_attempts_left) == (TaskStatus.PENDING, 0, True)
    assert ready_ids(queue) == ["a", "b"]


def test_a_retry_delay_grows_stays_bounded_and_is_never_negative() -> None:
    without_jitter = RetryDelay(first_s=2, max_s=60, random=lambda: 0.0)
    assert [without_jitter(attempt) for attempt in (1, 2, 3, 10, 10_000)] == [2, 4, 8, 60, 60]

    seeded = random.Random(1)
    delays = [RetryDelay(first_s=2, max_s=60, random=seeded.random)(attempt) for attempt in range(-2, 200)]
    assert all(1.5 < delay <= 60 for delay in delays)
