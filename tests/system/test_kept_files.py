"""What is kept on the disk of a task, and for how long."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from errors import (
    EmptyFileError,
    InvalidOptionError,
    MediaRemovedError,
    TaskNotFoundError,
    UnsupportedMediaError,
    WaveformNotReadyError,
)
from optimizer.common import failpoints
from optimizer.tasks.events import TaskDeleted
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.paths import MINUTE, SHORT
from tests.system.conftest import HOLD, Open, Submit, Watcher, device_at


def test_samples_are_removed_when_they_are_no_longer_needed(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        watcher.wait_until(lambda: not any((tmp_path / "data" / "audio").iterdir()), "an empty folder of samples")
        assert len(list((tmp_path / "data" / "media").iterdir())) == 1


def test_samples_that_a_kill_left_behind_a_finished_task_are_removed_at_the_next_start(
    open_system: Open, submit: Submit, tmp_path: Path
) -> None:
    audio = tmp_path / "data" / "audio"
    with open_system() as system:
        task_id = submit(system, SHORT)
        Watcher(system).wait_for(task_id, TaskStatus.COMPLETED)
    left = audio / f"{task_id}.pcm"
    left.write_bytes(b"samples")
    with open_system():
        assert not left.exists()


def test_a_deleted_task_leaves_no_file(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        running = submit(system, MINUTE, knobs=HOLD)
        watcher.wait_for(running, TaskStatus.PROCESSING)
        done = submit(system, SHORT)
        system.delete(running)
        watcher.wait_for(done, TaskStatus.COMPLETED)
        system.delete(done)
        watcher.wait_until(lambda: not system.status()["devices"][0]["running"], "a free device")
        with pytest.raises(TaskNotFoundError):
            system.task(running)
        files = [p.name for p in (tmp_path / "data").rglob("*") if p.is_file()]
        assert [name for name in files if running in name or done in name] == []


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
        folders = [tmp_path / "data" / name for name in ("incoming", "media", "audio", "transcripts", "waveforms")]
        assert [path for folder in folders for path in folder.iterdir()] == []


def test_the_waveform_is_kept_made_again_for_a_finished_task_and_goes_with_it(
    open_system: Open, submit: Submit, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "waveforms"
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT)
        done = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        waveform = system.waveforms.of(task_id)
        assert done.audio_seconds is not None
        assert abs(len(waveform.peaks) * waveform.seconds_per_peak - done.audio_seconds) <= waveform.seconds_per_peak
        assert max(waveform.peaks) > 0

        (folder / task_id).write_bytes(b"PEAK")  # as after a power cut
        with pytest.raises(WaveformNotReadyError):
            system.waveforms.of(task_id)
        watcher.wait_until(lambda: (folder / task_id).stat().st_size > 8, "the waveform that is made again")
        assert system.waveforms.of(task_id) == waveform
        watcher.wait_until(lambda: not any((tmp_path / "data" / "audio").iterdir()), "an empty folder of samples")

        system.delete(task_id)
        assert list(folder.iterdir()) == []


def test_samples_that_are_gone_are_made_again(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        first = submit(system, MINUTE, knobs=HOLD)
        watcher.wait_for(first, TaskStatus.PROCESSING)
        waiting = submit(system, SHORT)
        (tmp_path / "data" / "audio" / f"{waiting}.pcm").unlink()
        system.cancel(first)
        task = watcher.wait_for(waiting, TaskStatus.COMPLETED, TaskStatus.FAILED)
        assert (task.status, task.errors) == (TaskStatus.COMPLETED, ())


def test_a_failed_and_a_cancelled_task_keep_no_samples(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        running = submit(system, MINUTE, knobs=HOLD)
        watcher.wait_for(running, TaskStatus.PROCESSING)
        waiting = submit(system, SHORT)
        failing = submit(system, SHORT, knobs="fail=engine_error")
        system.cancel(waiting)
        system.cancel(running)
        watcher.wait_for(failing, TaskStatus.FAILED)
        watcher.wait_until(lambda: not any((tmp_path / "data" / "audio").iterdir()), "an empty folder of samples")
        system.retry(waiting)
        assert watcher.wait_for(waiting, TaskStatus.COMPLETED).attempt == 1


def test_a_task_deleted_while_its_result_is_written_leaves_the_worker_alone(
    open_system: Open, submit: Submit, tmp_path: Path
) -> None:
    with open_system(in_thread=False) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT)
        failpoints.arm({"transcript.before_rename": lambda: system.delete(task_id)})
        try:
            watcher.wait_until(lambda: any(isinstance(event, TaskDeleted) for event in watcher.events), "the deletion")
        finally:
            failpoints.disarm()
        assert watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED).attempt == 1
        assert len(device_at(system, 0).supervisor._restarts) == 0
        assert len(list((tmp_path / "data" / "transcripts").iterdir())) == 1


def test_a_task_whose_recording_was_removed_says_so(open_system: Open, submit: Submit) -> None:
    with open_system(keep_media_days=30) as system:
        task_id = submit(system, SHORT, knobs=HOLD)
        task = system.cancel(task_id).task
        assert task.finished_at is not None
        announced = system.task(task_id).media_end
        assert announced is not None
        assert announced >= task.finished_at + timedelta(days=30)
        assert system.status()["retention"]["media_days"] == 30
        removed = system._queue.remove_media(task_id, announced, lambda: system._storage.files.delete_media(task_id))
        assert removed is not None
        for asked in (system.media, system.retry):
            with pytest.raises(MediaRemovedError):
                asked(task_id)
        assert system.task(task_id).task.status is TaskStatus.CANCELLED
