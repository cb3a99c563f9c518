"""A cancel in every state of a task, and at the very moment at which its result arrives."""

from __future__ import annotations

import threading

import pytest

from errors import AlreadyFinishedError
from optimizer.common import failpoints
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.batches import Batch
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import at_once
from tests.paths import MINUTE, SHORT
from tests.system.conftest import HOLD, WAIT_S, Open, Submit, Watcher, device_of

RACES = 8


def reserved(system: OptimizedWhisperSystem) -> int:
    bytes_reserved: int = device_of(system)["reserved"]
    return bytes_reserved


@pytest.mark.proves("F33")
def test_a_cancel_ends_a_task_at_once_and_of_a_cancel_and_a_result_the_first_wins(
    open_system: Open, submit: Submit
) -> None:
    with open_system(max_task_retries=1, clock=FakeClock()) as system:
        watcher = Watcher(system)
        failing = submit(system, SHORT, knobs="fail=engine_error")
        watcher.wait_for(failing, TaskStatus.RETRYING)
        watcher.wait_until(lambda: not device_of(system)["running"], "an idle device")
        idle = reserved(system)
        running = submit(system, MINUTE, knobs=HOLD)
        watcher.wait_for_a_window(running)
        waiting = submit(system, SHORT)
        assert reserved(system) > idle
        for task_id in (failing, waiting, running):
            first, again = system.cancel(task_id).task, system.cancel(task_id).task
            assert (first.status, first.lease_token, again) == (TaskStatus.CANCELLED, None, first)
        watcher.wait_until(lambda: reserved(system) == idle, "the memory of the running one")

        assert _race(system, submit, watcher, first="cancel") is TaskStatus.CANCELLED
        assert _race(system, submit, watcher, first="result") is TaskStatus.COMPLETED
        for _ in range(RACES):
            _race(system, submit, watcher)


def _race(system: OptimizedWhisperSystem, submit: Submit, watcher: Watcher, first: str = "") -> TaskStatus:
    """How a task ends whose transcript is about to be recorded when a cancel comes. first: which is let through before
    the other; by default both at the same moment."""
    is_written, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        is_written.set()
        may_go_on.wait(WAIT_S)

    failpoints.arm({"transcript.written": hold})
    try:
        task_id = submit(system, SHORT)
        watcher.wait_until(is_written.is_set, "a transcript")
        if first == "cancel":
            system.cancel(task_id)
        if first == "result":
            may_go_on.set()
            watcher.wait_for(task_id, TaskStatus.COMPLETED)
        _, answer = at_once(may_go_on.set, lambda: system.cancel(task_id))
    finally:
        failpoints.disarm()
    watcher.wait_until(lambda: not device_of(system)["running"], "an idle device")
    task = system.task(task_id).task
    is_completed = task.status is TaskStatus.COMPLETED
    transcript = system.settings.data_dir / "transcripts" / f"{task_id}.json"
    assert (transcript.exists(), isinstance(answer, AlreadyFinishedError)) == (is_completed, is_completed)
    assert is_completed or task.status is TaskStatus.CANCELLED
    return task.status


def test_a_batch_is_cancelled_with_what_runs_of_it_and_leaves_no_samples(open_system: Open, submit: Submit) -> None:
    with open_system(max_concurrent_tasks_limit="1") as system:
        watcher = Watcher(system)
        batch = Batch("of-may", "May")
        ids = [submit(system, MINUTE, knobs=HOLD, batch=batch) for _ in range(3)]
        other = submit(system, MINUTE, knobs=HOLD)
        watcher.wait_until(lambda: device_of(system)["running"] != [], "a running task")
        (summary,) = system.batches(None, limit=5, cursor=None).batches
        assert (summary.batch, summary.num_tasks, summary.is_finished) == (batch, 3, False)
        assert system.storage(None).owners[0].tasks == 4

        assert system.cancel_all(TaskFilter(batch=batch.id)) == 3
        assert [system.task(task_id).task.status for task_id in ids] == [TaskStatus.CANCELLED] * 3
        watcher.wait_for(other, TaskStatus.PROCESSING)
        watcher.wait_until(lambda: system._storage.files.ids_with_audio() <= {other}, "an end of their samples")
        (summary,) = system.batches(None, limit=5, cursor=None).batches
        assert (summary.is_finished, summary.progress, summary.eta_seconds) == (True, 1.0, None)
        system.cancel(other)
