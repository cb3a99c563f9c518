"""An attempt at a task: who gets the claim, what its reports change, and when they no longer count."""

from __future__ import annotations

from functools import partial

import pytest

from optimizer.tasks.task import TaskOptions, TaskStatus
from tests.optimizer.queue.helpers import OOM, THREADS, Queue, at_once, ready_ids, window

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


def test_a_claim_begins_an_attempt_under_a_new_token(queue: Queue) -> None:
    queue.submit("a")

    task = queue.claim("a", "cuda:0")

    assert (task.status, task.attempt, task.device) == (TaskStatus.PROCESSING, 1, "cuda:0")
    assert task.lease_owner == queue.boot_id
    assert len(task.lease_token or "") == 32
    assert ready_ids(queue) == []
    assert queue.manager.position("a") is None


def test_of_eight_threads_that_claim_a_task_one_gets_it(queue: Queue) -> None:
    for number in range(5):
        queue.submit(f"t{number}")

        results = at_once(*[partial(queue.manager.claim, f"t{number}", "cpu", 1)] * THREADS)

        winners = [result for result in results if result is not None]
        assert len(winners) == 1
        assert winners[0] == queue.manager.get(f"t{number}")


def test_eight_threads_claim_every_task_once(queue: Queue) -> None:
    for number in range(24):
        queue.submit(f"t{number:02}")

    def claim_all() -> list[str]:
        return [task.id for task in queue.manager.waiting() if queue.manager.claim(task.id, "cpu", 1) is not None]

    results = at_once(*[claim_all] * THREADS)

    assert sorted(task_id for claimed in results for task_id in claimed) == [f"t{n:02}" for n in range(24)]
    assert queue.manager.counts()[TaskStatus.PROCESSING] == 24


def test_saved_windows_come_back_in_order_with_progress(queue: Queue) -> None:
    queue.submit("a")
    task = queue.claim("a")
    queue.changed.clear()

    for index in range(3):
        saved = queue.manager.save_window("a", task.lease_token or "", window(index))

    assert saved is not None
    assert (saved.windows_done, saved.progress, saved.language) == (3, 0.75, "en")
    assert queue.manager.windows("a") == [window(index) for index in range(3)]
    assert queue.changed == []


def test_a_window_reported_twice_is_kept_once(queue: Queue) -> None:
    queue.submit("a")
    task = queue.claim("a")
    first = queue.manager.save_window("a", task.lease_token or "", window(0))

    assert queue.manager.save_window("a", task.lease_token or "", window(0)) == first
    assert len(queue.manager.windows("a")) == 1
    with pytest.raises(ValueError, match="window 2 came before window 1"):
        queue.manager.save_window("a", task.lease_token or "", window(2))


def test_completing_records_the_result_and_drops_the_windows(queue: Queue) -> None:
    queue.submit("a")
    task = queue.claim("a")
    queue.manager.save_window("a", task.lease_token or "", window(0))
    queue.clock.advance(7)

    done = queue.complete(task)

    assert done is not None
    assert done == queue.manager.get("a")
    assert (done.status, done.progress, done.language) == (TaskStatus.COMPLETED, 1.0, "en")
    assert (done.result_sha256, done.finished_at) == ("f" * 64, queue.clock.now())
    assert (done.predicted_bytes, done.reserved_bytes, done.measured_bytes) == (800, 1000, 900)
    assert (done.lease_token, done.lease_owner) == (None, None)
    assert queue.manager.windows("a") == []


@pytest.mark.parametrize(("text", "is_silent"), [(" Hello.", False), (" \n", True), ("", True)])
def test_a_result_without_a_word_is_marked(queue: Queue, text: str, is_silent: bool) -> None:
    queue.submit("a")
    queue.complete(queue.claim("a"), text)
    queue.store.database._engine.dispose()
    assert queue.manager.get("a").is_silent == is_silent


def test_a_task_that_was_to_find_the_language_only_lacks_no_words(queue: Queue) -> None:
    queue.submit("a", options=TaskOptions(model="base", clip_timestamps="0,0"))
    queue.complete(queue.claim("a"), "")
    assert not queue.manager.get("a").is_silent


def test_a_stale_token_changes_nothing(queue: Queue) -> None:
    queue.submit("a")
    old = queue.claim("a")
    queue.manager.requeue("a", old.lease_token or "")
    current = queue.claim("a")

    assert queue.manager.save_window("a", old.lease_token or "", window(0)) is None
    assert queue.complete(old) is None
    assert queue.fail(old) is None
    assert queue.manager.requeue("a", old.lease_token or "", OOM) is None
    assert queue.manager.get("a") == current
    assert queue.manager.windows("a") == []


def test_reports_about_a_deleted_task_change_nothing(queue: Queue) -> None:
    queue.submit("a")
    task = queue.claim("a")
    queue.manager.delete("a")

    assert queue.complete(task) is None
    assert queue.fail(task) is None
