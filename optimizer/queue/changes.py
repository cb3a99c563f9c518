"""Everything that can happen to a task, a class for each: what was asked for, and what the task becomes.

`transactions` opens the transaction, locks the row and calls `apply`, which may write through `rows`. It returns

- the saved task when the change was made,
- the very task it was given when there was nothing to change,
- None when the change does not apply any more.

Whatever `apply` raises rolls the transaction back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from errors import AlreadyFinishedError, ConflictError, IdempotencyMismatchError
from optimizer.common.kinds import AUTO_DEVICE, CPU_DEVICE
from optimizer.storage.repository import TaskReader, TaskWriter
from optimizer.tasks import timeline, transitions
from optimizer.tasks.search_hit import Sentence
from optimizer.tasks.task import ErrorInfo, NewTask, Priority, Task, TaskMemory, TaskStatus
from whisper_core.audio.tracks import SoundTrack
from whisper_core.text.options import NO_CLIP
from whisper_core.text.transcript import WindowResult

MOVES_TO_CPU_AFTER = 2  # attempts in a row for which a GPU had no memory


class Change(Protocol):
    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None: ...


@dataclass(frozen=True)
class RequestedChange:
    """One of several that are made together."""

    task_id: str
    change: Change
    held_by: str | None = None  # a lease token: nothing is changed unless the task runs under it
    is_announced: bool = True  # whether the listener is told

    @classmethod
    def of_attempt(cls, task_id: str, lease_token: str, change: Change) -> RequestedChange:
        """A saved window is not announced, because the task's state stays the same."""
        return cls(task_id, change, held_by=lease_token, is_announced=not isinstance(change, SaveWindow))


# Submission and preparation


def find_earlier(rows: TaskReader, new: NewTask) -> Task | None:
    """The task that its owner submitted earlier with the key of `new`, if any. Raises IdempotencyMismatchError when the
    key came with another file or other options."""
    if new.idempotency_key is None:
        return None
    task = rows.find_by_key(new.owner, new.idempotency_key)
    if task is None:
        return None
    requested_devices = {task.requested_device}
    if task.requested_device == CPU_DEVICE:
        requested_devices.add(AUTO_DEVICE)  # it may have moved there for lack of memory, or its model is for CPUs only
    if (task.sha256, task.options) != (new.sha256, new.options) or new.requested_device not in requested_devices:
        raise IdempotencyMismatchError()
    return task


@dataclass(frozen=True)
class MarkPrepared:
    audio_seconds: float
    is_truncated: bool = False
    declared_seconds: float | None = None
    tracks: tuple[SoundTrack, ...] = ()
    late_seconds: float | None = None

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        if not task.status.is_waiting:
            return None
        rows.add_event(task.id, timeline.DECODED, timeline.decoded_data(self.audio_seconds, self.is_truncated), now)
        read: dict[str, object] = {"audio_seconds": self.audio_seconds, "is_truncated": self.is_truncated}
        read |= {"declared_seconds": self.declared_seconds, "tracks": self.tracks, "late_seconds": self.late_seconds}
        return rows.save(task, task.with_(**read))


@dataclass(frozen=True)
class DropSamples:
    """Removes a waiting task's samples while its row is locked, so that it does not start meanwhile."""

    remove: Callable[[], None]

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        if not task.status.is_waiting:
            return None
        self.remove()
        return task


@dataclass(frozen=True)
class FailPreparation:
    error: ErrorInfo

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        if not task.status.is_waiting:
            return None
        rows.add_event(task.id, timeline.FAILED, timeline.error_data(self.error), now)
        return rows.save(task, transitions.failed(task, self.error, now))


class EndDelay:
    """A retrying task whose delay is over is pending again."""

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        if task.status is not TaskStatus.RETRYING:
            return None
        return rows.save(task, transitions.delay_ended(task))


# A running attempt. All but Claim are made only while the caller's lease token holds the task.


@dataclass(frozen=True)
class ClaimRequest:
    task_id: str
    device: str
    estimated_bytes: int
    details: Mapping[str, Any] = field(default_factory=dict)  # more for the timeline, such as `reason` and `passed`


@dataclass(frozen=True)
class Claim:
    """Begins an attempt under a new lease token."""

    request: ClaimRequest
    boot_id: str

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        if task.status is not TaskStatus.PENDING or not task.is_prepared:
            return None
        running = transitions.claimed(
            task,
            device=self.request.device,
            estimated_bytes=self.request.estimated_bytes,
            owner=self.boot_id,
            token=secrets.token_hex(16),
            now=now,
        )
        rows.add_event(task.id, timeline.STARTED, timeline.started_data(running, self.request.details, now), now)
        return rows.save(task, running)


@dataclass(frozen=True)
class SaveWindow:
    window: WindowResult

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        if self.window.index < task.windows_done:
            return task
        if self.window.index > task.windows_done:
            raise ValueError(f"window {self.window.index} came before window {task.windows_done}")
        rows.add_window(task.id, self.window)
        return rows.save(task, transitions.window_saved(task, self.window))


@dataclass(frozen=True)
class AddAttemptEvent:
    """One more entry of the timeline. The task's row stays as it is."""

    code: str
    data: Mapping[str, Any]

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        rows.add_event(task.id, self.code, self.data, now)
        return task


