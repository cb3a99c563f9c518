"""What the queue does first after a start: put right what a crash or a stop left, then load what waits."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from errors import BadRecordError
from optimizer.common.clock import Clock
from optimizer.queue.due_times import DueTimes
from optimizer.queue.index import LoadedTasks, QueueIndex
from optimizer.queue.ready_queue import WaitingTask
from optimizer.queue.transactions import TaskTransactions
from optimizer.storage import mapping as records
from optimizer.storage.mapping import WaitingRow
from optimizer.storage.repository import TaskWriter
from optimizer.storage.store import TaskStore
from optimizer.tasks import timeline, transitions
from optimizer.tasks.task import ErrorInfo, Task, TaskStatus

_RETRYING = TaskStatus.RETRYING.value
INTERRUPTED = ErrorInfo(
    "interrupted", "The server stopped while the task was running. The task goes on after its last saved window."
)


@dataclass(frozen=True)
class RecoveryReport:
    """Ids. interrupted: ran when the last server stopped. poisoned: those of them that are given up for it.
    bad_records: rows that cannot be read. waiting: how many wait now."""

    interrupted: tuple[str, ...]
    poisoned: tuple[str, ...]
    bad_records: tuple[str, ...]
    waiting: int


class Recovery:
    def __init__(
        self, store: TaskStore, memory: QueueIndex, changes: TaskTransactions, clock: Clock, due_times: DueTimes
    ) -> None:
        self._due_times = due_times
        self._store = store
        self._memory = memory
        self._changes = changes
        self._clock = clock

    def run(self, boot_id: str) -> RecoveryReport:
        """boot_id: of this start; what another one claimed runs no more."""
        with self._store.reading() as rows:
            running = rows.running_ids(not_owned_by=boot_id)
            unreadable = rows.ids_of_unknown_states()
        interrupted = [self._changes.try_make(task_id, self._interrupt) for task_id in running]
        for task_id in unreadable:
            self._changes.quarantine(task_id)
        unreadable += [task_id for task_id, task in zip(running, interrupted, strict=True) if task is None]
        unreadable += self._load_waiting()
        counts = self._memory.counts()
        return RecoveryReport(
            interrupted=tuple(running),
            poisoned=tuple(task.id for task in interrupted if task is not None and task.status is TaskStatus.FAILED),
            bad_records=tuple(unreadable),
            waiting=counts[TaskStatus.PENDING] + counts[TaskStatus.RETRYING],
        )

    def _interrupt(self, rows: TaskWriter, task: Task) -> Task:
        now = self._clock.now()
        after = transitions.requeued(task, INTERRUPTED, is_interrupt=True, now=now)
        rows.add_event(task.id, *timeline.requeued_entry(after, INTERRUPTED), now)
        return rows.save(task, after)

    def _load_waiting(self) -> list[str]:
        """Fills memory; returns the ids of those whose rows cannot be read, which are set aside."""
        unreadable = []
        waiting = LoadedTasks()
        since = self._changes.monotonic_of_text()
        with self._store.reading() as rows, _without_garbage_collection():
            for row in rows.waiting():
                try:
                    due = self._due(row) if row.status == _RETRYING else None
                    entry = waiting_of(row, since, self._due_times)
                    waiting.add(entry, is_prepared=row.audio_seconds is not None, due=due)
                except BadRecordError:
                    unreadable.append(row.id)
            self._memory.load(waiting, rows.counts())
        for task_id in unreadable:
            self._changes.quarantine(task_id)
        return unreadable

    def _due(self, row: WaitingRow) -> float:
        return self._changes.due(records.not_before_of(row))


def waiting_of(row: WaitingRow, waiting_since: Callable[[str], float], due_times: DueTimes) -> WaitingTask:
    """What memory keeps of a waiting task, from a part of its row. Raises BadRecordError.

    waiting_since: monotonic seconds of a moment as the row has it; raises ValueError or TypeError. Written for speed: a
    start calls it for every waiting task, so the row is unpacked at once and the task is made without names.
    """
    task_id, seq, _, options, priority, audio_seconds, progress, requested_device, owner, created_at, _ = row
    try:
        model, urgency, device, whose, *how = records.kind_of(options, priority, requested_device, owner)
        seconds = 0.0 if audio_seconds is None else audio_seconds
        if not (isinstance(seconds, (float, int)) and isinstance(seq, int)):
            raise TypeError("a number is not one")
        since = waiting_since(created_at)
        left = seconds * (1 - progress)
        due = due_times.due(model, left, since)
        return WaitingTask(task_id, seq, model, urgency, seconds, left, since, due, device, whose, *how)
    except records.UNREADABLE as error:
        raise BadRecordError() from error


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Loading makes a few objects for each of many rows and no garbage; looking for some takes a third of its time. Nor
    is it looked for among them later: with 100,000 tasks each such look holds the scheduler up for 30 ms."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
