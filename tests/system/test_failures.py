"""What fails is tried again or ends with its reason, and costs no other task anything."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from errors import BadRecordError, ConflictError, EngineError, StoreBusyError, TaskNotFoundError, WeightsDamagedError
from optimizer.common import failpoints
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.tasks.task import Priority, TaskStatus
from optimizer.tasks.task_changes import TaskChanges
from tests.fake_engine import FakeEngine
from tests.paths import MINUTE, SHORT
from tests.system.conftest import Open, Submit, Watcher
from whisper_core.text.transcript import WindowResult


def test_a_failing_task_is_tried_again_and_fails_in_the_end(open_system: Open, submit: Submit) -> None:
    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        task = watcher.wait_for(submit(system, SHORT, knobs="fail=engine_error"), TaskStatus.FAILED)
        assert task.error is not None
        assert task.error.code == "engine_error"
        watcher.wait_until(lambda: system.figures().failures == {"engine_error": 1}, "the count, after the change")
    with open_system(max_task_retries=1) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT, knobs="fail=engine_error")
        task = watcher.wait_for(task_id, TaskStatus.RETRYING)
        assert (task.attempt, task.not_before is not None) == (1, True)
        reason = system.task(task_id).waiting_reason
        assert reason is not None
        assert reason.code.value == "retry_delay"
        watcher.wait_until(lambda: system.figures().entered[TaskStatus.RETRYING] == 1, "the count, after the change")
        figures = system.figures()
        assert (figures.failures, figures.totals.waits[-1]) == ({}, 1)


def test_a_permanent_error_is_never_retried(open_system: Open, submit: Submit) -> None:
    with open_system(max_task_retries=3) as system:
        task = Watcher(system).wait_for(submit(system, SHORT, knobs="fail=source_missing"), TaskStatus.FAILED)
        assert task.attempt == 1


def test_a_failed_task_is_begun_anew_by_hand(open_system: Open, submit: Submit) -> None:
    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT, knobs="fail=engine_error")
        watcher.wait_for(task_id, TaskStatus.FAILED)
        system.retry(task_id)
        watcher.wait_until(lambda: len(system.task(task_id).task.errors) == 2, "a second failure")
        with pytest.raises(ConflictError):
            system.change(task_id, TaskChanges(priority=Priority.HIGH))


def test_a_worker_that_dies_costs_an_attempt_and_the_task_goes_on_after_its_last_window(
    open_system: Open, submit: Submit
) -> None:
    with open_system(in_thread=False) as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE, knobs="abort@2 once")
        watcher.wait_until(lambda: system.task(task_id).task.windows_done >= 2, "two windows")
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        seqs = [window.seq for window in watcher.windows_of(task_id)]
        assert [error.code for error in task.errors] == ["worker_died"]
        assert (task.attempt, seqs) == (2, [1, 2, 3])
        assert [segment.id for segment in system.transcript(task_id)[0].segments] == [0, 1, 2]


def test_a_dead_worker_leaves_the_other_tasks_and_the_server_alone(open_system: Open, submit: Submit) -> None:
    with open_system(in_thread=False, max_task_retries=0) as system:
        watcher = Watcher(system)
        bad = submit(system, SHORT, knobs="abort@0")
        good = submit(system, SHORT)
        assert watcher.wait_for(bad, TaskStatus.FAILED).errors[-1].code == "worker_died"
        assert watcher.wait_for(good, TaskStatus.COMPLETED).attempt == 1


@pytest.mark.parametrize(
    ("error", "status"), [(StoreBusyError(), TaskStatus.COMPLETED), (BadRecordError(), TaskStatus.FAILED)]
)
def test_a_task_that_cannot_be_handed_over_does_not_stay_processing(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch, error: Exception, status: TaskStatus
) -> None:
    """One that goes on after its first window, which has to be read for that."""
    with open_system() as system:
        task_id = submit(system, MINUTE, knobs="hold@1 once")
        Watcher(system).wait_for_a_window(task_id)
    read_windows = IntelligentQueueManager.windows
    raised: list[str] = []

    def unreadable_once(queue: IntelligentQueueManager, task_id: str) -> list[WindowResult]:
        if not raised:
            raised.append(task_id)
            raise error
        return read_windows(queue, task_id)

    monkeypatch.setattr(IntelligentQueueManager, "windows", unreadable_once)
    with open_system() as system:
        assert Watcher(system).wait_for(task_id, status).windows_done >= 1
        assert raised == [task_id]


def test_a_retry_of_an_unknown_task_says_so(open_system: Open) -> None:
    with open_system() as system, pytest.raises(TaskNotFoundError):
        system.retry("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_a_task_whose_model_is_damaged_is_not_charged_and_waits_until_it_can_be_loaded(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_damaged = [True]
    really_load, really_run = FakeEngine.load, FakeEngine.run

    def load(engine: FakeEngine, model: str, models_dir: Path) -> int:
        if is_damaged[0]:
            raise WeightsDamagedError()
        return really_load(engine, model, models_dir)

    def run(engine: FakeEngine, *arguments: Any) -> Any:
        if is_damaged[0]:
            raise EngineError("The model is not loaded on this device.")  # all that an engine can say of it
        return really_run(engine, *arguments)

    monkeypatch.setattr(FakeEngine, "load", load)
    monkeypatch.setattr(FakeEngine, "run", run)
    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT) for _ in range(2)]
        for task_id in ids:
            task = watcher.wait_for(task_id, TaskStatus.RETRYING)
            assert {error.code for error in task.errors} == {"weights_damaged"}
            assert task.attempt == task.free_attempts
        is_damaged[0] = False
        for task_id in ids:
            assert watcher.wait_for(task_id, TaskStatus.COMPLETED).error is None


@pytest.mark.proves("F08")
def test_a_result_that_does_not_fit_on_the_disk_is_kept_and_stored_when_it_does(
    open_system: Open, submit: Submit, tmp_path: Path
) -> None:
    """The text is not made again: the task stays `processing` and its attempt stays the first."""
    tries: list[int] = []

    def full() -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        failpoints.arm({"transcript.before_sync": full})
        try:
            task_id = submit(system, SHORT)
            watcher.wait_until(lambda: len(tries) >= 3, "three tries")
            assert system.task(task_id).task.status is TaskStatus.PROCESSING
            assert any("disk is full" in reason for reason in system.readiness())
            assert list((tmp_path / "data" / "transcripts").iterdir()) == []
        finally:
            failpoints.disarm()
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert (task.attempt, task.errors) == (1, ())
        assert len(list((tmp_path / "data" / "transcripts").iterdir())) == 1
        watcher.wait_until(lambda: system.readiness() == [], "a server that is ready")
