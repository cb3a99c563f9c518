"""Batches as they are shown: with the time until the last of their tasks is done."""

from __future__ import annotations

from dataclasses import replace

from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage.store import TaskStore
from optimizer.tasks.batches import BatchPage, BatchSummary
from optimizer.tasks.task import Task, TaskFilter
from optimizer.views.task_view_builder import TaskViewBuilder


class BatchViews:
    """Any thread. Methods raise what TaskStore raises."""

    def __init__(self, store: TaskStore, queue: IntelligentQueueManager, tasks: TaskViewBuilder) -> None:
        self._store = store
        self._queue = queue
        self._tasks = tasks

    def page(self, owner: str | None, *, limit: int, cursor: str | None) -> BatchPage:
        """owner: None for everybody's. Raises InvalidOptionError."""
        with self._store.reading() as rows:
            page = rows.batches(owner, limit=limit, cursor=cursor)
        return replace(page, batches=tuple(map(self._with_end, page.batches)))

    def _with_end(self, summary: BatchSummary) -> BatchSummary:
        """The last of its tasks to be done is the last of them in line, or one that runs."""
        if summary.is_finished:
            return summary
        last = self._last_tasks(TaskFilter(batch=summary.batch.id, owner=summary.owner))
        ends = [view.eta_seconds for view in self._tasks.task_views(last)]
        known = [end for end in ends if end is not None]
        return replace(summary, eta_seconds=max(known) if known and len(known) == len(ends) else None)

    def _last_tasks(self, of_batch: TaskFilter) -> list[Task]:
        with self._store.reading() as rows:
            ids = rows.unfinished_ids_of(of_batch)
            places = self._queue.positions(ids)
            last = max(places, key=places.__getitem__, default=None)
            running = [task_id for task_id in ids if task_id not in places]
            found = rows.tasks_of([*running, *([] if last is None else [last])])
        return [task for task in found.values() if not task.status.is_final]
