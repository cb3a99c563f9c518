"""What people change of a task besides its course: see `changes` for what `apply` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from optimizer.queue.changes import Cancel, SetPriority
from optimizer.storage.repository import TaskWriter
from optimizer.tasks import timeline
from optimizer.tasks.retention import is_finished
from optimizer.tasks.task import Priority, Task
from optimizer.tasks.task_changes import TaskChanges


@dataclass(frozen=True)
class ChangeByHand:
    wanted: TaskChanges

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task:
        described = self._described(task)
        if described == task:
            after = task
        else:
            after = rows.save(task, described)
            rows.set_name(after)
            if after.tags != task.tags:
                rows.set_tags(after)
        return after if self.wanted.priority is None else SetPriority(self.wanted.priority).apply(after, rows, now)

    def _described(self, task: Task) -> Task:
        wanted = self.wanted
        return task.with_(
            title=task.title if wanted.title is None else wanted.title or None,
            note=task.note if wanted.note is None else wanted.note,
            tags=task.tags if wanted.tags is None else wanted.tags,
        )


@dataclass(frozen=True)
class Arrange:
    """Gives a waiting task its place in the order that its owner wants; see `arrangement`."""

    number: float
    priority: Priority  # of the order
    is_moved: bool  # whether it is the one that was moved, not one that it was moved past

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        if not task.status.is_waiting or task.priority is not self.priority:
            return None
        if self.is_moved:
            rows.add_event(task.id, timeline.MOVED, {}, now)
        return rows.save(task, task.with_(arranged=self.number))


class CancelUnfinished:
    """One of many: a task that has ended meanwhile is no fault."""

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        return None if task.status.is_final else Cancel().apply(task, rows, now)


@dataclass(frozen=True)
class RemoveMedia:
    """Removes a finished task's recording while its row is locked, so that it does not begin anew meanwhile.

    After a kill in between, the row says nothing of it and it is done again."""

    finished_before: datetime
    remove: Callable[[], None]

    def apply(self, task: Task, rows: TaskWriter, now: datetime) -> Task | None:
        is_old = is_finished(task) and task.finished_at is not None and task.finished_at < self.finished_before
        if not is_old or task.media_removed_at is not None:
            return None
        self.remove()
        rows.add_event(task.id, timeline.MEDIA_REMOVED, {}, now)
        return rows.save(task, task.with_(media_removed_at=now))
