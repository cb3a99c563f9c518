"""Which waiting tasks have their samples on the disk, and how many bytes those take.

A task's length is known once its recording was decoded for the first time. Its samples may be removed again while it
waits, since they can be made from the upload; it may only run when they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from optimizer.common.clock import Clock
from optimizer.queue.changes import DropSamples
from optimizer.queue.index import QueueIndex
from optimizer.queue.ready_queue import WaitingTask
from optimizer.queue.transactions import TaskTransactions


class UpcomingTask(NamedTuple):
    task: WaitingTask
    has_samples: bool


class WaitingSamples:
    """Any thread. on_change: see IntelligentQueueManager."""

    def __init__(
        self, index: QueueIndex, transactions: TaskTransactions, clock: Clock, on_change: Callable[[str], None]
    ) -> None:
        self._index = index
        self._transactions = transactions
        self._clock = clock
        self._on_change = on_change

    def unmeasured(self) -> list[WaitingTask]:
        """Waiting tasks whose length is not known yet, in order of arrival within each priority."""
        return self._index.unmeasured()

    def upcoming(self, limit: int) -> list[UpcomingTask]:
        """The next tasks of known length in the order in which they run, whether they have samples or not."""
        return [
            UpcomingTask(task, has_samples)
            for task, has_samples in self._index.upcoming(limit, self._clock.monotonic())
        ]

    def last_ones(self, but: Collection[str]) -> list[WaitingTask]:
        """The tasks that have samples, in the opposite of the order in which they run. but: ids to leave out."""
        return self._index.last_with_samples(but, self._clock.monotonic())

    def kept_bytes(self, owner: str) -> tuple[int, int]:
        """What the samples of all waiting tasks take, and of this owner's."""
        return self._index.kept_bytes(owner)

    def are_missing(self, task_id: str) -> bool:
        """Whether a waiting task of known length has none."""
        return self._index.lacks_samples(task_id)

    def any_missing(self) -> bool:
        return self._index.any_lacks_samples()

    def note(self, task_id: str, has_samples: bool) -> None:
        """Tells nobody: the caller is about to change the task."""
        self._index.note_samples(task_id, has_samples)

    def mark_made(self, task_id: str) -> None:
        """They are there again, so the task may run."""
        self._index.note_samples(task_id, True)
        self._on_change(task_id)

    def mark_missing(self, task_id: str) -> None:
        """They are gone, so the task waits until they are made again. Does nothing to a task that does not wait."""
        self._index.note_samples(task_id, False, is_waiting=True)
        self._on_change(task_id)

    def try_drop(self, task_id: str, remove: Callable[[], None]) -> bool:
        """Removes a waiting task's samples; False when it does not wait any more. Raises what TaskStore raises."""
        if self._transactions.try_change(task_id, DropSamples(remove), is_announced=False) is None:
            return False
        self.mark_missing(task_id)
        return True
