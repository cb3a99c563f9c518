"""What workers' reports teach about speed and memory. test_loop.py shows that they are made durable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.costs import ConcurrentTasks
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.queue.changes import Change, Complete, RequestedChange, SaveWindow
from optimizer.scheduling.attempts import RunningAttempts
from optimizer.scheduling.inbox import Inbox
from optimizer.scheduling.learner import MeasurementLearner
from optimizer.scheduling.report_handler import ReportHandler
from optimizer.scheduling.result_recorder import ResultRecorder
from optimizer.scheduling.running_progress import RunningProgress
from optimizer.scheduling.storage_retry import StorageRetry
from optimizer.tasks import transitions
from optimizer.tasks.events import Event, EventBus, WindowFinished
from optimizer.tasks.task import Task, TaskMemory, TaskOptions
from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.timing.speeds import SpeedTable
from tests.optimizer.fakes import FakeClock
from tests.optimizer.values import processing_task
from whisper_core.text.options import Mode
from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult
from whisper_core.worker import messages as protocol

TASK = processing_task(device="cpu")
CPU = DeviceSpec("cpu", "cpu", "a processor", 10**9)
CARD = DeviceSpec("cuda:0", "cuda", "a card", 10**9)


class Reports:
    """The way of a report on the reader's thread. Its queue takes every report for the task's own."""

    def __init__(self, clock: FakeClock, task: Task = TASK, estimates: Any = None) -> None:
        self.events: list[Event] = []
        speeds = SpeedTable()
        self.monitor = PerformanceMonitor(clock, speeds, interval_s=60, on_sample=lambda: None)
        self.estimates = cast(Any, estimates or SimpleNamespace(record_weights=lambda *_: None))
        bus = EventBus()
        bus.add_listener(self.events.append)
        self.attempts = RunningAttempts(clock)
        self._task = task
        self.transcripts: list[Transcript] = []
        self.memory: list[TaskMemory] = []  # of the completed tasks
        queue = SimpleNamespace(record=self._record, held_attempts=set, retry_delay_s=lambda _: 1.0)
        files = SimpleNamespace(write_transcripts=self._write, delete_audio=lambda _: None)
        recorder = ResultRecorder(
            queue=cast(Any, queue),
            files=cast(Any, files),
            storage_retry=StorageRetry(),
            clock=clock,
            estimates=self.estimates,
            may_move_to_cpu=lambda: False,
        )
        learner = MeasurementLearner(
            attempts=self.attempts,
            monitor=self.monitor,
            speeds=speeds,
            times=RuntimeEstimates(speeds),
            estimates=self.estimates,
            clock=clock,
        )
        self._handler = ReportHandler(
            messages=cast(Any, SimpleNamespace(tell_report=lambda *_: None)),
            attempts=self.attempts,
            recorder=recorder,
            learner=learner,
            updater=cast(Any, SimpleNamespace(apply_reports=lambda *_: None)),
            progress=RunningProgress(self.attempts, speeds),
            events=bus,
            announce=lambda task: bus.publish_task_changed(task.id),
            inbox=Inbox(),
        )

    def _write(self, transcripts: Mapping[str, Transcript]) -> dict[str, str]:
        self.transcripts += transcripts.values()
        return dict.fromkeys(transcripts, "f" * 64)

    def _record(self, requested: Sequence[RequestedChange]) -> list[Task]:
        return [self._change(each.change) for each in requested]

    def _change(self, change: Change) -> Task:
        if isinstance(change, SaveWindow):
            self._task = transitions.window_saved(self._task, change.window)
        elif isinstance(change, Complete):
            self.memory.append(change.memory)
        return self._task

    def report(self, report: protocol.Report, spec: DeviceSpec = CPU) -> None:
        self._handler.on_reports(cast(Any, SimpleNamespace(spec=spec)), [report])

    def window(self, index: int, seek: int, content_frames: int, **more: int) -> None:
        checkpoint = Checkpoint("en", seek=seek, content_frames=content_frames, **more)
        self.report(protocol.WindowDone("T1", "lease", WindowResult(index, (), checkpoint)))

    def done(self) -> None:
        self.report(protocol.TaskDone("T1", "lease", Transcript("", "en", ()), 5, 1.0))

    @property
    def windows(self) -> list[WindowFinished]:
        return [event for event in self.events if isinstance(event, WindowFinished)]


class RecordingEstimates:
    """Remembers what was measured."""

    def __init__(self) -> None:
        self.recorded: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def record(self, *args: Any, **more: Any) -> None:
        self.recorded.append((args, more))

    def memory_of(self, *_: Any, peak_bytes: int, reserved_bytes: int, **__: Any) -> TaskMemory:
        assert self.recorded == []  # a prediction knows nothing of what it is held against
        return TaskMemory(3, reserved_bytes + 1, peak_bytes)

    @property
    def measured(self) -> list[ConcurrentTasks]:
        return [concurrent for (_, _, concurrent), _ in self.recorded]


def test_sound_that_was_left_out_counts_neither_as_fast_nor_as_work_to_come() -> None:
    """An hour of which ten minutes are speech."""
    clock = FakeClock()
    reports = Reports(clock)
    reports.attempts.track(TASK, segment_count=0)
    clock.advance(10)
    reports.window(0, seek=300_000, content_frames=360_000, skipped_frames=297_000, frames_left=57_000)
    (event,) = reports.windows
    assert (event.speed, event.eta_seconds) == (3.0, 190.0)
    assert reports.attempts.on_device("cpu")[0].audio_done_seconds == 3000.0


def test_no_text_begins_in_the_silence_before_late_sound() -> None:
    task = TASK.with_(late_seconds=4.84)
    reports = Reports(FakeClock(), task, RecordingEstimates())
    reports.attempts.track(task, 0)
    spoken = Segment(0, 0, 0.0, 10.4, " And", (1,), 0.0, -0.1, 1.0, 0.0, None)
    checkpoint = Checkpoint("en", seek=1000, content_frames=1200)
    reports.report(protocol.WindowDone("T1", "lease", WindowResult(0, (spoken,), checkpoint)))
    assert reports.windows[0].segments == (replace(spoken, start=4.84),)

    reports.report(protocol.TaskDone("T1", "lease", Transcript(" And", "en", (spoken,)), 5, 1.0))
    assert [transcript.segments[0].start for transcript in reports.transcripts] == [4.84]


def test_windows_that_come_at_once_are_measured_with_the_time_that_they_took_together() -> None:
    clock = FakeClock()
    reports = Reports(clock)
    reports.attempts.track(TASK, segment_count=0)
    clock.advance(10)
    for index in range(3):
        reports.window(index, seek=3000 * (index + 1), content_frames=18000)
        clock.advance(0.001)
    clock.advance(10)
    reports.window(3, seek=12000, content_frames=18000)
    speeds = [event.speed for event in reports.windows]
    assert speeds[:3] == [3.0] * 3
    assert speeds[3] == pytest.approx(3.0 + 0.3 * 6.0, rel=0.01)


def test_chunks_that_waited_for_an_earlier_one_do_not_make_their_model_look_fast() -> None:
    """Ten seconds for the first chunk, during which the next five are done as well."""
    clock = FakeClock()
    task = replace(TASK, options=TaskOptions(model="base", mode="vad"))
    reports = Reports(clock, task)
    reports.attempts.track(task, segment_count=0)
    clock.advance(10)
    reports.window(0, seek=3000, content_frames=18000)
    clock.advance(0.1)
    reports.window(1, seek=18000, content_frames=18000)
    speeds = [event.speed for event in reports.windows]
    assert speeds[0] == 3.0
    assert speeds[1] == pytest.approx(3.0 + 0.3 * (180 / 10.1 - 3.0), rel=0.01)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (TaskOptions(model="base"), [ConcurrentTasks(2, 180.0, 2)]),
        (TaskOptions(model="tiny"), []),
        (TaskOptions(model="base", word_timestamps=True), []),
    ],
)
def test_a_share_of_the_peak_is_believed_when_tasks_of_one_kind_shared_it(
    others: TaskOptions, expected: list[ConcurrentTasks]
) -> None:
    estimates = RecordingEstimates()
    reports = Reports(FakeClock(), estimates=estimates)
    reports.attempts.track(TASK, segment_count=0)
    reports.attempts.track(replace(TASK, id="T2", lease_token="another", options=others), segment_count=0)
    reports.attempts.track(replace(TASK, id="T3", lease_token="elsewhere", device="cuda:0"), segment_count=0)
    reports.attempts.untrack("another")
    reports.done()
    assert estimates.measured == expected


def test_a_measurement_is_recorded_with_what_was_reserved_and_where() -> None:
    estimates = RecordingEstimates()
    reports = Reports(FakeClock(), replace(TASK, estimated_bytes=7), estimates)
    reports.attempts.track(TASK, segment_count=0)
    reports.done()
    more = {"word_timestamps": False, "reserved_bytes": 7, "peak_bytes": 5, "device": "cpu"}
    assert estimates.recorded == [(("base", "cpu", ConcurrentTasks(1, 90.0, 1)), more)]


def test_the_peak_of_a_chunked_task_is_not_recorded() -> None:
    estimates = RecordingEstimates()
    task = replace(TASK, options=TaskOptions(model="base", mode="vad"))
    reports = Reports(FakeClock(), task, estimates)
    reports.attempts.track(task, segment_count=0)
    reports.done()
    assert estimates.recorded == []


@pytest.mark.parametrize(("mode", "predicted"), [("exact", 3), ("vad", None)])
def test_a_completed_task_says_what_was_predicted_reserved_and_measured(mode: Mode, predicted: int | None) -> None:
    task = replace(TASK, estimated_bytes=7, options=TaskOptions(model="base", mode=mode))
    reports = Reports(FakeClock(), task, RecordingEstimates())
    reports.attempts.track(task, segment_count=0)
    reports.done()
    assert reports.memory == [TaskMemory(predicted, 8, 5)]


def test_a_task_that_ran_beside_others_of_another_kind_says_only_what_was_measured() -> None:
    reports = Reports(FakeClock(), estimates=RecordingEstimates())
    reports.attempts.track(TASK, segment_count=0)
    other = replace(TASK, id="T2", lease_token="another", options=TaskOptions(model="tiny"))
    reports.attempts.track(other, segment_count=0)
    reports.done()
    assert reports.memory == [TaskMemory(measured=5)]


def test_a_short_recording_does_not_measure_what_a_window_full_of_sound_takes() -> None:
    clock = FakeClock()
    task = replace(TASK, audio_seconds=3.0)
    reports = Reports(clock, task)
    reports.attempts.track(task, segment_count=0)
    clock.advance(3)
    reports.window(0, seek=3000, content_frames=300)
    (event,) = reports.windows
    assert event.speed == (3.0 + 0.5 * 27.0) / 3.0
    assert event.eta_seconds == 0.0


def test_loading_the_model_does_not_count_as_transcribing() -> None:
    clock = FakeClock()
    reports = Reports(clock)

    reports.attempts.track(TASK, segment_count=0)
    clock.advance(20)
    reports.report(protocol.ModelLoaded("base", 1, 20.0), CARD)  # on another device
    clock.advance(20)
    reports.report(protocol.ModelLoaded("base", 1, 40.0))
    clock.advance(10)
    reports.window(0, seek=3000, content_frames=9000)

    (event,) = reports.windows
    assert (event.speed, event.eta_seconds) == (3.0, pytest.approx(20.0))
