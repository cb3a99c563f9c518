"""OptimizedWhisperSystem with a real database, real ffmpeg and a fake engine: a task from its upload to its text."""

from __future__ import annotations

import pytest

from errors import DataFolderInUseError, IdempotencyMismatchError, InvalidOptionError, StoreBusyError
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.paths import DATA, MINUTE, SHORT
from tests.system.conftest import HOLD, Open, Submit, Watcher


def test_a_task_goes_from_pending_to_completed_and_its_text_appears_on_the_way(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        windows = watcher.windows_of(task_id)
        transcript, is_partial = system.transcript(task_id)
        assert [window.seq for window in windows] == [1, 2, 3]
        assert [window.first_segment for window in windows] == [0, 1, 2]
        assert transcript.text == "".join(segment.text for window in windows for segment in window.segments)
        assert not is_partial
        assert (task.progress, task.attempt, task.error, task.device) == (1.0, 1, None, "cpu")
        assert task.audio_seconds == pytest.approx(67.58, abs=0.01)
        watcher.wait_until(lambda: system.status()["memory_estimates"], "what was learned from it")
        (estimate,) = system.status()["memory_estimates"]
        memory = {"predicted": task.predicted_bytes, "reserved": task.reserved_bytes, "measured": task.measured_bytes}
        assert memory == estimate["last"]
        assert memory["measured"] == 500_000
        assert task.estimated_bytes is not None


def test_nothing_stays_reserved_when_all_tasks_are_done(open_system: Open, submit: Submit) -> None:
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
        assert 0 < weights < 400_000_000


def test_cancelling_a_running_task_ends_it_at_once_and_frees_the_device(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE, knobs=HOLD)
        watcher.wait_for(task_id, TaskStatus.PROCESSING)
        view = system.cancel(task_id)
        assert view.task.status is TaskStatus.CANCELLED
        assert system.cancel(task_id).task.status is TaskStatus.CANCELLED
        watcher.wait_until(lambda: not system.status()["devices"][0]["running"], "a free device")
        after = watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        assert after.attempt == 1
        assert system.task(task_id).task.status is TaskStatus.CANCELLED


def test_a_second_system_on_the_same_folder_is_refused_and_the_first_unharmed(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        second = OptimizedWhisperSystem(system.settings)
        with pytest.raises(DataFolderInUseError, match="in use by pid"):
            second.start()
        Watcher(system).wait_for(submit(system, SHORT), TaskStatus.COMPLETED)


def test_the_same_key_gives_the_same_task_and_another_file_with_it_is_refused(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        first = submit(system, SHORT, key="abc")
        assert submit(system, SHORT, key="abc") == first
        with pytest.raises(IdempotencyMismatchError):
            submit(system, DATA / "librivox-0890.flac", key="abc")
        assert len(system.tasks(TaskFilter())[0]) == 1


def test_a_stored_task_keeps_its_recording_when_the_database_fails_after_it(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise StoreBusyError()

    with open_system() as system:
        monkeypatch.setattr(system._queue, "find_same_file", fail)
        task_id = submit(system, SHORT, owner="alice")
        Watcher(system).wait_for(task_id, TaskStatus.COMPLETED)
        assert system.media(task_id).read_bytes() == SHORT.read_bytes()


def test_limits_change_while_running_and_stay_within_the_settings(open_system: Open) -> None:
    with open_system() as system:
        assert system.set_limits(max_concurrent_tasks=3)["limits"] == {"max_concurrent_tasks": 3, "max_batch_size": 4}
        with pytest.raises(InvalidOptionError):
            system.set_limits(max_batch_size=99)


def test_an_idle_system_is_ready_and_healthy(open_system: Open) -> None:
    with open_system() as system:
        Watcher(system).wait_until(lambda: system.readiness() == [], "readiness")
        assert system.health() == []