@dataclass(frozen=True)
class Complete:
    language: str
    text: str  # what the search looks through
    result_sha256: str  # of the transcript's file
    memory: TaskMemory
    sentences: tuple[Sentence, ...] = ()  # what a hit of the search shows
    problem: ErrorInfo | None = None  # why something that was wanted besides the text is missing

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        rows.remove_windows(task.id)
        rows.set_text(task, self.text, self.sentences)
        events = rows.events(task.id) if task.attempt > 1 else ()  # the first attempt began at the beginning
        if self.problem is not None:
            rows.add_event(task.id, timeline.SPEAKERS, timeline.error_data(self.problem), now)
        rows.add_event(task.id, timeline.COMPLETED, timeline.completed_data(task, events, now), now)
        completed = transitions.completed(
            task,
            language=self.language,
            is_silent=not self.text.strip() and task.options.clip_timestamps != NO_CLIP,
            result_sha256=self.result_sha256,
            memory=self.memory,
            now=now,
            problem=self.problem,
        )
        return rows.save(task, completed)


@dataclass(frozen=True)
class Fail:
    error: ErrorInfo
    is_retryable: bool
    retry_delay_s: Callable[[int], float]  # to wait after the attempt of this number, from 1

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        before = task
        if self.error.code in transitions.DEATH_CODES:
            task = transitions.counted(task, now)
            if transitions.is_poison(task):
                return _fail_as_poison(task, self.error, rows, now, before=before)
        data = timeline.error_data(self.error)
        if not (self.is_retryable and task.has_attempts_left):
            rows.add_event(task.id, timeline.FAILED, data, now)
            return rows.save(before, transitions.failed(task, self.error, now))
        delay_s = self.retry_delay_s(task.attempt - task.free_attempts)
        rows.add_event(task.id, timeline.RETRYING, {**data, "delay_seconds": delay_s}, now)
        retrying = transitions.sent_to_the_back(task, self.error, seq=rows.next_seq(), delay_s=delay_s, now=now)
        return rows.save(before, retrying)


@dataclass(frozen=True)
class Requeue:
    """The attempt ended through no fault of the task's."""

    error: ErrorInfo | None = None
    preempted_by: str | None = None  # the task that it made way for

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        after = transitions.requeued(task, self.error, now)
        rows.add_event(task.id, *timeline.requeued_entry(after, self.error, self.preempted_by), now)
        return rows.save(task, after)


@dataclass(frozen=True)
class Interrupt:
    """The server died while the task ran."""

    error: ErrorInfo
    is_only_suspect: bool  # no other task can have caused it

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        counted = transitions.counted(task, now) if self.is_only_suspect else task
        if self.is_only_suspect and transitions.is_poison(counted):
            return _fail_as_poison(counted, self.error, rows, now, before=task)
        after = transitions.requeued(counted, self.error, now)
        rows.add_event(task.id, *timeline.requeued_entry(after, self.error), now)
        return rows.save(task, after)


@dataclass(frozen=True)
class WaitForMemory:
    error: ErrorInfo
    may_move_to_cpu: bool
    retry_delay_s: Callable[[int], float]  # to wait after the attempt of this number, from 1

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        times = transitions.times_in_a_row(task, self.error.code)
        if self.may_move_to_cpu and times >= MOVES_TO_CPU_AFTER and task.requested_device == AUTO_DEVICE:
            rows.add_event(task.id, timeline.MEMORY, {"step": "moved_to_cpu"}, now)
            return rows.save(task, transitions.moved_to_cpu(task, self.error, now))
        delay_s = self.retry_delay_s(times)
        data = {"step": "waits", "device": task.device, "delay_seconds": round(delay_s, 3)}
        rows.add_event(task.id, timeline.MEMORY, data, now)
        return rows.save(task, transitions.waits(task, self.error, delay_s=delay_s, now=now))


@dataclass(frozen=True)
class WaitForModel:
    """Its weights are damaged or gone, which is no fault of the task's."""

    error: ErrorInfo
    retry_delay_s: Callable[[int], float]  # to wait after the attempt of this number, from 1

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        delay_s = self.retry_delay_s(transitions.times_in_a_row(task, self.error.code))
        data = {**timeline.error_data(self.error), "delay_seconds": round(delay_s, 3)}
        rows.add_event(task.id, timeline.RETRYING, data, now)
        return rows.save(task, transitions.waits(task, self.error, delay_s=delay_s, now=now))


# What people ask for: carried out, or refused with an error.


class Cancel:
    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task:
        if task.status is TaskStatus.CANCELLED:
            return task
        if task.status.is_final:
            raise AlreadyFinishedError(f"The task is already {task.status.value}, so it cannot be cancelled.")
        return _cancel(task, rows, now)


class CancelAttempt:
    """Before a task is deleted: only a running one need be cancelled."""

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        return _cancel(task, rows, now) if task.status is TaskStatus.PROCESSING else None


class StartOver:
    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task:
        if task.status not in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            raise ConflictError(f"Only failed and cancelled tasks can be retried; this one is {task.status.value}.")
        rows.remove_windows(task.id)
        rows.add_event(task.id, timeline.RESTARTED, {}, now)
        return rows.save(task, transitions.started_over(task, seq=rows.next_seq()))


@dataclass(frozen=True)
class SetPriority:
    priority: Priority

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task:
        if not task.status.is_waiting:
            raise ConflictError(f"Only waiting tasks have a place to change; this one is {task.status.value}.")
        if task.priority == self.priority:
            return task
        rows.add_event(task.id, timeline.PRIORITISED, {"priority": self.priority.word}, now)
        return rows.save(task, task.with_(priority=self.priority, arranged=None))


def _fail_as_poison(task: Task, error: ErrorInfo, rows: TaskWriter, now: datetime, *, before: Task) -> Task:
    """error: of the last death. before: the task as it was locked."""
    after = transitions.failed_as_poison(task, error, now)
    rows.add_event(task.id, timeline.FAILED, timeline.error_data(after.errors[-1]), now)
    return rows.save(before, after)


def _cancel(task: Task, rows: TaskWriter, now: datetime) -> Task:
    rows.add_event(task.id, timeline.CANCELLED, {}, now)
    return rows.save(task, transitions.cancelled(task, now))
