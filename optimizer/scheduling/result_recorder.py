"""Makes durable what a worker reports of its tasks, and tells the listeners.

Runs on the threads `device-<name>`, so a slow disk holds up that device's reports and nothing else. Everything is
fenced by the lease token: a report that is no longer the task's own changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from errors import (
    DatabaseDamagedError,
    DeviceLostError,
    DiskFullError,
    OutOfMemoryError,
    StoreBusyError,
    TaskNotFoundError,
    error_class_of,
)
from optimizer.common.clock import Clock
from optimizer.common.kinds import DeviceKind
from optimizer.memory.busy_periods import BusyPeriods
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.regression import Batch
from optimizer.monitoring.metrics import PerformanceMonitor
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event, WindowFinished
from optimizer.tasks.task import ErrorInfo, Task
from optimizer.tasks.timeline import MEMORY
from whisper_core.text.transcript import FRAMES_PER_SECOND
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)

Recorded = TypeVar("Recorded")

SHORTEST_MEASUREMENT_S = 0.02
RECORD_PAUSES_S = (0.1, 0.5, 2.0, 5.0)


@dataclass
class _Live:
    """What is remembered of a running task between two windows.

    measured_at, measured_audio_seconds: where the next measurement of its speed begins. steps_aside_for: the task that
    it was told to make way for.
    """

    task: Task
    audio_done_seconds: float
    segment_count: int
    measured_at: float
    measured_audio_seconds: float
    preempted_by: str | None = None

    @property
    def device(self) -> str | None:
        return self.task.device

    @property
    def model(self) -> str:
        return self.task.options.model


class TaskRecorder:
    """`begin` before the task is handed over; `record` for each report about it."""

    def __init__(
        self,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        estimates: MemoryEstimationPool,
        monitor: PerformanceMonitor,
        clock: Clock,
        publish: Callable[[Event], None],
        may_use_cpu: Callable[[], bool] = lambda: False,
    ) -> None:
        """may_use_cpu: whether a task that a GPU has no memory for may go on on the CPU now."""
        self._queue = queue
        self._files = files
        self._estimates = estimates
        self._monitor = monitor
        self._clock = clock
        self._publish = publish
        self._may_use_cpu = may_use_cpu
        self._live: dict[str, _Live] = {}
        self._busy_periods = BusyPeriods()
        self._load_failures: dict[tuple[str, str], protocol.ModelLoadFailed] = {}  # by device and model
        self._stopping = threading.Event()
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Why results cannot be written at the moment, or None."""
        return self._problem

    def stop(self) -> None:
        """Give up waiting for a full disk or a busy database; what is not recorded is done again after the restart."""
        self._stopping.set()

    def begin(self, task: Task, segment_count: int) -> None:
        audio_done = (task.audio_seconds or 0.0) * task.progress
        new = _Live(task, audio_done, segment_count, self._clock.monotonic(), audio_done)
        token, options = task.lease_token or "", task.options
        kind = (options.model, options.word_timestamps, options.mode)
        self._busy_periods.begin(task.device or "", token, kind, task.audio_seconds or 0.0)
        self._live[token] = new
        if task.attempt == 1 and task.started_at is not None:
            self._monitor.task_started((task.started_at - task.created_at).total_seconds())

    def note_preemption(self, lease_token: str, for_task: str) -> None:
        """The attempt was told to end at its next window, to make way for that task."""
        if (live := self._live.get(lease_token)) is not None:
            live.preempted_by = for_task

    def forget(self, lease_token: str) -> None:
        """The attempt ended without a report. Harmless when it was none."""
        self._pop(lease_token)

    def record(self, device: str, kind: DeviceKind, report: protocol.Report) -> None:
        """Any report; of those that are not about a task it keeps why a model is missing."""
        match report:
            case protocol.ModelLoaded():
                self._load_failures.pop((device, report.model), None)
                self._monitor.model_loaded()
                self._start_counting(device, report.model)
            case protocol.ModelLoadFailed():
                self._load_failures[device, report.model] = report
            case protocol.WindowDone():
                self._window(device, report)
            case protocol.TaskDone():
                self._done(device, kind, report)
            case protocol.TaskFailed() if report.code == DeviceLostError.code:
                # All that ran there say so, and hardly all are why: the worker's end decides what becomes of them.
                log.warning("task=%s event=device_lost detail=%s", report.task_id, report.detail)
            case protocol.TaskFailed():
                self._failed(device, kind, report)
            case protocol.TaskNote():
                self._noted(device, kind, report)
            case protocol.TaskStopped():
                live, _ = self._pop(report.lease_token)
                gave_way_to = live.preempted_by if live else None
                self._until_recorded(
                    lambda: self._queue.requeue(report.task_id, report.lease_token, gave_way_to=gave_way_to)
                )

    def _start_counting(self, device: str, model: str) -> None:
        """Loading is not transcribing: counted in, it would make the first window look slow and forecasts long."""
        now = self._clock.monotonic()
        for live in list(self._live.values()):
            if (live.device, live.model) == (device, model):
                live.measured_at = now

    def _window(self, device: str, report: protocol.WindowDone) -> None:
        live = self._live.get(report.lease_token)
        task = self._until_recorded(lambda: self._queue.save_window(report.task_id, report.lease_token, report.window))
        if task is None or live is None:
            return
        checkpoint = report.window.checkpoint
        audio_done = min(checkpoint.seek, checkpoint.content_frames) / FRAMES_PER_SECOND
        self._monitor.add_audio(audio_done - live.audio_done_seconds, live.model, device)
        self._measure_speed(live, device, audio_done, ends_recording=checkpoint.seek >= checkpoint.content_frames)
        model, audio_left = task.options.model, (task.audio_seconds or audio_done) - audio_done
        self._publish(
            WindowFinished(
                task_id=task.id,
                seq=task.windows_done,
                progress=task.progress,
                audio_done_seconds=audio_done,
                speed=self._monitor.speed(model, device),
                eta_seconds=self._monitor.speeds.running_eta(model, device, audio_left, self._concurrency(device)),
                first_segment=live.segment_count,
                segments=report.window.segments,
            )
        )
        live.audio_done_seconds = audio_done
        live.segment_count += len(report.window.segments)

    def _measure_speed(self, live: _Live, device: str, audio_done: float, *, ends_recording: bool) -> None:
        """Windows that come at once, as chunks do whose turn to be told has come, are measured with those before."""
        now = self._clock.monotonic()
        seconds = now - live.measured_at
        if seconds >= SHORTEST_MEASUREMENT_S:
            audio_seconds = audio_done - live.measured_audio_seconds
            self._monitor.speeds.record(
                live.model, device, audio_seconds, seconds,
                ends_recording=ends_recording, concurrency=self._concurrency(device),
            )  # fmt: skip
            live.measured_at, live.measured_audio_seconds = now, audio_done

    def _concurrency(self, device: str) -> int:
        """How many tasks the device has."""
        return max(1, sum(live.device == device for live in list(self._live.values())))

    def _done(self, device: str, kind: DeviceKind, report: protocol.TaskDone) -> None:
        _, batch = self._pop(report.lease_token)
        transcript = report.transcript

        def complete() -> Task | None:
            if not self._holds(report.task_id, report.lease_token):
                return None
            try:
                result_sha256 = self._files.write_transcript(report.task_id, transcript)
            except FileNotFoundError:  # the task's files were deleted while we wrote
                if self._holds(report.task_id, report.lease_token):
                    raise
                return None
            completed = self._queue.complete(
                report.task_id,
                report.lease_token,
                language=transcript.language,
                text=transcript.text,
                result_sha256=result_sha256,
                peak_bytes=report.peak_bytes,
            )
            if completed is None:  # cancelled or deleted since we looked; nobody else can hold the task yet
                self._files.delete_transcript(report.task_id)
            return completed

        task = self._until_recorded(complete)
        if task is None:
            log.info("task=%s event=late_result_discarded", report.task_id)
            return
        # `vad` spreads one recording over many slots, so its growth is no measure of a task's own.
        if batch is not None and not task.options.is_chunked:
            self._estimates.record(
                task.options.model,
                kind,
                batch,
                word_timestamps=task.options.word_timestamps,
                reserved_bytes=task.estimated_bytes or 0,
                peak_bytes=report.peak_bytes,
                device=device,
            )
        self._files.delete_audio(task.id)
        log.info(
            "task=%s event=transcribed seconds=%.1f audio_seconds=%.1f", task.id, report.seconds, task.audio_seconds
        )

    def _pop(self, lease_token: str) -> tuple[_Live | None, Batch | None]:
        """The attempt is over. What was remembered of it, and what ran with it, where that is of one kind."""
        live = self._live.pop(lease_token, None)
        return live, None if live is None else self._busy_periods.end(live.device or "", lease_token)

    def _holds(self, task_id: str, lease_token: str) -> bool:
        """Whether the report is still the task's own: a late result must not touch the file of another attempt."""
        try:
            return self._queue.get(task_id).lease_token == lease_token
        except TaskNotFoundError:
            return False

    def _noted(self, device: str, kind: DeviceKind, report: protocol.TaskNote) -> None:
        task = self._until_recorded(
            lambda: self._queue.note(report.task_id, report.lease_token, report.code, report.data)
        )
        # What a chunked task was promised is of several windows, so it says nothing of one.
        if task is not None and report.code == MEMORY and not task.options.is_chunked:
            self._learn_from_shortage(device, kind, task)

    def _learn_from_shortage(self, device: str, kind: DeviceKind, task: Task) -> None:
        self._estimates.record_out_of_memory(
            task.options.model,
            kind,
            task.audio_seconds or 0.0,
            word_timestamps=task.options.word_timestamps,
            reserved_bytes=task.estimated_bytes or 0,
            device=device,
        )

    def _failed(self, device: str, kind: DeviceKind, report: protocol.TaskFailed) -> None:
        live, _ = self._pop(report.lease_token)
        # Without its model the worker can only say that it is not there; why, it said when it was to load it.
        cause = self._load_failures.pop((device, live.model), report) if live else report
        error = ErrorInfo(cause.code, cause.message, at=self._clock.now())
        if cause.code == OutOfMemoryError.code:
            self._ran_out_of_memory(device, kind, report, error)
            return
        is_retryable = error_class_of(cause.code).is_retryable
        if report.detail:
            log.warning("task=%s event=attempt_failed code=%s detail=%s", report.task_id, report.code, report.detail)
        task = self._until_recorded(
            lambda: self._queue.fail(report.task_id, report.lease_token, error, is_retryable=is_retryable)
        )
        if task is not None and task.status.is_final:
            self._files.delete_audio(task.id)

    def _ran_out_of_memory(self, device: str, kind: DeviceKind, report: protocol.TaskFailed, error: ErrorInfo) -> None:
        """Not the task's fault, so it is not charged. When loading its model was what failed, nothing is learned of the
        task's own memory."""
        may_move = kind == "cuda" and self._may_use_cpu()
        task = self._until_recorded(
            lambda: self._queue.wait_for_memory(report.task_id, report.lease_token, error, may_move_to_cpu=may_move)
        )
        log.warning("task=%s event=out_of_memory device=%s detail=%s", report.task_id, device, report.detail)
        if task is not None and report.code == OutOfMemoryError.code:
            self._learn_from_shortage(device, kind, task)

    def _until_recorded(self, record: Callable[[], Recorded]) -> Recorded | None:
        """Try until the disk and the database take it; None when the server stops first."""
        tries = 0
        while True:
            try:
                result = record()
            except (DiskFullError, StoreBusyError, DatabaseDamagedError) as error:
                # Damaged is also a database that cannot be opened, for want of descriptors or of permissions.
                self._problem = error.message
                pause = RECORD_PAUSES_S[min(tries, len(RECORD_PAUSES_S) - 1)]
                log.error("event=recording_waits code=%s retry_in_s=%.1f", error.code, pause)
                if self._stopping.wait(pause):
                    return None
                tries += 1
            else:
                self._problem = None
                return result
