"""Makes durable what workers report of their tasks.

Runs on the threads `device-<name>`, so a slow disk holds up that device's reports and nothing else. Everything is
fenced by the lease token: a report of an attempt that no longer holds the task changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from errors import DeviceLostError, ModelUnavailableError, OutOfMemoryError, TaskNotFoundError, error_class_of
from optimizer.common.clock import Clock
from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.attempts import RunningAttempt
from optimizer.scheduling.storage_retry import StorageRetry
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import ErrorInfo, Task, TaskMemory
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)


class ResultRecorder:
    """Any thread; the reports of one device one after another."""

    def __init__(
        self,
        *,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        storage_retry: StorageRetry,
        clock: Clock,
        estimates: MemoryEstimationPool,
        may_move_to_cpu: Callable[[], bool],
    ) -> None:
        """may_move_to_cpu: whether a task that a GPU has no memory for may go to the CPU now."""
        self._queue = queue
        self._files = files
        self._storage = storage_retry
        self._clock = clock
        self._estimates = estimates
        self._may_move_to_cpu = may_move_to_cpu
        self._load_failures: dict[tuple[str, str], protocol.ModelLoadFailed] = {}  # by device and model

    def record_report(self, device: DeviceSpec, report: protocol.Report, attempt: RunningAttempt | None) -> Task | None:
        """Returns once the report is durable: its task as it then is.

        None when it changes no task: it is not about one, or its attempt no longer holds the task, or the server stops
        before the disk takes it. attempt: the one that the report is about, where it is known.
        """
        match report:
            case protocol.ModelLoaded():
                self._load_failures.pop((device.name, report.model), None)
            case protocol.ModelLoadFailed():
                self._load_failures[device.name, report.model] = report
            case protocol.WindowDone():
                return self._storage.until_stored(
                    lambda: self._queue.save_window(report.task_id, report.attempt_id, report.window)
                )
            case protocol.TaskNote():
                return self._storage.until_stored(
                    lambda: self._queue.add_attempt_event(report.task_id, report.attempt_id, report.code, report.data)
                )
            case protocol.TaskDone():
                return self._record_done(report, self._memory_of(device, report, attempt))
            case protocol.TaskFailed():
                return self._record_failure(device, report, attempt)
            case protocol.TaskStopped():
                preempted_by = attempt.preempted_by if attempt else None
                return self._storage.until_stored(
                    lambda: self._queue.requeue(report.task_id, report.attempt_id, preempted_by=preempted_by)
                )
        return None

    # --- a transcript ------------------------------------------------------------------------------------------

    def _record_done(self, report: protocol.TaskDone, memory: TaskMemory) -> Task | None:
        task = self._storage.until_stored(lambda: self._complete(report, memory))
        if task is None:
            log.info("task=%s event=late_result_discarded", report.task_id)
            return None
        self._files.delete_audio(task.id)
        log.info(
            "task=%s event=transcribed seconds=%.1f audio_seconds=%.1f", task.id, report.seconds, task.audio_seconds
        )
        return task

    def _complete(self, report: protocol.TaskDone, memory: TaskMemory) -> Task | None:
        """First the file, then the row that says that it is there."""
        if not self._holds(report):
            return None
        transcript = report.transcript
        try:
            result_sha256 = self._files.write_transcript(report.task_id, transcript)
        except FileNotFoundError:  # the task's files were deleted while we wrote
            if self._holds(report):
                raise
            return None
        completed = self._queue.complete(
            report.task_id,
            report.attempt_id,
            language=transcript.language,
            text=transcript.text,
            result_sha256=result_sha256,
            memory=memory,
        )
        if completed is None:  # cancelled or deleted since we looked; nobody else can hold the task yet
            self._files.delete_transcript(report.task_id)
        return completed

    def _memory_of(self, device: DeviceSpec, report: protocol.TaskDone, attempt: RunningAttempt | None) -> TaskMemory:
        if attempt is None or attempt.ran_together is None or report.peak_bytes <= 0:
            return TaskMemory(measured=report.peak_bytes if report.peak_bytes > 0 else None)
        options = attempt.task.options
        memory = self._estimates.memory_of(
            options.model,
            device.kind,
            attempt.ran_together,
            peak_bytes=report.peak_bytes,
            reserved_bytes=attempt.ran_together.reserved_each or attempt.task.estimated_bytes or 0,
            word_timestamps=options.word_timestamps,
            device=device.name,
        )
        return replace(memory, predicted=None) if options.is_chunked else memory

    def _holds(self, report: protocol.TaskDone) -> bool:
        """Whether the attempt still holds the task: a late result must not touch the file of another attempt."""
        try:
            return self._queue.get(report.task_id).lease_token == report.attempt_id
        except TaskNotFoundError:
            return False

    # --- a failure ---------------------------------------------------------------------------------------------

    def _record_failure(
        self, device: DeviceSpec, report: protocol.TaskFailed, attempt: RunningAttempt | None
    ) -> Task | None:
        if report.code == DeviceLostError.code:
            # Every task of the worker reports this, and most are not the cause: the worker's exit decides about them.
            log.warning("task=%s event=device_lost detail=%s", report.task_id, report.detail)
            return None
        # Without its model the worker can only say that it is missing; it said why when it was to load it.
        cause = self._load_failures.get((device.name, attempt.model), report) if attempt else report
        error = ErrorInfo(cause.code, cause.message, at=self._clock.now())
        if cause.code == OutOfMemoryError.code:
            return self._record_out_of_memory(device, report, error)
        if issubclass(error_class_of(cause.code), ModelUnavailableError):
            return self._storage.until_stored(
                lambda: self._queue.wait_for_model(report.task_id, report.attempt_id, error)
            )
        if report.detail:
            log.warning("task=%s event=attempt_failed code=%s detail=%s", report.task_id, report.code, report.detail)
        is_retryable = error_class_of(cause.code).is_retryable
        task = self._storage.until_stored(
            lambda: self._queue.fail(report.task_id, report.attempt_id, error, is_retryable=is_retryable)
        )
        if task is not None and task.status.is_final:
            self._files.delete_audio(task.id)
        return task

    def _record_out_of_memory(self, device: DeviceSpec, report: protocol.TaskFailed, error: ErrorInfo) -> Task | None:
        """Not the task's fault, so it is not charged."""
        log.warning("task=%s event=out_of_memory device=%s detail=%s", report.task_id, device.name, report.detail)
        may_move = device.kind == "cuda" and self._may_move_to_cpu()
        return self._storage.until_stored(
            lambda: self._queue.wait_for_memory(report.task_id, report.attempt_id, error, may_move_to_cpu=may_move)
        )
