"""What a restart makes of running, waiting and delayed tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.queue.backoff import MAX_RETRY_DELAY_S
from optimizer.tasks.task import TaskOptions, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import RETRY_DELAY_S, ready_ids, running_queue, window


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
        failed = queue.manager.get("a")
        assert (failed.status, failed.interrupts) == (TaskStatus.FAILED, 3)
        assert [error.code for error in failed.errors] == ["interrupted"] * 3 + ["poison"]


def test_stops_of_a_task_that_makes_progress_in_between_do_not_add_up(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        queue.submit("a")
    for index in range(4):
        with running_queue(tmp_path, clock) as queue:
            task = queue.claim("a")
            queue.manager.save_window("a", task.lease_token or "", window(index))
        with running_queue(tmp_path, clock) as queue:
            back = queue.manager.get("a")
            assert (back.status, back.interrupts) == (TaskStatus.PENDING, 1)


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
        assert queue.manager.next_delay_end_in() == pytest.approx(RETRY_DELAY_S - 4)


def test_after_a_restart_a_delay_in_the_far_future_is_shortened(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        queue.submit("a")
        queue.fail(queue.claim("a"))
    clock.jump(-365 * 86400)
    with running_queue(tmp_path, clock) as queue:
        assert queue.manager.next_delay_end_in() == MAX_RETRY_DELAY_S


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
        assert queue.manager.next_delay_end_in() == RETRY_DELAY_S
