"""IntelligentQueueManager: every task's state, and the order of the waiting tasks.

The database is the truth, and an index in memory follows it. Every change is one write transaction that reads the row,
decides and writes: `changes` says what each one does, `transactions` carries it out. A running task is held by its
`lease_token`: a report with an old token changes nothing and gets None.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from errors import TaskNotFoundError
from optimizer.common.clock import Clock
from optimizer.queue import changes, personal_changes, recovery
from optimizer.queue.backoff import MAX_RETRY_DELAY_S, RetryDelay
from optimizer.queue.changes import ClaimRequest, RequestedChange
from optimizer.queue.index import QueueIndex
from optimizer.queue.line import WaitingLine
from optimizer.queue.lists import TaskLists
from optimizer.queue.ordering import FIRST_COME, DueTimes
from optimizer.queue.quotas import OwnerQuotas
from optimizer.queue.ready_queue import WaitingView
from optimizer.queue.recovery import RecoveryReport
from optimizer.queue.samples import WaitingSamples
from optimizer.queue.transactions import TaskTransactions
from optimizer.storage.store import TaskStore
from optimizer.tasks import timeline
from optimizer.tasks.task import (
    ErrorInfo,
    NewTask,
    Priority,
    Task,
    TaskFilter,
    TaskMemory,
    TaskPage,
    TaskStatus,
)
from optimizer.tasks.task_changes import TaskChanges
from optimizer.tasks.timeline import TaskEvent
from whisper_core.audio.tracks import SoundTrack
from whisper_core.text.transcript import WindowResult


class IntelligentQueueManager:
    """The only thing that changes a task's state. Any thread; `recover` first, alone.

    More methods than most classes have, because there is one for each thing that can happen to a task, and nothing can
    happen to a task elsewhere. What they do is in `changes`; the rest are short readings.

    Methods raise what TaskStore raises (StoreBusyError, DiskFullError, …); then nothing was changed. Those that take a
    task's id raise TaskNotFoundError, except where they return None.
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
        quotas: OwnerQuotas | None = None,
    ) -> None:
        """boot_id: new at every start; see `boot`. max_queued: the most tasks that may wait. quotas: of each owner;
        None: none.

        on_change: gets the id of every task that changed, after the commit, outside locks and in the thread that
        changed it; must not raise. retry_delay: seconds that a task waits after its charged attempt of that number;
        MAX_RETRY_DELAY_S at most.
        """
        self._store = store
        self._clock = clock
        self._boot_id = boot_id
        self._retry_delay = retry_delay or RetryDelay()
        self._due_times = due_times
        self._index = QueueIndex(due_times)
        self._transactions = TaskTransactions(store, self._index, clock, on_change, max_queued, quotas or OwnerQuotas())
        self.line = WaitingLine(store, self._index, self._transactions, clock)
        self.lists = TaskLists(store, self._index, self._transactions, self.line)
        self.samples = WaitingSamples(self._index, self._transactions, clock, on_change)

    def recover(self, samples: Collection[str] | None = None) -> RecoveryReport:
        """Repairs what a crash or a stop left, and loads the waiting tasks.

        samples: ids of the tasks whose samples are there; None: of all. An interrupted attempt is not charged. But a
        task fails as poison when the server died three times in a row and each time no other task can have been the
        cause.
        """
        return recovery.recover(
            self._store,
            self._index,
            self._transactions,
            boot_id=self._boot_id,
            clock=self._clock,
            due_times=self._due_times,
            samples=samples,
        )

    # Submission and preparation

    def find_earlier(self, new: NewTask) -> Task | None:
        """The task that the idempotency key of `new` has made already. Raises IdempotencyMismatchError as `submit`."""
        if new.idempotency_key is None:
            return None
        with self._store.reading() as rows:
            return changes.find_earlier(rows, new)

    def submit(self, new: NewTask, *, has_samples: bool = True) -> tuple[Task, bool]:
        """The task, and whether its idempotency key had made it already. Once this returns, it survives a crash.

        has_samples: of a recording whose length is known. Raises QueueFullError, QuotaExceededError;
        IdempotencyMismatchError when the key came with another file or other options.
        """
        earlier = self.find_earlier(new)
        if earlier is not None:
            return earlier, True  # also when the queue is full
        self.samples.note(new.id, has_samples)
        is_new = False
        try:
            task, is_replay = self._transactions.insert(new)
            is_new = not is_replay
        finally:
            if not is_new:
                self.samples.note(new.id, True)  # forgets the id
        return task, is_replay

    def mark_prepared(
        self,
        task_id: str,
        audio_seconds: float,
        *,
        is_truncated: bool = False,
        declared_seconds: float | None = None,
        tracks: tuple[SoundTrack, ...] = (),
        late_seconds: float | None = None,
        has_samples: bool = True,
    ) -> Task | None:
        """Its length is known, and with has_samples its samples are there. None when it does not wait any more.

        Raises TaskNotFoundError when it was deleted."""
        self.samples.note(task_id, has_samples)
        prepared = None
        try:
            change = changes.MarkPrepared(audio_seconds, is_truncated, declared_seconds, tracks, late_seconds)
            prepared = self._transactions.change(task_id, change)
        finally:
            if prepared is None:
                self.samples.note(task_id, True)  # forgets the id
        return prepared

    def fail_preparation(self, task_id: str, error: ErrorInfo) -> Task | None:
        """Its file cannot be used, so no attempt is made. None when it does not wait any more or is gone."""
        return self._transactions.try_change(task_id, changes.FailPreparation(error))

    # The waiting tasks

    def waiting(self) -> WaitingView:
        """The tasks that may run now (prepared, no delay left), grouped; a snapshot that does not change."""
        return self._index.ready(self._clock.monotonic())

    def unprepared(self) -> list[str]:
        """Ids of waiting tasks whose length is not known yet, in queue order."""
        return [entry.id for entry in self._index.unmeasured()]

    def position(self, task_id: str) -> int | None:
        """A waiting task's place in the whole queue, from 1; None for a task that does not wait."""
        return self.positions([task_id]).get(task_id)

    def positions(self, task_ids: Iterable[str]) -> dict[str, int]:
        """The places of those that wait, at one moment."""
        return self._index.positions(task_ids, self._clock.monotonic())

    def end_delays(self) -> int:
        """Makes retrying tasks whose delay is over pending again; returns how many."""
        task_ids = self._index.ids_with_delay_over(self._clock.monotonic())
        ended = [self._transactions.try_change(task_id, changes.EndDelay()) for task_id in task_ids]
        return sum(task is not None for task in ended)

    def next_delay_end_in(self) -> float | None:
        """Seconds until `end_delays` has something to do; None when no task is retrying."""
        delay_end = self._index.next_delay_end()
        return None if delay_end is None else max(0.0, delay_end - self._clock.monotonic())

    # A running attempt

    def claim_all(self, claims: Sequence[ClaimRequest]) -> list[Task | None]:
        """Begins an attempt of each under a new lease token, all in one transaction. None for a task that was
        cancelled, claimed or deleted meanwhile."""
        return self._transactions.try_change_all(
            [RequestedChange(each.task_id, changes.Claim(each, self._boot_id)) for each in claims]
        )

    def claim(
        self, task_id: str, device: str, estimated_bytes: int, details: Mapping[str, Any] | None = None
    ) -> Task | None:
        """`claim_all` for one."""
        return self.claim_all([ClaimRequest(task_id, device, estimated_bytes, details or {})])[0]

    def held_attempts(self, attempts: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those that still hold their task. attempts: ids of tasks, each with a lease token."""
        asked = list(attempts)
        with self._store.reading() as rows:
            leases = rows.leases_of({task_id for task_id, _ in asked})
        return {(task_id, token) for task_id, token in asked if leases.get(task_id) == token}

    def record(self, requested: Sequence[RequestedChange]) -> list[Task | None]:
        """What running attempts reported, in one transaction, in this order; the methods below are for one report.
        What is not announced here is for the caller to `announce`.

        Returns the tasks as each change left them; None where the attempt no longer holds the task. Raises what the
        changes' `apply` raises; then nothing was recorded.
        """
        return self._transactions.try_change_all(requested)

    def announce(self, task: Task) -> None:
        """Tells the listener of a change that was made unannounced."""
        self._transactions.announce(task)

    def save_window(self, task_id: str, lease_token: str, window: WindowResult) -> Task | None:
        """Keeps one finished window; after a crash the task continues after it. Harmless when it was saved before.

        Raises ValueError when an earlier window is missing. Does not call on_change: the task's state is the same.
        """
        return self._record(task_id, lease_token, changes.SaveWindow(window))

    def add_attempt_event(self, task_id: str, lease_token: str, code: str, data: Mapping[str, Any]) -> Task | None:
        """One more entry of a running task's timeline; None when another attempt holds the task, or none."""
        return self._record(task_id, lease_token, changes.AddAttemptEvent(code, data))

    def complete(
        self, task_id: str, lease_token: str, *, language: str, text: str, result_sha256: str, memory: TaskMemory
    ) -> Task | None:
        """The transcript is written, so the saved windows are removed. text: what the search looks through."""
        return self._record(task_id, lease_token, changes.Complete(language, text, result_sha256, memory))

    def fail(self, task_id: str, lease_token: str, error: ErrorInfo, *, is_retryable: bool) -> Task | None:
        """The attempt failed: to the back of the queue with a growing delay while attempts are left, else failed."""
        return self._record(task_id, lease_token, changes.Fail(error, is_retryable, self.retry_delay_s))

    def requeue(
        self,
        task_id: str,
        lease_token: str,
        error: ErrorInfo | None = None,
        *,
        preempted_by: str | None = None,
    ) -> Task | None:
        """The attempt ended through no fault of the task's: pending in its old place, and not charged.

        preempted_by: the task that it made way for.
        """
        return self._record(task_id, lease_token, changes.Requeue(error, preempted_by=preempted_by))

    def wait_for_memory(
        self, task_id: str, lease_token: str, error: ErrorInfo, *, may_move_to_cpu: bool = False
    ) -> Task | None:
        """The device had no memory for the task. The attempt is never charged. The task keeps its place and waits,
        longer every time; or, if it may, it moves to the CPU once GPUs had no memory for it twice in a row.

        A task that asked for a certain device stays there.
        """
        return self._record(task_id, lease_token, changes.WaitForMemory(error, may_move_to_cpu, self.retry_delay_s))

    def _record(self, task_id: str, lease_token: str, change: changes.Change) -> Task | None:
        return self.record([RequestedChange.of_attempt(task_id, lease_token, change)])[0]

    def retry_delay_s(self, attempt: int) -> float:
        """Seconds that a task waits after its charged attempt of that number, from 1."""
        return min(self._retry_delay(attempt), MAX_RETRY_DELAY_S)

    def add_event(self, task_id: str, code: str, **data: Any) -> None:
        """One more entry of the task's timeline, for what changes no row. Does nothing when the task is gone."""
        with suppress(TaskNotFoundError), self._store.writing() as rows:
            rows.get(task_id)
            rows.add_event(task_id, code, data, self._clock.now())

    # What people ask for

    def cancel(self, task_id: str) -> Task:
        """Final at once: a result that comes later is refused. Harmless when repeated. Raises AlreadyFinishedError."""
        return self._transactions.change_or_refuse(task_id, changes.Cancel())

    def retry(self, task_id: str) -> Task:
        """A failed or cancelled task starts over, at the back, with all its attempts. Raises ConflictError."""
        return self._transactions.change_or_refuse(task_id, changes.StartOver())

    def set_priority(self, task_id: str, priority: Priority) -> Task:
        """Raises ConflictError when the task does not wait."""
        return self._transactions.change_or_refuse(task_id, changes.SetPriority(priority))

    def change(self, task_id: str, wanted: TaskChanges) -> Task:
        """All of it or nothing. Raises ConflictError as `set_priority`."""
        return self._transactions.change_or_refuse(task_id, personal_changes.ChangeByHand(wanted))

    def remove_media(self, task_id: str, finished_before: datetime, remove: Callable[[], None]) -> Task | None:
        """Notes that a finished task has no recording any more, and calls `remove`, which removes it. None when it is
        not finished, was finished later, or has none."""
        return self._transactions.try_change(task_id, personal_changes.RemoveMedia(finished_before, remove))

    def delete(self, task_id: str) -> None:
        """Removes its rows and its text; a running attempt is cancelled first. The caller deletes its files."""
        if self.get(task_id).status is TaskStatus.PROCESSING:
            self._transactions.try_change(task_id, changes.CancelAttempt())
        self._transactions.delete(task_id)
        self._store.erase_deleted()

    # Readings

    def get(self, task_id: str) -> Task:
        with self._store.reading() as rows:
            return rows.get(task_id)

    def windows(self, task_id: str) -> list[WindowResult]:
        """The saved windows of an unfinished task; none once it is completed. Raises BadRecordError."""
        with self._store.reading() as rows:
            return rows.windows(task_id)

    def timeline(self, task_id: str) -> list[TaskEvent]:
        """What happened to the task, oldest first."""
        with self._store.reading() as rows:
            return timeline.timeline_of(rows.get(task_id), rows.events(task_id))

    def page(self, wanted: TaskFilter) -> TaskPage:
        """See TaskLists."""
        return self.lists.page(wanted)

    def find_same_file(self, task: Task) -> str | None:
        """The owner's latest task before this one whose recording has the same content, failed and cancelled ones
        aside."""
        with self._store.reading() as rows:
            return rows.find_same_file(task)

    def counts(self) -> dict[TaskStatus, int]:
        """How many tasks are in each state."""
        return self._index.counts()

    def entered(self) -> dict[TaskStatus, int]:
        """How many times tasks have entered each state since the start."""
        return self._index.entered()

    def failures(self) -> dict[str, int]:
        """How many tasks have failed for good since the start, by error code."""
        return self._index.failures()
