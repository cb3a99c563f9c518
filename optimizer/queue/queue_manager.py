"""IntelligentQueueManager: every task's state, and the order of those that wait.

The database is the truth and memory follows it. Every change is one write transaction that reads the row, decides and
writes, so of two changes that race the first commit wins and the other sees it. A running task is held by its
`lease_token`: whoever reports with an old one changes nothing and gets None.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from errors import AlreadyFinishedError, ConflictError, IdempotencyMismatchError, TaskNotFoundError
from optimizer.common.clock import Clock
from optimizer.common.kinds import AUTO_DEVICE, CPU_DEVICE
from optimizer.queue.backoff import MAX_RETRY_DELAY_S, RetryDelay
from optimizer.queue.due_times import FIRST_COME, DueTimes
from optimizer.queue.index import QueueIndex
from optimizer.queue.ready_queue import WaitingView
from optimizer.queue.recovery import Recovery, RecoveryReport
from optimizer.queue.transactions import TaskTransactions, fenced
from optimizer.storage.repository import TaskReader, TaskWriter
from optimizer.storage.store import TaskStore
from optimizer.tasks import timeline, transitions
from optimizer.tasks.task import ErrorInfo, NewTask, Priority, Task, TaskFilter, TaskPage, TaskStatus
from optimizer.tasks.timeline import TaskEvent
from whisper_core.text.transcript import WindowResult

MOVES_TO_CPU_AFTER = 2  # attempts in a row for which a GPU had no memory


class IntelligentQueueManager:
    """The only thing that changes a task's state. Any thread; `recover` first, alone.

    Methods raise what TaskStore raises (StoreBusyError, DiskFullError, …); then nothing was changed. Those that name a
    task raise TaskNotFoundError, except where they return None.
    """

    def __init__(
        self,
        store: TaskStore,
        clock: Clock,
        *,
        boot_id: str,
        max_queued: int,
        on_change: Callable[[str], None],
        retry_delay: Callable[[int], float] | None = None,
        due_times: DueTimes = FIRST_COME,
    ) -> None:
        """boot_id: new at every start. max_queued: waiting tasks at most.

        on_change: gets the id of every task that changed, after the commit, outside locks and in the thread that
        changed it; must not raise. retry_delay: seconds that a task waits after its charged attempt of that number; at
        most MAX_RETRY_DELAY_S count.
        """
        self._store = store
        self._clock = clock
        self._boot_id = boot_id
        self._retry_delay = retry_delay or RetryDelay()
        self._memory = QueueIndex(due_times)
        self._changes = TaskTransactions(store, self._memory, clock, on_change, max_queued)
        self._recovery = Recovery(store, self._memory, self._changes, clock, due_times)

    def recover(self) -> RecoveryReport:
        """Puts right what a crash or a stop left, and loads the waiting tasks.

        An interrupt is not charged as an attempt, but a task that was interrupted three times is given up: it may be
        what stops the server.
        """
        return self._recovery.run(self._boot_id)

    # Coming in

    def submit(self, new: NewTask) -> tuple[Task, bool]:
        """The task and whether it was there already, by its idempotency key. When this returns, it survives a crash.

        Raises QueueFullError; IdempotencyMismatchError when the key came with another file or other options.
        """
        key = new.idempotency_key
        if key is None:
            return self._changes.insert(new, lambda rows: None)
        with self._store.reading() as reading:
            earlier = _earlier(reading, key, new)
        if earlier is not None:
            return earlier, True  # also when the queue is full
        return self._changes.insert(new, lambda rows: _earlier(rows, key, new))

    def mark_prepared(self, task_id: str, audio_seconds: float) -> Task | None:
        """Its samples are there. None when it does not wait any more. Raises TaskNotFoundError when it was deleted."""

        def step(rows: TaskWriter, task: Task) -> Task | None:
            if not task.status.is_waiting:
                return None
            rows.add_event(task.id, timeline.DECODED, {"audio_seconds": audio_seconds}, self._now())
            return rows.save(task, task.with_(audio_seconds=audio_seconds))

        return self._changes.make(task_id, step)

    def mark_unprepared(self, task_id: str) -> Task | None:
        """Its samples are gone, so it waits until they are made again. None when it does not wait any more."""

        def step(rows: TaskWriter, task: Task) -> Task | None:
            return rows.save(task, task.with_(audio_seconds=None)) if task.status.is_waiting else None

        return self._changes.try_make(task_id, step)

    def fail_preparation(self, task_id: str, error: ErrorInfo) -> Task | None:
        """Its file cannot be used, so no attempt is made. None when it does not wait any more or is gone."""

        def step(rows: TaskWriter, task: Task) -> Task | None:
            if not task.status.is_waiting:
                return None
            rows.add_event(task.id, timeline.FAILED, _error_data(error), self._now())
            return rows.save(task, transitions.failed(task, error, self._now()))

        return self._changes.try_make(task_id, step)

    # Waiting

    def waiting(self) -> WaitingView:
        """The tasks that may run now (prepared, no delay left), grouped; a snapshot that stays as it is."""
        return self._memory.ready(self._clock.monotonic())

    def unprepared(self) -> list[str]:
        """Ids of waiting tasks without samples, in the order in which they wait."""
        return self._memory.unprepared()

    def position(self, task_id: str) -> int | None:
        """From 1, by priority and arrival, among all that wait; None for a task that does not."""
        return self._memory.position(task_id, self._clock.monotonic())

    def promote_due(self) -> int:
        """Makes retrying tasks whose delay is over pending again; returns how many."""

        def step(rows: TaskWriter, task: Task) -> Task | None:
            return rows.save(task, transitions.due(task)) if task.status is TaskStatus.RETRYING else None

        promoted = [self._changes.try_make(task_id, step) for task_id in self._memory.due_ids(self._clock.monotonic())]
        return sum(task is not None for task in promoted)

    def next_due_in(self) -> float | None:
        """Seconds until promote_due has something to do; None when nothing waits for its time."""
        due = self._memory.next_due()
        return None if due is None else max(0.0, due - self._clock.monotonic())

    # Running

    def claim(
        self, task_id: str, device: str, estimated_bytes: int, note: Mapping[str, Any] | None = None
    ) -> Task | None:
        """Begins an attempt, under a new lease token. None when the task was cancelled, taken or deleted meanwhile.

        note: what the task's timeline says of the start, such as `reason` and `waited_seconds`.
        """

        def step(rows: TaskWriter, task: Task) -> Task | None:
            if task.status is not TaskStatus.PENDING or not task.is_prepared:
                return None
            after = transitions.claimed(
                task,
                device=device,
                estimated_bytes=estimated_bytes,
                owner=self._boot_id,
                token=secrets.token_hex(16),
                now=self._now(),
            )
            rows.add_event(task.id, timeline.STARTED, timeline.started_data(after, note, self._now()), self._now())
            return rows.save(task, after)

        return self._changes.try_make(task_id, step)

    def save_window(self, task_id: str, lease_token: str, window: WindowResult) -> Task | None:
        """Keeps one finished window; after a crash the task goes on behind it. Harmless when it is there already.

        Raises ValueError when one before it is missing. Not a change of state: on_change is not called.
        """

        def step(rows: TaskWriter, task: Task) -> Task | None:
            if window.index < task.windows_done:
                return task
            if window.index > task.windows_done:
                raise ValueError(f"window {window.index} came before window {task.windows_done}")
            rows.add_window(task.id, window)
            return rows.save(task, transitions.window_saved(task, window))

        return self._changes.try_make(task_id, fenced(lease_token, step), is_announced=False)

    def windows(self, task_id: str) -> list[WindowResult]:
        """What is there of an unfinished task's text; empty once it is completed. Raises BadRecordError."""
        with self._store.reading() as rows:
            return rows.windows(task_id)

    def complete(
        self, task_id: str, lease_token: str, *, language: str, text: str, result_sha256: str, peak_bytes: int | None
    ) -> Task | None:
        """The transcript is written. Its windows go: the transcript has them. text: what the search looks through."""

        def step(rows: TaskWriter, task: Task) -> Task:
            rows.remove_windows(task.id)
            rows.set_text(task, text)
            now = self._now()
            rows.add_event(task.id, timeline.COMPLETED, timeline.completed_data(task, rows.events(task.id), now), now)
            after = transitions.completed(
                task, language=language, result_sha256=result_sha256, peak_bytes=peak_bytes, now=now
            )
            return rows.save(task, after)

        return self._changes.try_make(task_id, fenced(lease_token, step))

    def fail(self, task_id: str, lease_token: str, error: ErrorInfo, *, is_retryable: bool) -> Task | None:
        """The attempt failed: to the back of the queue with a growing delay while attempts are left, else failed."""

        def step(rows: TaskWriter, task: Task) -> Task:
            data = _error_data(error)
            if not (is_retryable and task.has_attempts_left):
                rows.add_event(task.id, timeline.FAILED, data, self._now())
                return rows.save(task, transitions.failed(task, error, self._now()))
            delay_s = min(self._retry_delay(task.attempt - task.free_attempts), MAX_RETRY_DELAY_S)
            rows.add_event(task.id, timeline.RETRYING, {**data, "delay_seconds": delay_s}, self._now())
            after = transitions.sent_to_the_back(task, error, seq=rows.next_seq(), delay_s=delay_s, now=self._now())
            return rows.save(task, after)

        return self._changes.try_make(task_id, fenced(lease_token, step))

    def requeue(
        self,
        task_id: str,
        lease_token: str,
        error: ErrorInfo | None = None,
        *,
        is_interrupt: bool = False,
        gave_way_to: str | None = None,
    ) -> Task | None:
        """The attempt ended through no fault of the task's: pending in its old place, and not charged.

        is_interrupt: counts towards the three that make a task poison. gave_way_to: the task that it made room for.
        """

        def step(rows: TaskWriter, task: Task) -> Task:
            now = self._now()
            after = transitions.requeued(task, error, is_interrupt=is_interrupt, now=now)
            rows.add_event(task.id, *timeline.requeued_entry(after, error, gave_way_to), now)
            return rows.save(task, after)

        return self._changes.try_make(task_id, fenced(lease_token, step))

    def wait_for_memory(
        self, task_id: str, lease_token: str, error: ErrorInfo, *, may_move_to_cpu: bool = False
    ) -> Task | None:
        """The device had no memory for the task. That is never charged: it keeps its place and waits, longer every
        time; or, if it may move, it goes on on the CPU once a GPU had no memory for it twice in a row.

        A task that was to run on one certain device stays there.
        """

        def step(rows: TaskWriter, task: Task) -> Task:
            now, times = self._now(), transitions.times_short_of_memory(task)
            if may_move_to_cpu and times >= MOVES_TO_CPU_AFTER and task.requested_device == AUTO_DEVICE:
                rows.add_event(task.id, timeline.MEMORY, {"step": "moved_to_cpu"}, now)
                return rows.save(task, transitions.moved_to_cpu(task, error, now))
            delay_s = min(self._retry_delay(times), MAX_RETRY_DELAY_S)
            data = {"step": "waits", "device": task.device, "delay_seconds": round(delay_s, 3)}
            rows.add_event(task.id, timeline.MEMORY, data, now)
            return rows.save(task, transitions.waits_for_memory(task, error, delay_s=delay_s, now=now))

        return self._changes.try_make(task_id, fenced(lease_token, step))

    def note(self, task_id: str, lease_token: str, code: str, data: Mapping[str, Any]) -> Task | None:
        """One more entry of a running task's timeline; None when the token is not its own. Its row stays as it is."""

        def step(rows: TaskWriter, task: Task) -> Task:
            rows.add_event(task.id, code, data, self._now())
            return task

        return self._changes.try_make(task_id, fenced(lease_token, step), is_announced=False)

    # By hand

    def cancel(self, task_id: str) -> Task:
        """Final at once: a result that comes later is refused. Raises AlreadyFinishedError, not for a cancelled one."""

        def step(rows: TaskWriter, task: Task) -> Task:
            if task.status is TaskStatus.CANCELLED:
                return task
            if task.status.is_final:
                raise AlreadyFinishedError(f"The task is already {task.status.value}, so it cannot be cancelled.")
            return self._cancelled(rows, task)

        return self._changes.make_or_refuse(task_id, step)

    def retry(self, task_id: str) -> Task:
        """A failed or cancelled task starts over, at the back, with all its attempts. Raises ConflictError."""

        def step(rows: TaskWriter, task: Task) -> Task:
            if task.status not in (TaskStatus.FAILED, TaskStatus.CANCELLED):
                raise ConflictError(f"Only failed and cancelled tasks can be retried; this one is {task.status.value}.")
            rows.remove_windows(task.id)
            rows.add_event(task.id, timeline.RESTARTED, {}, self._now())
            return rows.save(task, transitions.started_over(task, seq=rows.next_seq()))

        return self._changes.make_or_refuse(task_id, step)

    def set_priority(self, task_id: str, priority: Priority) -> Task:
        """Raises ConflictError when the task does not wait."""

        def step(rows: TaskWriter, task: Task) -> Task:
            if not task.status.is_waiting:
                raise ConflictError(f"Only waiting tasks have a place to change; this one is {task.status.value}.")
            if task.priority == priority:
                return task
            rows.add_event(task.id, timeline.PRIORITISED, {"priority": priority.word}, self._now())
            return rows.save(task, task.with_(priority=priority))

        return self._changes.make_or_refuse(task_id, step)

    def delete(self, task_id: str) -> None:
        """Its rows and text are gone; a running attempt is cancelled first. Its files are the caller's to delete."""
        if self.get(task_id).status is TaskStatus.PROCESSING:
            self._changes.try_make(task_id, self._cancel_if_running)
        self._changes.delete(task_id)
        self._store.forget_deleted()

    # Looking

    def get(self, task_id: str) -> Task:
        with self._store.reading() as rows:
            return rows.get(task_id)

    def timeline(self, task_id: str) -> list[TaskEvent]:
        """What happened to the task, oldest first."""
        with self._store.reading() as rows:
            return timeline.timeline_of(rows.get(task_id), rows.events(task_id))

    def add_event(self, task_id: str, code: str, **data: Any) -> None:
        """One more entry of the task's timeline, for what changes no row. Nothing for a task that is gone."""
        with suppress(TaskNotFoundError), self._store.writing() as rows:
            rows.get(task_id)
            rows.add_event(task_id, code, data, self._now())

    def page(self, wanted: TaskFilter) -> TaskPage:
        """Newest first. Raises InvalidOptionError."""
        with self._store.reading() as rows:
            page = rows.page(wanted)
        return replace(page, counts=self.counts())

    def counts(self) -> dict[TaskStatus, int]:
        return self._memory.counts()

    def entered(self) -> dict[TaskStatus, int]:
        """How often tasks came into each state since the start, whatever became of them."""
        return self._memory.entered()

    def _cancel_if_running(self, rows: TaskWriter, task: Task) -> Task | None:
        return self._cancelled(rows, task) if task.status is TaskStatus.PROCESSING else None

    def _cancelled(self, rows: TaskWriter, task: Task) -> Task:
        now = self._now()
        rows.add_event(task.id, timeline.CANCELLED, {}, now)
        return rows.save(task, transitions.cancelled(task, now))

    def _now(self) -> datetime:
        return self._clock.now()


def _error_data(error: ErrorInfo) -> dict[str, Any]:
    return {"code": error.code, "message": error.message}


def _earlier(rows: TaskReader, key: str, new: NewTask) -> Task | None:
    """The task that came with this key, when it also is what `new` asks for. Raises IdempotencyMismatchError."""
    task = rows.find_by_key(key)
    if task is None:
        return None
    wanted = {task.requested_device}
    if task.requested_device == CPU_DEVICE:
        wanted.add(AUTO_DEVICE)  # it may have moved there for want of memory
    if (task.sha256, task.options) != (new.sha256, new.options) or new.requested_device not in wanted:
        raise IdempotencyMismatchError()
    return task
