"""The queue: what happens to a task, in which order, and whose reports count."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from errors import ConflictError, IdempotencyMismatchError, QueueFullError, StoreBusyError, TaskNotFoundError
from optimizer.queue.backoff import MAX_RETRY_DELAY_S, RetryDelay
from optimizer.queue.index import QueueIndex
from optimizer.tasks.task import ErrorInfo, Priority, TaskFilter, TaskOptions, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import OOM, RETRY_DELAY_S, Queue, new_task, running_queue, window

THREADS = 8


def ready_ids(queue: Queue) -> list[str]:
    return [task.id for task in sorted(queue.manager.waiting(), key=lambda task: (-task.priority, task.seq))]


def at_once(*actions: Callable[[], object]) -> list[Any]:
    """Runs each on a thread of its own, all released at the same moment. Returns their results or errors."""
    barrier = threading.Barrier(len(actions), timeout=10)
    results: list[Any] = [None] * len(actions)

    def run(index: int, action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            results[index] = action()
        except Exception as error:  # noqa: BLE001 - handed to the test
            results[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return results


# Submission and preparation


def test_a_submitted_task_waits_in_order_of_priority_and_then_arrival(queue: Queue) -> None:
    queue.submit("a")
    queue.submit("b", priority=Priority.HIGH)
    queue.submit("c", options=TaskOptions(model="small"))

    assert ready_ids(queue) == ["b", "a", "c"]
    assert [queue.manager.position(task_id) for task_id in "abc"] == [2, 1, 3]
    assert queue.manager.get("a").status is TaskStatus.PENDING
    assert queue.changed == ["a", "b", "c"]


def test_a_task_is_read_back_as_it_was_submitted(queue: Queue) -> None:
    options = TaskOptions(
        model="tiny.en", language="es", task="translate", initial_prompt="¿Qué?", word_timestamps=True, temperature=0.2
    )
    submitted = queue.submit("a", options=options, filename="entrevista «1».mp3", idempotency_key="k")

    assert queue.manager.get("a") == submitted
    assert submitted.options == options
    assert submitted.created_at == queue.clock.now()


def test_the_same_key_with_the_same_request_gives_the_first_task_again(queue: Queue) -> None:
    first, was_there = queue.manager.submit(new_task("a", idempotency_key="k"))
    again, is_replay = queue.manager.submit(new_task("b", idempotency_key="k"))

    assert (was_there, is_replay) == (False, True)
    assert again == first
    with pytest.raises(TaskNotFoundError):
        queue.manager.get("b")


@pytest.mark.parametrize("difference", [{"sha256": "1" * 64}, {"options": TaskOptions(model="small")}])
def test_the_same_key_with_another_request_is_refused(queue: Queue, difference: dict[str, object]) -> None:
    queue.submit("a", idempotency_key="k")

    with pytest.raises(IdempotencyMismatchError):
        queue.submit("b", idempotency_key="k", **difference)


def test_eight_threads_with_one_key_make_one_task(queue: Queue) -> None:
    def submit(number: int) -> Callable[[], object]:
        return lambda: queue.manager.submit(new_task(f"t{number}", idempotency_key="k"))

    results = at_once(*map(submit, range(THREADS)))

    assert len({task.id for task, _ in results}) == 1
    assert sorted(is_replay for _, is_replay in results) == [False] + [True] * (THREADS - 1)
    assert queue.manager.counts()[TaskStatus.PENDING] == 1


def test_a_full_queue_refuses_new_tasks_but_not_replays(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock, max_queued=2) as queue:
        first = queue.submit("a", idempotency_key="k")
        queue.submit("b")

        with pytest.raises(QueueFullError):
            queue.submit("c")
        assert queue.manager.submit(new_task("d", idempotency_key="k")) == (first, True)
        queue.claim("a")
        queue.submit("c")


def test_threads_cannot_fill_the_queue_past_its_limit(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock, max_queued=3) as queue:
        results = at_once(*(partial(queue.submit, f"t{number}") for number in range(THREADS)))

        assert sum(isinstance(result, QueueFullError) for result in results) == THREADS - 3
        assert queue.manager.counts()[TaskStatus.PENDING] == 3


def test_an_unprepared_task_waits_but_cannot_be_claimed(queue: Queue) -> None:
    queue.submit("a", audio_seconds=None)
    queue.submit("b", audio_seconds=None, priority=Priority.HIGH)

    assert queue.manager.unprepared() == ["b", "a"]
    assert queue.manager.position("a") == 2
    assert ready_ids(queue) == []
    assert queue.manager.claim("a", "cpu", 1) is None

    prepared = queue.manager.mark_prepared("a", 12.5)
    assert prepared is not None
    assert prepared.audio_seconds == 12.5
    assert queue.manager.unprepared() == ["b"]
    assert [task.audio_seconds for task in queue.manager.waiting()] == [12.5]


def test_a_file_that_cannot_be_prepared_fails_its_task_for_good(queue: Queue) -> None:
    queue.submit("a", audio_seconds=None)

    failed = queue.manager.fail_preparation("a", ErrorInfo("no_audio_stream", "The file has no sound in it."))

    assert failed is not None
    assert (failed.status, failed.attempt) == (TaskStatus.FAILED, 0)
    assert failed.error is not None
    assert failed.error.code == "no_audio_stream"
    assert queue.manager.position("a") is None


def test_preparation_that_ends_after_a_cancel_changes_nothing(queue: Queue) -> None:
    queue.submit("a", audio_seconds=None)
    cancelled = queue.manager.cancel("a")

    assert queue.manager.mark_prepared("a", 5.0) is None
    assert queue.manager.fail_preparation("a", OOM) is None
    assert queue.manager.get("a") == cancelled


# Running


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
    assert (done.result_sha256, done.peak_bytes, done.finished_at) == ("f" * 64, 900, queue.clock.now())
    assert (done.lease_token, done.lease_owner) == (None, None)
    assert queue.manager.windows("a") == []


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


# Failing


def test_a_failed_attempt_goes_to_the_back_with_a_growing_delay(queue: Queue) -> None:
    queue.submit("a")
    queue.submit("b")
    retrying = queue.fail(queue.claim("a"))

    assert retrying is not None
    assert retrying.status is TaskStatus.RETRYING
    assert retrying.error == ErrorInfo(OOM.code, OOM.message, queue.clock.now(), attempt=1)
    assert [queue.manager.position(task_id) for task_id in "ab"] == [2, 1]
    assert queue.manager.next_due_in() == RETRY_DELAY_S
    assert queue.manager.claim("a", "cpu", 1) is None

    queue.clock.advance(RETRY_DELAY_S)
    assert queue.manager.promote_due() == 1
    assert queue.manager.next_due_in() is None
    assert ready_ids(queue) == ["b", "a"]

    queue.fail(queue.claim("a"))
    assert queue.manager.next_due_in() == 2 * RETRY_DELAY_S


def test_a_task_fails_when_its_attempts_are_used_up(queue: Queue) -> None:
    queue.submit("a", max_attempts=2)
    queue.fail(queue.claim("a"))
    queue.clock.advance(RETRY_DELAY_S)
    queue.manager.promote_due()

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

    assert queue.manager.next_due_in() == RETRY_DELAY_S
    assert queue.manager.promote_due() == 0


def test_after_a_restart_a_delay_in_the_far_future_is_shortened(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        queue.submit("a")
        queue.fail(queue.claim("a"))
    clock.jump(-365 * 86400)
    with running_queue(tmp_path, clock) as queue:
        assert queue.manager.next_due_in() == MAX_RETRY_DELAY_S


def test_a_start_loads_every_waiting_task_however_many_rows_are_read_at_once(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.storage.repository._READ_AT_ONCE", 2)
    with running_queue(tmp_path, clock) as queue:
        for task_id in "rabcde":
            queue.submit(task_id)
        queue.fail(queue.claim("r"))
        for task_id in "uv":
            queue.submit(task_id, audio_seconds=None)

    with running_queue(tmp_path, clock) as queue:
        assert ready_ids(queue) == list("abcde")
        assert queue.manager.unprepared() == ["u", "v"]
        assert queue.manager.next_due_in() == RETRY_DELAY_S


def test_a_requeued_task_keeps_its_place_and_its_attempts(queue: Queue) -> None:
    queue.submit("a", max_attempts=1)
    queue.submit("b")
    task = queue.claim("a")

    back = queue.manager.requeue("a", task.lease_token or "")

    assert back is not None
    assert (back.status, back.interrupts, back.has_attempts_left) == (TaskStatus.PENDING, 0, True)
    assert ready_ids(queue) == ["a", "b"]


def test_the_third_interrupt_makes_a_task_poison(queue: Queue) -> None:
    queue.submit("a")
    for _ in range(3):
        task = queue.claim("a")
        back = queue.manager.requeue("a", task.lease_token or "", OOM, is_interrupt=True)

    assert back is not None
    assert (back.status, back.interrupts) == (TaskStatus.FAILED, 3)
    assert [error.code for error in back.errors] == ["out_of_memory"] * 3 + ["poison"]


def test_interrupts_of_a_task_that_makes_progress_in_between_do_not_add_up(queue: Queue) -> None:
    queue.submit("a")
    for index in range(4):
        task = queue.claim("a")
        queue.manager.save_window("a", task.lease_token or "", window(index))
        back = queue.manager.requeue("a", task.lease_token or "", OOM, is_interrupt=True)
        assert back is not None
        assert (back.status, back.interrupts) == (TaskStatus.PENDING, 1)


# What people ask for


def test_every_task_that_has_not_ended_can_be_cancelled_for_good(queue: Queue) -> None:
    for task_id in "abc":
        queue.submit(task_id)
    queue.fail(queue.claim("b"))
    queue.claim("c")

    for task_id in "abc":
        cancelled = queue.manager.cancel(task_id)
        assert (cancelled.status, cancelled.lease_token) == (TaskStatus.CANCELLED, None)
        assert queue.manager.cancel(task_id) == cancelled
    assert queue.manager.next_due_in() is None
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


# Restarts


def test_a_restart_puts_a_running_task_back_and_charges_nothing(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        queue.submit("a", max_attempts=1)
        queue.submit("b")
        task = queue.claim("a")
        queue.manager.save_window("a", task.lease_token or "", window(0))

    with running_queue(tmp_path, clock) as queue:
        again = queue.manager.get("a")
        assert queue.report.interrupted == ("a",)
        assert queue.report.waiting == 2
        assert (again.status, again.attempt, again.interrupts) == (TaskStatus.PENDING, 1, 1)
        assert [error.code for error in again.errors] == ["interrupted"]
        assert ready_ids(queue) == ["a", "b"]
        assert queue.manager.windows("a") == [window(0)]
        assert queue.complete(task) is None
        assert queue.claim("a").attempt == 2


def test_a_task_that_was_running_at_three_stops_fails_at_the_next_start(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(3):
        with running_queue(tmp_path, clock) as queue:
            if not queue.manager.counts()[TaskStatus.PENDING]:
                queue.submit("a")
            queue.claim("a")

    with running_queue(tmp_path, clock) as queue:
        assert queue.report.poisoned == ("a",)
        assert queue.manager.get("a").status is TaskStatus.FAILED
        assert queue.manager.get("a").errors[-1].code == "poison"


def test_what_waits_waits_again_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        queue.submit("a", options=TaskOptions(model="small", word_timestamps=True))
        queue.submit("b", audio_seconds=None)
        queue.submit("c")
        queue.fail(queue.claim("c"))
        before = list(queue.manager.waiting())
    clock.advance(4)

    with running_queue(tmp_path, clock) as queue:
        assert [task.id for task in queue.manager.waiting()] == [task.id for task in before]
        assert [task.word_timestamps for task in queue.manager.waiting()] == [True]
        assert queue.manager.unprepared() == ["b"]
        assert queue.manager.next_due_in() == pytest.approx(RETRY_DELAY_S - 4)


# Faults


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

    assert index.position("a", now=0.0) == 1
    assert index.counts()[TaskStatus.PENDING] == 1
    assert index.counts()[TaskStatus.CANCELLED] == 0


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


def test_a_retry_delay_grows_stays_bounded_and_is_never_negative() -> None:
    without_jitter = RetryDelay(first_s=2, max_s=60, random=lambda: 0.0)
    assert [without_jitter(attempt) for attempt in (1, 2, 3, 10, 10_000)] == [2, 4, 8, 60, 60]

    seeded = random.Random(1)
    delays = [RetryDelay(first_s=2, max_s=60, random=seeded.random)(attempt) for attempt in range(-2, 200)]
    assert all(1.5 < delay <= 60 for delay in delays)
