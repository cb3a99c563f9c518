"""A task's write transaction: lock the row, apply the change, commit; then update the index; then tell the
listener. Nothing else writes a task's row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from errors import BadRecordError, ConflictError, TaskNotFoundError
from optimizer.common.clock import Clock
from optimizer.queue import monotonic_times
from optimizer.queue.changes import Change, RequestedChange, find_earlier
from optimizer.queue.index import QueueIndex
from optimizer.queue.quotas import OwnerQuotas
from optimizer.storage.collecting_writer import CollectingWriter
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import NewTask, Task, TaskStatus

log = logging.getLogger(__name__)


class TaskTransactions:
    """Any thread. When two changes of a task race, the first commit wins and the other is applied to what it left.

    All methods also raise what TaskStore raises; then nothing was changed.
    """

    def __init__(
        self,
        store: TaskStore,
        index: QueueIndex,
        clock: Clock,
        on_change: Callable[[str], None],
        max_queued: int,
        quotas: OwnerQuotas,
    ) -> None:
        self._store = store
        self._index = index
        self._clock = clock
        self._on_change = on_change
        self._max_queued = max_queued
        self._quotas = quotas

    def change(
        self, task_id: str, change: Change, *, held_by: str | None = None, is_announced: bool = True
    ) -> Task | None:
        """What `change.apply` returned. Raises TaskNotFoundError, BadRecordError and what `apply` raises.

        held_by: a lease token; None is returned unless the task runs under it. is_announced: whether the listener is
        told of the change.
        """
        with self._index.changing(task_id):
            try:
                with self._store.writing() as rows:
                    before = rows.lock(task_id)
                    if held_by is not None and not before.is_held_by(held_by):
                        return None
                    after = change.apply(before, rows, self._clock.now())
            except BadRecordError:
                self.quarantine(task_id)
                raise
            if after is None or after is before:
                return after
            self._follow(after, before.status)
        if is_announced:
            self.announce(after)
        return after

    def try_change_all(self, requested: Sequence[RequestedChange]) -> list[Task | None]:
        """What `try_change` returns for each, in one transaction and in this order: the second change of a task finds
        what the first one left. Raises what their `apply` raises; then none of them was made."""
        task_ids = {each.task_id for each in requested}
        unreadable: set[str] = set()
        with self._index.changing(*task_ids):
            with self._store.writing_together() as rows:
                rows.lock_all(task_ids)
                made = [self._apply(each, rows, unreadable) for each in requested]
            for before, after in rows.changed():
                self._follow(after, before.status)
        for each, (task, is_changed) in zip(requested, made, strict=True):
            if is_changed and each.is_announced and task is not None:
                self.announce(task)
        for task_id in unreadable:
            self.quarantine(task_id)
        return [task for task, _ in made]

    def _apply(
        self, requested: RequestedChange, rows: CollectingWriter, unreadable: set[str]
    ) -> tuple[Task | None, bool]:
        """What `apply` returned, and whether that is a change. unreadable: gets the id of a row that cannot be read."""
        try:
            before = rows.lock(requested.task_id)
        except TaskNotFoundError:
            return None, False
        except BadRecordError:
            unreadable.add(requested.task_id)
            return None, False
        if requested.held_by is not None and not before.is_held_by(requested.held_by):
            return None, False
        after = requested.change.apply(before, rows, self._clock.now())
        return after, after is not None and after is not before

    def try_change(
        self, task_id: str, change: Change, *, held_by: str | None = None, is_announced: bool = True
    ) -> Task | None:
        """Like `change`, but None also when the task is gone or its row cannot be read."""
        try:
            return self.change(task_id, change, held_by=held_by, is_announced=is_announced)
        except (TaskNotFoundError, BadRecordError):
            return None

    def change_or_refuse(self, task_id: str, change: Change) -> Task:
        """For what people ask for. Raises TaskNotFoundError, what `apply` raises, and ConflictError when the row cannot
        be read."""
        try:
            after = self.change(task_id, change)
        except BadRecordError as error:
            raise ConflictError(error.message) from error
        if after is None:
            raise RuntimeError(f"task {task_id} was neither changed nor refused")
        return after

    def insert(self, new: NewTask) -> tuple[Task, bool]:
        """The new task; or the owner's earlier one of the same idempotency key, and True. Raises QueueFullError,
        QuotaExceededError, IdempotencyMismatchError."""
        with self._index.reserved_place(self._max_queued), self._index.changing(new.id):
            with self._store.writing() as rows:
                earlier = find_earlier(rows, new)
                if earlier is not None:
                    return earlier, True
                self._quotas.check(rows, new.owner, nbytes=new.size_bytes, seconds=new.audio_seconds or 0.0)
                task = rows.insert(new, self._clock.now())
            self._follow(task, None)
        self.announce(task)
        return task, False

    def delete(self, task_id: str) -> None:
        """Raises TaskNotFoundError."""
        with self._index.changing(task_id):
            with self._store.writing() as rows:
                before = rows.delete(task_id)
            self._index.remove(task_id, before=before, after=None)
        log.info("task=%s state=deleted", task_id)
        self._on_change(task_id)

    def quarantine(self, task_id: str) -> None:
        """Fails a task whose row cannot be read, so that the others go on. Does nothing to a task that has ended."""
        with self._index.changing(task_id):
            with self._store.writing() as rows:
                before = rows.quarantine(task_id, self._clock.now())
            if before is not None and before.is_final:
                return
            self._index.remove(task_id, before=before, after=TaskStatus.FAILED)
        log.error("task=%s state=failed reason=bad_record", task_id)
        self._on_change(task_id)

    def _follow(self, task: Task, before: TaskStatus | None) -> None:
        is_retrying = task.status is TaskStatus.RETRYING
        self._index.follow(
            task,
            before=before,
            now=self._clock.monotonic(),
            arrived=monotonic_times.arrival(self._clock, task.created_at),
            delay_end=monotonic_times.delay_end(self._clock, task.not_before) if is_retrying else None,
        )

    def announce(self, task: Task) -> None:
        """Tells the listener that the task is as it now is."""
        log.info("task=%s state=%s attempt=%d", task.id, task.status.value, task.attempt)
        self._on_change(task.id)
