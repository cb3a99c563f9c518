"""A task's life as pure functions: from the task before and what happened to the task after. Which of them applies when
is decided in `queue/changes`.

    pending -> processing -> completed | failed | cancelled
                  |  ^
                  v  | (after the delay, as pending)
               retrying
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from errors import DeviceLostError, PoisonTaskError, WorkerDiedError
from optimizer.common.kinds import CPU_DEVICE
from optimizer.tasks.task import ErrorInfo, Task, TaskMemory, TaskStatus
from whisper_core.text.transcript import WindowResult

MAX_INTERRUPTS = 3
INTERRUPTS_WITHIN = timedelta(hours=1)  # of each other; what lies further apart does not add up
INTERRUPTED_CODE = "interrupted"  # the server died while the task ran
DEATH_CODES = frozenset({INTERRUPTED_CODE, WorkerDiedError.code, DeviceLostError.code})
MAX_KEPT_IN_A_ROW = 20  # errors of what a task waits for, which may recur for days; the timeline keeps all of them


def claimed(task: Task, *, device: str, estimated_bytes: int, owner: str, token: str, now: datetime) -> Task:
    return task.with_(
        status=TaskStatus.PROCESSING,
        attempt=task.attempt + 1,
        device=device,
        estimated_bytes=estimated_bytes,
        predicted_bytes=None,
        reserved_bytes=None,
        measured_bytes=None,
        lease_token=token,
        lease_owner=owner,
        arranged=None,
        started_at=now,
    )


def window_saved(task: Task, window: WindowResult) -> Task:
    checkpoint = window.checkpoint
    # A task that gets further is not what stops the server or its worker, so only deaths at the same window add up.
    return task.with_(
        windows_done=window.index + 1,
        progress=checkpoint.progress,
        language=checkpoint.language,
        interrupts=0,
    )


def completed(
    task: Task,
    *,
    language: str,
    is_silent: bool = False,
    result_sha256: str,
    memory: TaskMemory,
    now: datetime,
    problem: ErrorInfo | None = None,
) -> Task:
    """problem: why something that was wanted besides the text is missing."""
    return _released(
        task if problem is None else _with_error(task, problem, now),
        status=TaskStatus.COMPLETED,
        progress=1.0,
        language=language,
        is_silent=is_silent,
        result_sha256=result_sha256,
        predicted_bytes=memory.predicted,
        reserved_bytes=memory.reserved,
        measured_bytes=memory.measured,
        finished_at=now,
    )


def failed(task: Task, error: ErrorInfo, now: datetime) -> Task:
    return _released(_with_error(task, error, now), status=TaskStatus.FAILED, finished_at=now)


def sent_to_the_back(task: Task, error: ErrorInfo, *, seq: int, delay_s: float, now: datetime) -> Task:
    """After a failed attempt. delay_s: the shortest wait. Its windows are kept, and the next attempt resumes there."""
    retrying = _released(_with_error(task, error, now), status=TaskStatus.RETRYING, seq=seq)
    return retrying.with_(not_before=now + timedelta(seconds=delay_s))


def delay_ended(task: Task) -> Task:
    return task.with_(status=TaskStatus.PENDING, not_before=None)


def requeued(task: Task, error: ErrorInfo | None, now: datetime) -> Task:
    """Pending again in its old place, the attempt not charged."""
    task = task if error is None else _with_error(task, error, now)
    return _released(task.with_(free_attempts=task.free_attempts + 1), status=TaskStatus.PENDING)


def counted(task: Task, now: datetime) -> Task:
    """The server or its worker died, and only this task can have caused it. Before the error is added."""
    latest = next((error.at for error in reversed(task.errors) if error.code in DEATH_CODES), None)
    is_recent = latest is not None and now - latest <= INTERRUPTS_WITHIN
    return task.with_(interrupts=task.interrupts + 1 if is_recent else 1)


def is_poison(task: Task) -> bool:
    """Whether so many deaths in a row were counted against the task that it must not run again."""
    return task.interrupts >= MAX_INTERRUPTS


def is_at_last_try(task: Task) -> bool:
    """Whether a running task fails for good if its worker dies now without a window more."""
    return task.interrupts >= MAX_INTERRUPTS - 1 or not task.has_attempts_left


def failed_as_poison(task: Task, error: ErrorInfo, now: datetime) -> Task:
    """error: of the last death."""
    task = _with_error(task, error, now).with_(free_attempts=task.free_attempts + 1)
    return failed(task, ErrorInfo(PoisonTaskError.code, PoisonTaskError.default_message), now)


def is_suspect(task: Task) -> bool:
    """Whether a death ended the task's latest attempt. It may have caused that, unless it finishes a window now."""
    latest = task.errors[-1] if task.errors else None
    return latest is not None and latest.code in DEATH_CODES and latest.attempt == task.attempt > 0


def times_in_a_row(task: Task, code: str) -> int:
    """Attempts in a row that ended with this error, including the running one, which is about to."""
    count, attempt = 1, task.attempt
    for error in reversed(task.errors):
        if error.code != code or error.attempt >= attempt:  # the latter: before it was started over
            break
        count, attempt = count + 1, error.attempt
    return count


def waits(task: Task, error: ErrorInfo, *, delay_s: float, now: datetime) -> Task:
    """Retrying in its old place, the attempt not charged: memory or the model's weights were missing. delay_s: the
    shortest wait."""
    retrying = _released(_without_fault(task, error, now), status=TaskStatus.RETRYING)
    return retrying.with_(not_before=now + timedelta(seconds=delay_s))


def moved_to_cpu(task: Task, error: ErrorInfo, now: datetime) -> Task:
    """Pending in its old place, the attempt not charged; from now on it asks for the CPU."""
    moved = _without_fault(task, error, now)
    return _released(moved, status=TaskStatus.PENDING, requested_device=CPU_DEVICE)


def cancelled(task: Task, now: datetime) -> Task:
    return _released(task, status=TaskStatus.CANCELLED, finished_at=now)


def started_over(task: Task, *, seq: int) -> Task:
    """As if it had just been submitted, but its errors stay. Its samples were removed when it ended, so it is prepared
    again."""
    return replace(
        task,
        status=TaskStatus.PENDING,
        seq=seq,
        attempt=0,
        interrupts=0,
        free_attempts=0,
        windows_done=0,
        progress=0.0,
        audio_seconds=None,
        is_truncated=False,
        declared_seconds=None,
        tracks=(),
        late_seconds=None,
        language=None,
        device=None,
        estimated_bytes=None,
        predicted_bytes=None,
        reserved_bytes=None,
        measured_bytes=None,
        arranged=None,
        started_at=None,
        finished_at=None,
    )


def _released(task: Task, **changes: object) -> Task:
    return task.with_(lease_token=None, lease_owner=None, not_before=None, **changes)


def _without_fault(task: Task, error: ErrorInfo, now: datetime) -> Task:
    is_kept = times_in_a_row(task, error.code) <= MAX_KEPT_IN_A_ROW
    return (_with_error(task, error, now) if is_kept else task).with_(free_attempts=task.free_attempts + 1)


def _with_error(task: Task, error: ErrorInfo, now: datetime) -> Task:
    return task.with_(errors=(*task.errors, replace(error, at=error.at or now, attempt=task.attempt)))
