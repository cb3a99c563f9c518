"""What a filter finds: a page of it, how much it is, and cancelling all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optimizer.queue import personal_changes
from optimizer.queue.changes import RequestedChange
from optimizer.queue.index import QueueIndex
from optimizer.queue.line import WaitingLine
from optimizer.queue.transactions import TaskTransactions
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import Task, TaskFilter, TaskPage, TaskSort


class TaskLists:
    """Any thread. Methods raise what TaskStore raises, and InvalidOptionError for what cannot be asked."""

    def __init__(self, store: TaskStore, index: QueueIndex, transactions: TaskTransactions, line: WaitingLine) -> None:
        self._store = store
        self._index = index
        self._transactions = transactions
        self._line = line

    def page(self, wanted: TaskFilter) -> TaskPage:
        """The counts are those of all that is wanted, whatever its state."""
        is_of_all = wanted.owner is None and not wanted.is_narrowed
        with self._store.reading() as rows:
            page = self._line.page(rows, wanted) if wanted.sort is TaskSort.LINE else rows.page(wanted)
            counts = self._index.counts() if is_of_all else rows.counts_of(wanted)
            hits = rows.hits(page.tasks, wanted.query) if wanted.query else {}
        return replace(page, counts=counts, hits=hits)

    def unfinished_ids(self, wanted: TaskFilter) -> list[str]:
        """Of those wanted tasks that wait or run."""
        with self._store.reading() as rows:
            return rows.unfinished_ids_of(wanted)

    def cancel_all(self, task_ids: Sequence[str]) -> list[Task]:
        """All of them that are not finished, in one transaction; returns those."""
        requested = [RequestedChange(task_id, personal_changes.CancelUnfinished()) for task_id in task_ids]
        return [task for task in self._transactions.try_change_all(requested) if task is not None]
