"""What a worker's reports say about speed. That they are made durable is shown with whole systems in tests/system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from optimizer.memory.regression import Batch
from optimizer.monitoring.metrics import PerformanceMonitor
from optimizer.scheduling.result_recorder import TaskRecorder
from optimizer.tasks.events import Event, WindowFinished
from optimizer.tasks.task import Priority, Task, TaskOptions, TaskStatus
from tests.optimizer.fakes import FakeClock
from whisper_core.text.transcript import Checkpoint, Transcript, WindowResult
from whisper_core.worker import messages as protocol

TASK = Task(
    id="T1",
    seq=1,
    filename="a.wav",
    status=TaskStatus.PROCESSING,
    options=TaskOptions(model="base"),
    priority=Priority.NORMAL,
    requested_device="auto",
    size_bytes=1,
    sha256="",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    max_attempts=4,
    audio_seconds=90.0,
    device="cpu",
    lease_token="lease",
)


def recorder_with(
    clock: FakeClock, publish: Callable[[Event], None], estimates: Any = None, task: Task = TASK
) -> TaskRecorder:
    """Its queue takes everything for the task's."""
    monitor = PerformanceMonitor(clock, interval_s=60, on_sample=lambda: None)
    queue = SimpleNamespace(save_window=lambda *_: task, get=lambda _: task, complete=lambda *_, **__: task)
    files = SimpleNamespace(write_transcript=lambda *_: "", delete_audio=lambda _: None)
    return TaskRecorder(cast(Any, queue), cast(Any, files), estimates, monitor, clock, publish)


def test_windows_that_come_at_once_are_measured_with_the_time_that_they_took_together() -> None:
    clock, events = FakeClock(), list[Event]()
    recorder = recorder_with(clock, events.append)
    recorder.begin(TASK, segment_count=0)
    clock.advance(10)
    for index in range(3):
        window = WindowResult(index, (), Checkpoint("en", seek=3000 * (index + 1), content_frames=18000))
        recorder.record("cpu", "cpu", protocol.WindowDone("T1", "lease", window))
        clock.advance(0.001)
    clock.advance(10)
    window = WindowResult(3, (), Checkpoint("en", seek=12000, content_frames=18000))
    recorder.record("cpu", "cpu", protocol.WindowDone("T1", "lease", window))
    speeds = [event.speed for event in events if isinstance(event, WindowFinished)]
    assert speeds[:3] == [3.0] * 3
    assert speeds[3] == pytest.approx(3.0 + 0.3 * 6.0, rel=0.01)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (TaskOptions(model="base"), [Batch(2, 180.0, 2)]),
        (TaskOptions(model="tiny"), []),
        (TaskOptions(model="base", word_timestamps=True), []),
    ],
)
def test_a_share_of_the_peak_is_believed_when_tasks_of_one_kind_shared_it(
    others: TaskOptions, expected: list[Batch]
) -> None:
    recorded: list[Batch] = []
    estimates = SimpleNamespace(record=lambda model, kind, batch, **_: recorded.append(batch))
    recorder = recorder_with(FakeClock(), lambda event: None, estimates)
    recorder.begin(TASK, segment_count=0)
    recorder.begin(replace(TASK, id="T2", lease_token="another", options=others), segment_count=0)
    recorder.begin(replace(TASK, id="T3", lease_token="elsewhere", device="cuda:0"), segment_count=0)
    recorder.forget("another")
    recorder.record("cpu", "cpu", protocol.TaskDone("T1", "lease", Transcript("", "en", ()), 5, 1.0))
    assert recorded == expected


def test_what_is_measured_goes_with_what_was_promised_and_where() -> None:
    recorded: list[Any] = []
    estimates = SimpleNamespace(record=lambda *args, **more: recorded.append((args, more)))
    recorder = recorder_with(FakeClock(), lambda event: None, estimates, replace(TASK, estimated_bytes=7))
    recorder.begin(TASK, segment_count=0)
    recorder.record("cpu", "cpu", protocol.TaskDone("T1", "lease", Transcript("", "en", ()), 5, 1.0))
    more = {"word_timestamps": False, "reserved_bytes": 7, "peak_bytes": 5, "device": "cpu"}
    assert recorded == [(("base", "cpu", Batch(1, 90.0, 1)), more)]


def test_a_recording_that_is_cut_up_is_no_measure_of_a_task() -> None:
    recorded: list[Batch] = []
    estimates = SimpleNamespace(record=lambda model, kind, batch, **_: recorded.append(batch))
    task = replace(TASK, options=TaskOptions(model="base", mode="vad"))
    recorder = recorder_with(FakeClock(), lambda event: None, estimates, task)
    recorder.begin(task, segment_count=0)
    recorder.record("cpu", "cpu", protocol.TaskDone("T1", "lease", Transcript("", "en", ()), 5, 1.0))
    assert recorded == []


def test_a_short_recording_is_no_measure_of_what_a_window_full_of_sound_takes() -> None:
    clock, events = FakeClock(), list[Event]()
    task = replace(TASK, audio_seconds=3.0)
    recorder = recorder_with(clock, events.append, task=task)
    recorder.begin(task, segment_count=0)
    clock.advance(3)
    window = WindowResult(0, (), Checkpoint("en", seek=3000, content_frames=300))
    recorder.record("cpu", "cpu", protocol.WindowDone("T1", "lease", window))
    (event,) = events
    assert isinstance(event, WindowFinished)
    assert event.speed == (3.0 + 0.5 * 27.0) / 3.0
    assert event.eta_seconds == 0.0


def test_loading_the_model_does_not_count_as_transcribing() -> None:
    clock, events = FakeClock(), list[Event]()
    monitor = PerformanceMonitor(clock, interval_s=60, on_sample=lambda: None)
    queue = SimpleNamespace(save_window=lambda *_: TASK)
    recorder = TaskRecorder(cast(Any, queue), cast(Any, None), cast(Any, None), monitor, clock, events.append)

    recorder.begin(TASK, segment_count=0)
    clock.advance(20)
    recorder.record("cuda:0", "cuda", protocol.ModelLoaded("base", 1, 20.0))  # another device's
    clock.advance(20)
    recorder.record("cpu", "cpu", protocol.ModelLoaded("base", 1, 40.0))
    clock.advance(10)
    window = WindowResult(0, (), Checkpoint("en", seek=3000, content_frames=9000))
    recorder.record("cpu", "cpu", protocol.WindowDone("T1", "lease", window))

    (event,) = events
    assert isinstance(event, WindowFinished)
    assert (event.speed, event.eta_seconds) == (3.0, 20.0)
