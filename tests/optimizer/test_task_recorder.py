"""What a worker's reports say about speed. That they are made durable is shown with whole systems in tests/system."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from optimizer.events import Event, WindowFinished
from optimizer.performance_monitor import PerformanceMonitor
from optimizer.task import Priority, Task, TaskOptions, TaskStatus
from optimizer.task_recorder import TaskRecorder
from tests.optimizer.fakes import FakeClock
from whisper_core import protocol
from whisper_core.transcript import Checkpoint, WindowResult

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
