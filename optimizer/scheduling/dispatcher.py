"""Starts tasks on devices and ends attempts: always on both sides, the task's row and the device's ledger."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from errors import (
    CANNOT_STORE,
    BadRecordError,
    TaskError,
    TranscriptionServerError,
    WorkerDiedError,
    error_class_of,
)
from optimizer.devices.device import Device
from optimizer.memory.ledger import Reservation
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.planning.assignment import Assignment
from optimizer.queue.changes import ClaimRequest
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.attempts import RunningAttempts
from optimizer.scheduling.inbox import Inbox
from optimizer.scheduling.path import SchedulingPath
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import ErrorInfo, Task

log = logging.getLogger(__name__)


class Dispatcher:
    """Belongs to the scheduler's thread."""

    def __init__(
        self,
        *,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        attempts: RunningAttempts,
        inbox: Inbox,
        path: SchedulingPath,
        monitor: PerformanceMonitor,
        make_samples_again: Callable[[str], None],
    ) -> None:
        """make_samples_again: has those of a waiting task made in the background, and makes it wait for them."""
        self._queue = queue
        self._files = files
        self._attempts = attempts
        self._inbox = inbox
        self._path = path
        self._monitor = monitor
        self._make_samples_again = make_samples_again

    # --- starting a task ---------------------------------------------------------------------------------------

    def start_all(
        self, assignments: Sequence[tuple[Device, Assignment]], on_start: Callable[[Device, Assignment], None]
    ) -> list[bool]:
        """Evict, load and reserve for each, claim them in one transaction, and hand them over. Which were started:
        False where one of these is not possible now. on_start: called for each of those that were.

        A task's memory is reserved only as long as it runs. Raises CANNOT_STORE when the database takes no change, and
        whatever went wrong with a task itself, once the others have been handed over.
        """
        reserved: list[Reservation | None] = []
        with ExitStack() as undo:
            for device, assignment in assignments:
                reserved.append(reservation := self._try_reserve(device, assignment))
                if reservation is not None:
                    undo.enter_context(reservation)
            tasks = self._claim_all(assignments, reserved)
            undo.pop_all()
        started: list[bool] = []
        errors: list[Exception] = []
        for (device, assignment), task, reservation in zip(assignments, tasks, reserved, strict=True):
            started.append(False)
            try:
                started[-1] = self._try_hand_over(device, assignment, task, reservation)
                if started[-1]:
                    on_start(device, assignment)
            except Exception as error:  # noqa: BLE001 - raised below, when the others have what they were claimed for
                errors.append(error)
        if errors:
            raise errors[0]
        return started

    def _claim_all(
        self, assignments: Sequence[tuple[Device, Assignment]], reserved: Sequence[Reservation | None]
    ) -> list[Task | None]:
        """The tasks under new lease tokens; None for one without a reservation, or cancelled or deleted meanwhile."""
        claims = [_claim_of(*each) for each, reservation in zip(assignments, reserved, strict=True) if reservation]
        claimed = iter(self._queue.claim_all(claims) if claims else ())
        return [next(claimed) if reservation else None for reservation in reserved]

    def _try_reserve(self, device: Device, assignment: Assignment) -> Reservation | None:
        """Its memory, once everything else that it needs is there; None where that is not possible now."""
        try:
            if not self._evict(device, assignment) or not self._load(device, assignment):
                return None
        except WorkerDiedError:
            log.warning("task=%s event=not_started device=%s is gone", assignment.task_id, device.spec.name)
            return None
        return self._reserve(device, assignment) if self._has_samples(assignment.task_id) else None

    def _try_hand_over(
        self, device: Device, assignment: Assignment, task: Task | None, reservation: Reservation | None
    ) -> bool:
        """Gives the reservation back unless the device takes the task with it."""
        if reservation is None:
            return False
        with ExitStack() as undo:
            undo.enter_context(reservation)
            if task is None or not self._still_has_samples(task):
                return False
            try:
                self._hand_over(device, task, reservation, assignment.windows_at_once)
            except WorkerDiedError:
                log.warning("task=%s event=not_started device=%s is gone", assignment.task_id, device.spec.name)
                return False
            undo.pop_all()  # from now on the device holds the reservation
        return True

    def _evict(self, device: Device, assignment: Assignment) -> bool:
        """Whether nothing is being evicted any more: memory is free only once the worker says so.

        That report brings the next decision.
        """
        for model in assignment.evict:
            log.info("model=%s event=evicted device=%s", model, device.spec.name)
            device.models.evict(model)
        return not device.models.is_evicting

    def _load(self, device: Device, assignment: Assignment) -> bool:
        """Whether the task's model is loaded or being loaded. The first of several tasks has it loaded for them all."""
        if assignment.model in device.models:
            return True
        return assignment.weights_bytes > 0 and device.models.load(
            assignment.model,
            self._bytes_to_reserve(assignment.weights_bytes),
            assignment.slots,
            respects_others=not assignment.is_forced,
        )

    def _has_samples(self, task_id: str) -> bool:
        """Samples that were removed under the task are made again, as long as its upload is there."""
        if self._files.has_audio(task_id):
            return True
        log.warning("task=%s event=samples_missing", task_id)
        self._make_samples_again(task_id)
        return False

    def _reserve(self, device: Device, assignment: Assignment) -> Reservation | None:
        return device.pool.try_reserve(
            assignment.task_id,
            self._bytes_to_reserve(assignment.task_bytes),
            respects_others=not assignment.is_forced,
        )

    def _bytes_to_reserve(self, nbytes: int) -> int:
        """The plain path reserves nothing: it runs one task, whatever that needs."""
        return nbytes if self._path.is_optimized() else 0

    def _still_has_samples(self, task: Task) -> bool:
        """Whether they were not removed before the task was claimed; from then on nobody removes them."""
        if self._files.has_audio(task.id):
            return True
        self.end_attempt(task, None, is_charged=False)
        return self._has_samples(task.id)

    def _hand_over(self, device: Device, task: Task, reservation: Reservation, windows_at_once: int) -> None:
        """Send a claimed task to the worker. Whatever prevents that is raised, after the attempt was ended."""
        seed = zlib.crc32(task.id.encode())  # the task's own, so that it is the same after a restart
        try:
            windows = self._queue.windows(task.id) if task.windows_done else []
            self._attempts.track(task, sum(len(window.segments) for window in windows))
            if task.attempt == 1 and task.started_at is not None:
                self._monitor.task_started((task.started_at - task.created_at).total_seconds())
            device.run(task, reservation, self._files.audio_path(task.id), windows, seed, windows_at_once)
        except (WorkerDiedError, *CANNOT_STORE):
            self.end_attempt(task, None, is_charged=False)
            raise
        except Exception as error:  # most likely the task's own fault, so it is not tried without end
            known = error if isinstance(error, BadRecordError) else TaskError()
            self.end_attempt(task, ErrorInfo(known.code, known.message), is_charged=True)
            raise
        log.info(
            "task=%s event=handed_over device=%s model=%s attempt=%d after_windows=%d reserved_mb=%.0f",
            task.id, device.spec.name, task.options.model, task.attempt, len(windows), reservation.nbytes / 1e6,
        )  # fmt: skip

    # --- ending an attempt that no worker has any more ---------------------------------------------------------

    def end_attempt(self, task: Task, error: ErrorInfo | None, *, is_charged: bool) -> None:
        """Tries again until the database takes it, because the row must not stay `processing`. Raises CANNOT_STORE."""
        token = task.lease_token or ""
        self._attempts.untrack(token)
        try:
            if error is None or not is_charged:
                self._queue.requeue(task.id, token, error)
            else:
                is_retryable = error_class_of(error.code).is_retryable
                ended = self._queue.fail(task.id, token, error, is_retryable=is_retryable)
                if ended is not None and ended.status.is_final:
                    self._files.delete_audio(task.id)
        except CANNOT_STORE:
            self._inbox.post(partial(self.end_attempt, task, error, is_charged=is_charged))
            raise

    def requeue_at_stop(self, task: Task) -> None:
        """Tries once: the next start repairs what cannot be stored now."""
        try:
            if self._queue.requeue(task.id, task.lease_token or "") is not None:
                log.info("task=%s event=requeued", task.id)
        except TranscriptionServerError as error:
            log.error("task=%s event=requeue_failed code=%s", task.id, error.code)


def _claim_of(device: Device, assignment: Assignment) -> ClaimRequest:
    note = {"reason": assignment.why.value, "passed": assignment.passed}
    return ClaimRequest(assignment.task_id, device.spec.name, assignment.task_bytes, note)
