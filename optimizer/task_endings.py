"""What a person does to end a task: cancel it, or delete it with everything that is kept of it.

Both must work when the disk is full, because that is how people free space. So a full disk opens the reserve, and a
task's files go before its row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from errors import AlreadyFinishedError, DiskFullError, StoreBusyError
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.loop import BatchTaskScheduler
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import EventBus, TaskDeleted
from optimizer.tasks.task import Task
from optimizer.timing.forecast_accuracy import ForecastTracker

log = logging.getLogger(__name__)

CANCELLED_AT_ONCE = 200  # nobody else writes meanwhile
FULL_BELOW_BYTES = 1_000_000  # SQLite says "input/output error" for some of what does not fit on a full disk

Changed = TypeVar("Changed")


class TaskEndings:
    """Any thread."""

    def __init__(
        self,
        *,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        forecasts: ForecastTracker,
        scheduler: BatchTaskScheduler,
        events: EventBus,
    ) -> None:
        self._queue = queue
        self._files = files
        self._forecasts = forecasts
        self._scheduler = scheduler
        self._events = events

    def cancel(self, task_id: str) -> Task:
        """Raises TaskNotFoundError, AlreadyFinishedError."""
        task = self._making_room(lambda: self._queue.cancel(task_id))
        self._stop_work(task_id)
        self._files.delete_audio(task_id)
        return task

    def cancel_all(self, task_ids: Sequence[str]) -> list[Task]:
        """Those of them that were not finished, CANCELLED_AT_ONCE in one transaction."""
        cancelled: list[Task] = []
        for start in range(0, len(task_ids), CANCELLED_AT_ONCE):
            ids = task_ids[start : start + CANCELLED_AT_ONCE]
            now = self._making_room(partial(self._queue.lists.cancel_all, ids))
            for task in now:
                self._stop_work(task.id)
                self._files.delete_audio(task.id)
            cancelled += now
        return cancelled

    def delete(self, task_id: str, owner: str) -> None:
        """The task, its files and its text are gone; `owner` is told. Raises TaskNotFoundError."""
        with suppress(AlreadyFinishedError, DiskFullError):  # not even the reserve helped; removing the files may
            self._making_room(lambda: self._queue.cancel(task_id))
        self._stop_work(task_id)
        # The row goes last: after a crash in between, the task is there to be deleted again.
        self._files.delete(task_id)
        self._making_room(lambda: self._queue.delete(task_id))
        self._events.publish(TaskDeleted(task_id, owner))

    def _stop_work(self, task_id: str) -> None:
        self._forecasts.discard(task_id)
        self._scheduler.stop_task(task_id)

    def _making_room(self, change: Callable[[], Changed]) -> Changed:
        """What `change` returns, which on a full disk has the reserve's space. Raises DiskFullError, and what it
        raises."""
        try:
            return change()
        except (DiskFullError, StoreBusyError) as error:
            is_full = isinstance(error, DiskFullError) or self._files.free_bytes() < FULL_BELOW_BYTES
            if not is_full or not self._files.reserve.release():
                raise
            log.warning("event=reserve_released code=%s", error.code)
            return change()
