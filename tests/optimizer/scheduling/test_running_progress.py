"""What is said of a running task: its speed, and when it will be done beside the others on its device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.scheduling.attempts import RunningAttempts
from optimizer.scheduling.running_progress import RunningProgress
from optimizer.tasks.task import TaskStatus
from optimizer.timing.speeds import SpeedTable
from tests.optimizer.fakes import FakeClock
from tests.optimizer.values import processing_task

TASK = processing_task(device="cpu", progress=1 / 3, windows_done=1)  # 60 s are left


@pytest.fixture
def attempts(clock: FakeClock) -> RunningAttempts:
    attempts = RunningAttempts(clock)
    attempts.track(TASK, segment_count=0)
    return attempts


@pytest.fixture
def progress(attempts: RunningAttempts) -> RunningProgress:
    speeds = SpeedTable()
    speeds.record("base", "cpu", 60.0, 10.0)
    return RunningProgress(attempts, speeds)


def test_a_task_takes_longer_beside_others_on_its_device(attempts: RunningAttempts, progress: RunningProgress) -> None:
    alone = progress.eta_of(TASK)
    attempts.track(replace(TASK, id="T2", lease_token="elsewhere", device="cuda:0"), segment_count=0)
    assert progress.eta_of(TASK) == alone == pytest.approx(10.0)
    attempts.track(replace(TASK, id="T3", lease_token="beside"), segment_count=0)
    assert progress.eta_of(TASK) == pytest.approx(10.0 * 2**0.7)


@pytest.mark.parametrize("changes", [{"status": TaskStatus.PENDING}, {"device": "cuda:0"}, {"device": None}])
def test_nothing_is_foretold_of_a_task_that_waits_or_was_never_measured(
    progress: RunningProgress, changes: dict[str, object]
) -> None:
    assert progress.eta_of(TASK.with_(**changes)) is None


def test_the_event_of_new_segments_says_how_far_the_task_is(progress: RunningProgress) -> None:
    event = progress.window_finished(TASK, 4, ())
    assert (event.task_id, event.seq, event.first_segment, event.speed) == ("T1", 1, 4, 6.0)
    assert (event.audio_done_seconds, event.eta_seconds) == (pytest.approx(30.0), pytest.approx(10.0))
