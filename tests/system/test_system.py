"""OptimizedWhisperSystem with a real database, real ffmpeg and a fake engine: tasks, faults, restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errors import (
    ConflictError,
    DataFolderInUseError,
    EmptyFileError,
    IdempotencyMismatchError,
    InvalidOptionError,
    TaskNotFoundError,
    UnsupportedMediaError,
)
from optimizer.events import WindowFinished
from optimizer.system import OptimizedWhisperSystem
from optimizer.task import Priority, TaskFilter, TaskStatus
from tests.system.conftest import Watcher

DATA = Path(__file__).parent.parent / "data"
SHORT = DATA / "librivox-0880.flac"
LONG = DATA / "dev-minute-01.flac"  # three windows of the fake engine

Open = Callable[..., Any]
Submit = Callable[..., str]


def test_a_task_goes_from_pending_to_completed_and_its_text_appears_on_the_way(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, LONG)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        windows = [event for event in watcher.events if isinstance(event, WindowFinished)]
        transcript, is_partial = system.transcript(task_id)
        assert [window.seq for window in windows] == [1, 2, 3]
        assert [window.first_segment for window in windows] == [0, 1, 2]
        assert transcript.text == "".join(segment.text for window in windows for segment in window.segments)
        assert not is_partial
        assert (task.progress, task.attempt, task.error, task.device) == (1.0, 1, None, "cpu")
        assert task.audio_seconds == pytest.approx(67.58, abs=0.01)
        assert task.peak_bytes == 500_000
        assert task.estimated_bytes is not None


def test_nothing_stays_promised_when_all_tasks_are_done(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        before = system.status()["devices"][0]["reserved"]
        ids = [submit(system, SHORT) for _ in range(4)]
        for task_id in ids:
            watcher.wait_for(task_id, TaskStatus.COMPLETED)
        watcher.wait_until(lambda: not system.status()["devices"][0]["running"], "an idle device")
        device = system.status()["devices"][0]
        assert device["resident_models"] == ["tiny.en"]
        weights = device["reserved"] - before
        assert 0 < weights < 300_000_000


def test_samples_are_removed_when_they_are_no_longer_needed(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        watcher.wait_until(lambda: not any((tmp_path / "data" / "audio").iterdir()), "an empty folder of samples")
        assert len(list((tmp_path / "data" / "media").iterdir())) == 1


@pytest.mark.parametrize("code", ["engine_error", "out_of_memory"])
def test_a_failing_task_is_tried_again_and_fails_in_the_end(open_system: Open, submit: Submit, code: str) -> None:
    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        task = watcher.wait_for(submit(system, SHORT, knobs=f"fail={code}"), TaskStatus.FAILED)
        assert task.error is not None
        assert task.error.code == code
    with open_system(max_task_retries=1) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT, knobs=f"fail={code}")
        task = watcher.wait_for(task_id, TaskStatus.RETRYING)
        assert (task.attempt, task.not_before is not None) == (1, True)
        reason = system.task(task_id).waiting_reason
        assert reason is not None
        assert reason.code.value == "retry_delay"


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
            system.set_priority(task_id, Priority.HIGH)


def test_a_worker_that_dies_costs_an_attempt_and_the_task_goes_on_after_its_last_window(
    open_system: Open, submit: Submit
) -> None:
    with open_system(in_thread=False) as system:
        watcher = Watcher(system)
        task_id = submit(system, LONG, knobs="abort@2 once")
        watcher.wait_until(lambda: system.task(task_id).task.windows_done == 2, "two windows")
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        seqs = [event.seq for event in watcher.events if isinstance(event, WindowFinished)]
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


def test_cancelling_a_running_task_ends_it_at_once_and_frees_the_device(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, LONG, knobs="window_s=0.5")
        watcher.wait_for(task_id, TaskStatus.PROCESSING)
        view = system.cancel(task_id)
        assert view.task.status is TaskStatus.CANCELLED
        assert system.cancel(task_id).task.status is TaskStatus.CANCELLED
        watcher.wait_until(lambda: not system.status()["devices"][0]["running"], "a free device")
        after = watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        assert after.attempt == 1
        assert system.task(task_id).task.status is TaskStatus.CANCELLED


def test_a_deleted_task_leaves_no_file(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        running = submit(system, LONG, knobs="window_s=0.3")
        done = submit(system, SHORT)
        watcher.wait_for(running, TaskStatus.PROCESSING)
        system.delete(running)
        watcher.wait_for(done, TaskStatus.COMPLETED)
        system.delete(done)
        watcher.wait_until(lambda: not system.status()["devices"][0]["running"], "a free device")
        with pytest.raises(TaskNotFoundError):
            system.task(running)
        files = [p.name for p in (tmp_path / "data").rglob("*") if p.is_file()]
        assert [name for name in files if running in name or done in name] == []


def test_a_stop_gives_running_tasks_back_and_the_next_start_completes_them(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        task_id = submit(system, LONG, knobs="window_s=0.3")
        waiting = submit(system, SHORT)
        watcher = Watcher(system)
        watcher.wait_until(lambda: system.task(task_id).task.windows_done == 1, "one window")
    with open_system() as system:
        watcher = Watcher(system)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert [segment.id for segment in system.transcript(task_id)[0].segments] == [0, 1, 2]
        assert task.errors == ()
        assert watcher.wait_for(waiting, TaskStatus.COMPLETED).attempt == 1


def test_a_second_system_on_the_same_folder_is_refused_and_the_first_unharmed(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        second = OptimizedWhisperSystem(system.settings)
        with pytest.raises(DataFolderInUseError, match="in use by pid"):
            second.start()
        Watcher(system).wait_for(submit(system, SHORT), TaskStatus.COMPLETED)


def test_the_plain_path_runs_tasks_one_at_a_time_in_order_of_arrival(open_system: Open, submit: Submit) -> None:
    with open_system(enable_optimization_system=False) as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT, model=model) for model in ("base", "tiny.en", "base")]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED) for task_id in ids]
        starts = [task.started_at for task in tasks]
        assert starts == sorted(starts)
        assert system.status()["path"] == "plain"


def test_bad_files_are_refused_and_nothing_of_them_is_kept(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.wav", tmp_path / "text.mp3"
    empty.write_bytes(b"")
    text.write_text("these are words, not sound\n" * 100)
    with open_system() as system:
        with pytest.raises(EmptyFileError):
            submit(system, empty)
        with pytest.raises(UnsupportedMediaError):
            submit(system, text)
        with pytest.raises(InvalidOptionError):
            submit(system, SHORT, device="cuda:9")
        assert system.tasks(TaskFilter())[0] == []
        folders = [tmp_path / "data" / name for name in ("incoming", "media", "audio", "transcripts")]
        assert [path for folder in folders for path in folder.iterdir()] == []


def test_the_same_key_gives_the_same_task_and_another_file_with_it_is_refused(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        first = submit(system, SHORT, key="abc")
        assert submit(system, SHORT, key="abc") == first
        with pytest.raises(IdempotencyMismatchError):
            submit(system, DATA / "librivox-0890.flac", key="abc")
        assert len(system.tasks(TaskFilter())[0]) == 1


def test_a_high_priority_task_goes_before_those_that_wait(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        submit(system, LONG, knobs="window_s=0.3")
        normal = submit(system, SHORT)
        urgent = submit(system, SHORT, priority=Priority.HIGH)
        assert system.task(urgent).position == 1
        started = [watcher.wait_for(task_id, TaskStatus.COMPLETED).started_at for task_id in (urgent, normal)]
        assert started == sorted(started)


def test_limits_change_while_running_and_stay_within_the_settings(open_system: Open) -> None:
    with open_system() as system:
        assert system.set_limits(max_concurrent_tasks=3)["limits"] == {"max_concurrent_tasks": 3, "max_batch_size": 4}
        with pytest.raises(InvalidOptionError):
            system.set_limits(max_batch_size=99)


def test_an_idle_system_is_ready_and_healthy(open_system: Open) -> None:
    with open_system() as system:
        Watcher(system).wait_until(lambda: system.readiness() == [], "readiness")
        assert system.health() == []
