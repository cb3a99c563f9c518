"""What a restart makes of running, waiting and delayed tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.common.boot import new_boot_id
from optimizer.queue.backoff import MAX_RETRY_DELAY_S
from optimizer.tasks.task import ErrorInfo, TaskOptions, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue import helpers
from tests.optimizer.queue.helpers import RETRY_DELAY_S, Queue, ready_ids, running_queue, window

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


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
        assert (again.status, again.attempt, again.interrupts) == (TaskStatus.PENDING, 1, 0)
        assert [error.code for error in again.errors] == ["interrupted"]
        assert ready_ids(queue) == ["a", "b"]
        assert queue.manager.windows("a") == [window(0)]
        assert queue.complete(task) is None
        assert queue.claim("a").attempt == 2


def test_a_task_that_ran_alone_at_three_deaths_fails_at_the_next_start(tmp_path: Path, clock: FakeClock) -> None:
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


def test_tasks_that_ran_together_when_the_server_died_are_all_suspected_and_none_is_charged(
    tmp_path: Path, clock: FakeClock
) -> None:
    with running_queue(tmp_path, clock) as queue:
        for task_id in "abcdef":
            queue.submit(task_id)
    for _ in range(5):
        with running_queue(tmp_path, clock) as queue:
            assert queue.report.poisoned == ()
            for task_id in "abcdef":
                queue.claim(task_id)

    with running_queue(tmp_path, clock) as queue:
        assert queue.report.suspects == dict.fromkeys("abcdef", 0)
        tasks = [queue.manager.get(task_id) for task_id in "abcdef"]
        assert {(task.status, task.attempt - task.free_attempts) for task in tasks} == {(TaskStatus.PENDING, 0)}


def test_of_several_only_the_one_that_had_not_finished_a_window_is_suspected(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        queue.submit("a")
        queue.submit("b")
        queue.manager.save_window("a", queue.claim("a").lease_token or "", window(0))
        queue.claim("b")
    with running_queue(tmp_path, clock) as queue:
        assert [queue.manager.get(task_id).interrupts for task_id in "ab"] == [0, 1]


def test_suspects_stay_suspects_until_they_finish_a_window(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        for task_id in "abc":
            queue.submit(task_id)
            queue.claim(task_id)
    with running_queue(tmp_path, clock):
        pass
    with running_queue(tmp_path, clock) as queue:
        assert queue.report.suspects == {"a": 0, "b": 0, "c": 0}
        queue.complete(queue.claim("a"))
        task = queue.claim("b")
        queue.manager.save_window("b", task.lease_token or "", window(0))
        queue.manager.requeue("b", task.lease_token or "")
    with running_queue(tmp_path, clock) as queue:
        assert queue.report.suspects == {"c": 0}


def test_deaths_of_the_web_process_alone_are_counted_against_nobody(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gunicorn's master has lived on, so whatever killed the web process was no task."""
    monkeypatch.setattr(helpers, "next_boot_id", new_boot_id)
    for _ in range(5):
        with running_queue(tmp_path, clock) as queue:
            if not queue.manager.counts()[TaskStatus.PENDING]:
                queue.submit("a")
            queue.claim("a")
    with running_queue(tmp_path, clock) as queue:
        task = queue.manager.get("a")
        assert (task.status, task.interrupts) == (TaskStatus.PENDING, 0)
        assert [error.code for error in task.errors] == ["interrupted"] * 5


def test_deaths_that_lie_more_than_an_hour_apart_do_not_add_up(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(6):
        with running_queue(tmp_path, clock) as queue:
            if not queue.manager.counts()[TaskStatus.PENDING]:
                queue.submit("a")
            queue.claim("a")
        clock.advance(3601)
    with running_queue(tmp_path, clock) as queue:
        task = queue.manager.get("a")
        assert (task.status, task.interrupts) == (TaskStatus.PENDING, 1)


def test_a_worker_s_crashes_that_only_one_task_can_have_caused_make_it_poison(queue: Queue, clock: FakeClock) -> None:
    queue.submit("a", max_attempts=10)
    for _ in range(3):
        task = queue.claim("a")
        queue.manager.fail("a", task.lease_token or "", ErrorInfo("worker_died", "It died."), is_retryable=True)
        clock.advance(60)
        queue.manager.end_delays()
    failed = queue.manager.get("a")
    assert failed.status is TaskStatus.FAILED
    assert [error.code for error in failed.errors] == ["worker_died"] * 3 + ["poison"]


def test_stops_of_a_task_that_makes_progress_in_between_do_not_add_up(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        queue.submit("a")
    for index in range(4):
        with running_queue(tmp_path, clock) as queue:
            task = queue.claim("a")
            queue.manager.save_window("a", task.lease_token or "", window(index))
        with running_queue(tmp_path, clock) as queue:
            back = queue.manager.get("a")
            assert (back.status, back.interrupts) == (TaskStatus.PENDING, 0)


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
