"""How a task changes, whatever the change: lock its row, decide, write, commit; then memory; then the listener."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from errors import BadRecordError, ConflictError, TaskNotFoundError
from optimizer.common.clock import Clock
from optimizer.queue.backoff import MAX_RETRY_DELAY_S
from optimizer.queue.index import QueueIndex
from optimizer.storage.repository import TaskWriter
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import NewTask, Task, TaskStatus

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 30 * 86400.0

Step = Callable[[TaskWriter, Task], Task | None]
"""Decides inside the transaction. Returns what it saved, the task it was given for "as it is", None for "not to be"."""


class TaskTransactions:
    """Any thread. Of two changes of a task that race, the first commit wins and the other decides on what it left."""

    def __init__(
        self, store: TaskStore, memory: QueueIndex, clock: Clock, on_change: Callable[[str], None], max_queued: int
    ) -> None:
        self._store = store
        self._memory = memory
        self._clock = clock
        self._on_change = on_change
        self._max_queued = max_queued

    def make(self, task_id: str, step: Step, *, is_announced: bool = True) -> Task | None:
        """What `step` returned. Raises TaskNotFoundError, BadRecordError, and what `step` and the store raise.

        is_announced: whether the listener is told.
        """
        with self._memory.changing(task_id):
            try:
                with self._store.writing() as rows:
                    before = rows.lock(task_id)
                    after = step(rows, before)
            except BadRecordError:
                self.quarantine(task_id)
                raise
            if after is None or after is before:
                return after
            self._follow(after, before.status)
        if is_announced:
            self._announce(after)
        return after

    def try_make(self, task_id: str, step: Step, *, is_announced: bool = True) -> Task | None:
        """None also when the task is gone or its row cannot be read."""
        try:
            return self.make(task_id, step, is_announced=is_announced)
        except (TaskNotFoundError, BadRecordError):
            return None

    def make_or_refuse(self, task_id: str, step: Callable[[TaskWriter, Task], Task]) -> Task:
        """For what a person asks. Raises TaskNotFoundError, and ConflictError when the row cannot be read."""
        try:
            after = self.make(task_id, step)
        except BadRecordError as error:
            raise ConflictError(error.message) from error
        if after is None:
            raise RuntimeError(f"task {task_id} was neither changed nor refused")
        return after

    def insert(self, new: NewTask, find_earlier: Callable[[TaskWriter], Task | None]) -> tuple[Task, bool]:
        """The new task, or what `find_earlier` finds in its stead; and whether it did. Raises QueueFullError."""
        with self._memory.place(self._max_queued), self._memory.changing(new.id):
            with self._store.writing() as rows:
                earlier = find_earlier(rows)
                task = earlier or rows.insert(new, self._clock.now())
            if earlier is None:
                self._follow(task, None)
        if earlier is None:
            self._announce(task)
        return task, earlier is not None

    def delete(self, task_id: str) -> None:
        """Raises TaskNotFoundError."""
        with self._memory.changing(task_id):
            with self._store.writing() as rows:
                before = rows.delete(task_id)
            self._memory.forget(task_id, before=before, after=None)
        log.info("task=%s state=deleted", task_id)
        self._on_change(task_id)

    def quarantine(self, task_id: str) -> None:
        """Gives up a task whose row cannot be read; the others go on. Nothing when it is final already."""
        with self._memory.changing(task_id):
            with self._store.writing() as rows:
                before = rows.quarantine(task_id, self._clock.now())
            if before is not None and before.is_final:
                return
            self._memory.forget(task_id, before=before, after=TaskStatus.FAILED)
        log.error("task=%s state=failed reason=bad_record", task_id)
        self._on_change(task_id)

    def due(self, not_before: datetime | None) -> float:
        """When that is, in monotonic seconds. Bounded: after a jump of the wall clock nobody waits for years."""
        left = 0.0 if not_before is None else (not_before - self._clock.now()).total_seconds()
        return self._clock.monotonic() + min(max(left, 0.0), MAX_RETRY_DELAY_S)

    def monotonic_of(self, moment: datetime) -> float:
        """An earlier moment in monotonic seconds. Bounded: after a jump of the wall clock nobody has waited a year."""
        ago_s = (self._clock.now() - moment).total_seconds()
        return self._clock.monotonic() - min(max(ago_s, 0.0), LONGEST_WAIT_S)

    def monotonic_of_text(self) -> Callable[[str], float]:
        """`monotonic_of` for many moments in ISO 8601 that are looked at now; several times as fast."""
        latest = self._clock.monotonic()
        offset, earliest = latest - self._clock.now().timestamp(), latest - LONGEST_WAIT_S

        def monotonic(text: str) -> float:
            since = datetime.fromisoformat(text).timestamp() + offset
            if since > latest:  # twice as fast as min and max
                return latest
            return since if since > earliest else earliest

        return monotonic

    def _follow(self, task: Task, before: TaskStatus | None) -> None:
        due = self.due(task.not_before) if task.status is TaskStatus.RETRYING else None
        now = self._clock.monotonic()
        arrived = self.monotonic_of(task.created_at)
        self._memory.follow(task, before=before, now=now, arrived=arrived, due=due)

    def _announce(self, task: Task) -> None:
        log.info("task=%s state=%s attempt=%d", task.id, task.status.value, task.attempt)
        self._on_change(task.id)


def fenced(lease_token: str, step: Step) -> Step:
    """`step` only while this token holds the task."""

    def fenced_step(rows: TaskWriter, task: Task) -> Task | None:
        is_holder = task.status is TaskStatus.PROCESSING and task.lease_token == lease_token
        return step(rows, task) if is_holder else None

    return fenced_step
