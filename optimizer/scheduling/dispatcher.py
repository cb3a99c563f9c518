"""Carries out what the policy decided for one task, and ends attempts: always both sides, the row and the ledger.

Belongs to the scheduler's thread.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from errors import (
    BadRecordError,
    DatabaseDamagedError,
    TaskError,
    TaskNotFoundError,
    TranscriptionServerError,
    UnavailableError,
    WorkerDiedError,
    error_class_of,
)
from optimizer.devices.device import Device
from optimizer.memory.ledger import Reservation
from optimizer.planning.device_plan import Assignment
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.result_recorder import TaskRecorder
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks import timeline
from optimizer.tasks.task import ErrorInfo, Task
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)

Action = Callable[[], None]
CANNOT_STORE = (UnavailableError, DatabaseDamagedError)  # the latter also says that a file could not be opened


class Dispatcher:
    def __init__(
        self,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        recorder: TaskRecorder,
        *,
        reserves_memory: bool,
        prepare: Callable[[str], None],
        post: Callable[[Action], None],
    ) -> None:
        """reserves_memory: False on the plain path. prepare: has a task's samples made in the background.
        post: runs an action later, on this same thread."""
        self._queue = queue
        self._files = files
        self._recorder = recorder
        self._reserves_memory = reserves_memory
        self._prepare = prepare
        self._post = post

    def carry_out(self, device: Device, assignment: Assignment) -> bool:
        """Evict, load, reserve, claim and hand over, as far as it goes now. Whether the task was started."""
        try:
            for model in assignment.evict:
                log.info("model=%s event=evicted device=%s", model, device.spec.name)
                device.evict(model)
            # What is evicted is free only when the worker says so; that report brings the next decision.
            if not device.evicting and self._is_resident(device, assignment):
                return self._start(device, assignment)
        except WorkerDiedError:
            log.warning("task=%s event=not_started device=%s is gone", assignment.task_id, device.spec.name)
        return False

    def _is_resident(self, device: Device, assignment: Assignment) -> bool:
        """Whether the task's model is loaded or being loaded, after having it loaded when that is this task's to do."""
        if assignment.model in device.resident:
            return True
        return assignment.weights_bytes > 0 and device.load(
            assignment.model,
            self._promise(assignment.weights_bytes),
            respects_others=not assignment.is_forced,
        )

    def _promise(self, nbytes: int) -> int:
        """The plain path reserves nothing: it runs one task, whatever that needs."""
        return nbytes if self._reserves_memory else 0

    def _start(self, device: Device, assignment: Assignment) -> bool:
        """Reserve, claim, hand over; whether that went well. Otherwise nothing stays promised, and no task running."""
        if not self._files.has_audio(assignment.task_id):
            self._prepare_again(assignment.task_id)
            return False
        reservation = device.pool.try_reserve(
            assignment.task_id, self._promise(assignment.task_bytes), respects_others=not assignment.is_forced
        )
        if reservation is None:
            return False
        is_handed_over = False
        try:
            note = {"reason": assignment.why.value, "passed": assignment.passed}
            task = self._queue.claim(assignment.task_id, device.spec.name, assignment.task_bytes, note)
            if task is not None:
                self._hand_over(device, task, reservation, assignment.windows_at_once)
                is_handed_over = True
        finally:
            if not is_handed_over:
                reservation.release()
        return is_handed_over

    def _prepare_again(self, task_id: str) -> None:
        """The samples were removed under the task; they can be made again as long as its upload is there."""
        log.warning("task=%s event=samples_missing", task_id)
        if self._queue.mark_unprepared(task_id) is not None:
            self._prepare(task_id)

    def _hand_over(self, device: Device, task: Task, reservation: Reservation, windows_at_once: int) -> None:
        """Give a claimed task to the worker. What prevents it is raised, after the attempt was ended."""
        seed = zlib.crc32(task.id.encode())  # the task's own, also after a restart
        try:
            windows = self._queue.windows(task.id)
            self._recorder.begin(task, sum(len(window.segments) for window in windows))
            device.run(task, reservation, self._files.audio_path(task.id), windows, seed, windows_at_once)
        except (WorkerDiedError, *CANNOT_STORE):
            self.end_attempt(task, None, is_charged=False)
            raise
        except Exception as error:  # its own fault, most likely: not without end
            known = error if isinstance(error, BadRecordError) else TaskError()
            self.end_attempt(task, ErrorInfo(known.code, known.message), is_charged=True)
            raise
        log.info(
            "task=%s event=handed_over device=%s model=%s attempt=%d after_windows=%d reserved_mb=%.0f",
            task.id, device.spec.name, task.options.model, task.attempt, len(windows), reservation.nbytes / 1e6,
        )  # fmt: skip

    def make_room(self, device: Device, report: protocol.TaskFailed | protocol.ModelLoadFailed) -> list[str]:
        """Evict what idles on a device that ran out of memory; the models. report: what said so, already heard."""
        used = {running.task.options.model for running in device.running.values()}
        if isinstance(report, protocol.ModelLoadFailed):
            short = [each.task.id for each in device.running.values() if each.task.options.model == report.model]
        else:
            short = [report.task_id]
            with suppress(TaskNotFoundError):
                used.add(self._queue.get(report.task_id).options.model)
        evicted = sorted(device.loaded - device.evicting - used)
        try:
            for model in evicted:
                log.warning("model=%s event=evicted device=%s: out of memory", model, device.spec.name)
                device.evict(model)
        except WorkerDiedError:
            log.warning("event=no_room_made device=%s is gone", device.spec.name)
            return []
        for task_id in short:
            for model in evicted:
                self._queue.add_event(task_id, timeline.MEMORY, step="model_evicted", model=model)
        return evicted

    def end_attempt(self, task: Task, error: ErrorInfo | None, *, is_charged: bool) -> None:
        """No worker has the task any more. Tries until the database takes it: the row must not stay `processing`."""
        token = task.lease_token or ""
        self._recorder.forget(token)
        try:
            if error is None or not is_charged:
                self._queue.requeue(task.id, token, error)
            else:
                is_retryable = error_class_of(error.code).is_retryable
                ended = self._queue.fail(task.id, token, error, is_retryable=is_retryable)
                if ended is not None and ended.status.is_final:
                    self._files.delete_audio(task.id)
        except CANNOT_STORE:
            self._post(partial(self.end_attempt, task, error, is_charged=is_charged))
            raise

    def requeue(self, task: Task) -> None:
        """For the stop: one try, because the next start puts right what cannot be stored now."""
        try:
            if self._queue.requeue(task.id, task.lease_token or "") is not None:
                log.info("task=%s event=requeued", task.id)
        except TranscriptionServerError as error:
            log.error("task=%s event=requeue_failed code=%s", task.id, error.code)
