"""Makes durable what workers report of their tasks: all that came together in one transaction.

Runs on the threads `device-<name>`, so a slow disk holds up that device's reports and nothing else. Everything is
fenced by the lease token: a report of an attempt that no longer holds the task changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from errors import (
    DeviceLostError,
    ModelUnavailableError,
    OutOfMemoryError,
    SpeakersUnknownError,
    UnknownModelError,
    error_class_of,
)
from optimizer.common.clock import Clock
from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.queue.changes import (
    AddAttemptEvent,
    Change,
    Complete,
    Fail,
    RequestedChange,
    Requeue,
    SaveWindow,
    WaitForMemory,
    WaitForModel,
)
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.attempts import AttemptReport, RunningAttempt
from optimizer.scheduling.storage_retry import StorageRetry
from optimizer.storage.search_index import sentences_of
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import ErrorInfo, Task, TaskMemory
from whisper_core.text.transcript import Transcript
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)

_OF_ATTEMPTS = (
    protocol.WindowDone,
    protocol.TaskNote,
    protocol.TaskDone,
    protocol.TaskFailed,
    protocol.TaskStopped,
)
_Tasks = list[Task | None]


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

    def record_reports(
        self, device: DeviceSpec, reports: Sequence[AttemptReport]
    ) -> Iterator[tuple[AttemptReport, Task | None]]:
        """Each once it is durable, in order, with its task as it left it. What came together is stored together.

        Nobody has been told of the changes: that is for the caller, so that everybody hears of them in their order.
        None for a report that changes no task: it is not about one, or its attempt no longer holds the task, or the
        server stops before the disk takes it.
        """
        try:
            tasks = self._record(device, reports)
        except Exception:
            if len(reports) == 1:
                raise
            log.exception("event=recording_one_by_one device=%s", device.name)
        else:
            yield from zip(reports, tasks, strict=True)
            return
        # Nothing of it was stored. One by one, so that what is wrong with a report stays with that one.
        for each in reports:
            yield each, self._record(device, [each])[0]

    def _record(self, device: DeviceSpec, reports: Sequence[AttemptReport]) -> list[Task | None]:
        wanted = [self._change_of(device, each) for each in reports]
        tasks = self._storage.until_stored(lambda: self._store(reports, wanted)) or [None] * len(reports)
        for each, task in zip(reports, tasks, strict=True):
            self._tidy_up(each.report, task)
        return tasks

    def _change_of(self, device: DeviceSpec, reported: AttemptReport) -> Change | TaskMemory | None:
        """What becomes of the report's task; of a transcript only the memory that it took, since the change needs its
        file. None when it changes no task."""
        report, attempt = reported.report, reported.attempt
        match report:
            case protocol.ModelLoaded():
                self._load_failures.pop((device.name, report.model), None)
            case protocol.ModelLoadFailed():
                self._load_failures[device.name, report.model] = report
            case protocol.WindowDone():
                return SaveWindow(report.window)
            case protocol.TaskNote():
                return AddAttemptEvent(report.code, report.data)
            case protocol.TaskDone():
                return self._memory_of(device, report, attempt)
            case protocol.TaskFailed():
                return self._failure_of(device, report, attempt)
            case protocol.TaskStopped():
                return Requeue(preempted_by=attempt.preempted_by if attempt else None)
        return None

    def _store(self, reports: Sequence[AttemptReport], wanted: Sequence[Change | TaskMemory | None]) -> _Tasks:
        """First the transcripts' files, then the rows, which say that they are there."""
        dones = [each.report for each in reports if isinstance(each.report, protocol.TaskDone)]
        written = self._write_transcripts(dones) if dones else {}
        requested = {}
        for index, (each, change) in enumerate(zip(reports, wanted, strict=True)):
            report = each.report
            if isinstance(report, protocol.TaskDone) and isinstance(change, TaskMemory):
                sha256, transcript = written.get(report.attempt_id), report.transcript
                problem = _speakers_problem(report, each.attempt)
                change = _completed(transcript, sha256, change, problem) if sha256 else None
            if isinstance(report, _OF_ATTEMPTS) and change is not None and not isinstance(change, TaskMemory):
                requested[index] = RequestedChange(
                    report.task_id, change, held_by=report.attempt_id, is_announced=False
                )
        tasks: _Tasks = [None] * len(reports)
        if requested:
            for index, task in zip(requested, self._queue.record(list(requested.values())), strict=True):
                tasks[index] = task
        for done, task in ((each.report, task) for each, task in zip(reports, tasks, strict=True)):
            if task is None and isinstance(done, protocol.TaskDone) and done.attempt_id in written:
                # Cancelled or deleted since we looked; nobody else can hold the task yet.
                self._files.delete_transcript(done.task_id)
        return tasks

    def _write_transcripts(self, dones: Sequence[protocol.TaskDone]) -> dict[str, str]:
        """The files' sha256, by attempt. Only of attempts that still hold their task: a late result must not touch the
        file of another attempt."""
        held = self._queue.held_attempts((done.task_id, done.attempt_id) for done in dones)
        writing = {done.task_id: done for done in dones if (done.task_id, done.attempt_id) in held}
        sha256s = self._files.write_transcripts({task_id: done.transcript for task_id, done in writing.items()})
        lost = [(task_id, done.attempt_id) for task_id, done in writing.items() if task_id not in sha256s]
        if lost and self._queue.held_attempts(lost):  # else the task's files were deleted while we wrote
            raise FileNotFoundError("a transcript that was just written is gone")
        return {writing[task_id].attempt_id: sha256 for task_id, sha256 in sha256s.items()}

    def _tidy_up(self, report: protocol.Report, task: Task | None) -> None:
        match report:
            case protocol.TaskDone() if task is None:
                log.info("task=%s event=late_result_discarded", report.task_id)
            case protocol.TaskDone() if task is not None:
                self._files.delete_audio(task.id)
                log.info(
                    "task=%s event=transcribed seconds=%.1f audio_seconds=%.1f",
                    task.id, report.seconds, task.audio_seconds,
                )  # fmt: skip
            case protocol.TaskFailed() if task is not None and task.status.is_final:
                self._files.delete_audio(task.id)

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
        return memory if options.is_plain else replace(memory, predicted=None)

    def _failure_of(
        self, device: DeviceSpec, report: protocol.TaskFailed, attempt: RunningAttempt | None
    ) -> Change | None:
        if report.code == DeviceLostError.code:
            # Every task of the worker reports this, and most are not the cause: the worker's exit decides about them.
            log.warning("task=%s event=device_lost detail=%s", report.task_id, report.detail)
            return None
        # Without its model the worker can only say that it is missing; it said why when it was to load it.
        cause = self._load_failures.get((device.name, attempt.model), report) if attempt else report
        error, retry_delay_s = ErrorInfo(cause.code, cause.message, at=self._clock.now()), self._queue.retry_delay_s
        if cause.code == OutOfMemoryError.code:  # not the task's fault, so it is not charged
            log.warning("task=%s event=out_of_memory device=%s detail=%s", report.task_id, device.name, report.detail)
            return WaitForMemory(error, device.kind == "cuda" and self._may_move_to_cpu(), retry_delay_s)
        # A model is unknown to a worker once the folder that somebody brought is gone.
        if issubclass(error_class_of(cause.code), ModelUnavailableError | UnknownModelError):
            return WaitForModel(error, retry_delay_s)
        if report.detail:
            log.warning("task=%s event=attempt_failed code=%s detail=%s", report.task_id, report.code, report.detail)
        return Fail(error, error_class_of(cause.code).is_retryable, retry_delay_s)


def _completed(transcript: Transcript, sha256: str, memory: TaskMemory, problem: ErrorInfo | None) -> Complete:
    sentences = sentences_of(transcript.segments)
    return Complete(transcript.language, transcript.text, sha256, memory, sentences, problem)


def _speakers_problem(report: protocol.TaskDone, attempt: RunningAttempt | None) -> ErrorInfo | None:
    """Why it is not known who speaks, where that was wanted."""
    if report.transcript.turns is not None or attempt is None or not attempt.task.options.speakers:
        return None
    reason = report.speakers_problem or "The device's process ended each time that this was tried."
    return ErrorInfo(SpeakersUnknownError.code, f"{SpeakersUnknownError.default_message} {reason}")
