"""The waiting line from its front, page by page, and moving a task within it.

The line is in memory, and only a page of it is read from the database. Where something is looked for that memory does
not know, such as a tag, the database says which waiting tasks have it.
"""

from __future__ import annotations

import json
import math
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from errors import ConflictError, InvalidOptionError
from optimizer.common.clock import Clock
from optimizer.queue.arrangement import moved, renumbered
from optimizer.queue.changes import RequestedChange
from optimizer.queue.index import QueueIndex
from optimizer.queue.personal_changes import Arrange
from optimizer.queue.ready_queue import GroupKey, Rank, WaitingGroup, WaitingTask, in_order, ranked
from optimizer.queue.transactions import TaskTransactions
from optimizer.storage.repository import TaskReader
from optimizer.storage.store import TaskStore
from optimizer.storage.task_lists import check_limit
from optimizer.tasks.task import Task, TaskFilter, TaskPage

MOST_MOVED_PAST = 5000  # each is a row to be written


class WaitingLine:
    """Any thread. Methods raise what TaskStore raises."""

    def __init__(self, store: TaskStore, index: QueueIndex, transactions: TaskTransactions, clock: Clock) -> None:
        self._store = store
        self._index = index
        self._transactions = transactions
        self._clock = clock
        self._moving = threading.Lock()

    def page(self, rows: TaskReader, wanted: TaskFilter) -> TaskPage:
        """Those that wait, number 1 first; without counts. Raises InvalidOptionError."""
        check_limit(wanted)
        if wanted.goes_down:
            raise InvalidOptionError("The line goes from its front to its end.", field="order")
        groups = self._index.line(self._clock.monotonic(), wanted.owner, wanted.model)
        in_memory = replace(wanted, model=None)
        is_looked_up = in_memory.is_narrowed or wanted.status is not None
        among = rows.waiting_ids_of(wanted) if is_looked_up else None
        after = None if wanted.cursor is None else _rank_after(wanted.cursor, self._index, groups)
        found = islice(
            ((task, group) for task, group in _following(groups, after) if among is None or task.id in among),
            wanted.limit + 1,
        )
        shown = list(found)
        tasks = rows.tasks_of([task.id for task, _ in shown[: wanted.limit]])
        next_cursor = _cursor_of(*shown[wanted.limit - 1]) if len(shown) > wanted.limit else None
        in_line = (tasks.get(task.id) for task, _ in shown[: wanted.limit])
        return TaskPage(tuple(task for task in in_line if task is not None and task.status.is_waiting), next_cursor)

    def move(self, task_id: str, other_id: str, *, is_before: bool) -> Task:
        """Puts a waiting task directly before or behind another one of its owner and priority; see `arrangement`.

        Raises TaskNotFoundError, and ConflictError when they are not in one line.
        """
        with self._moving:
            with self._store.reading() as rows:
                task, other = rows.get(task_id), rows.get(other_id)
            _check_are_in_line(task, other)
            order = self._order_of(task)
            if task_id not in order or other_id not in order:
                raise ConflictError("One of the two tasks has just started.")
            new, stretch = moved(order, task_id, other_id, is_before=is_before)
            if len(stretch) > MOST_MOVED_PAST:
                raise ConflictError(f"It can go past {MOST_MOVED_PAST} tasks at a time. Change its priority instead.")
            return self._arrange(task, renumbered(new, stretch, self._index.arranged_numbers(order)))

    def _arrange(self, task: Task, numbers: dict[str, float]) -> Task:
        changes = [
            RequestedChange(
                each, Arrange(number, task.priority, is_moved=each == task.id), is_announced=each == task.id
            )
            for each, number in numbers.items()
        ]
        made = dict(zip(numbers, self._transactions.try_change_all(changes), strict=True))
        arranged = made[task.id]
        if arranged is None:
            raise ConflictError("The task has just started.")
        return arranged

    def _order_of(self, task: Task) -> list[str]:
        groups = self._index.line(self._clock.monotonic(), task.owner, None)
        alike = [group for group in groups if group.key.priority == task.priority]
        return [each.id for each, _ in in_order(ranked(alike))]


def _following(groups: Sequence[WaitingGroup], after: Rank | None) -> Iterator[tuple[WaitingTask, WaitingGroup]]:
    """The line from behind that rank on."""
    if after is not None:
        first = (after[0], after[1], math.nextafter(after[2], math.inf))
        tails = (group._replace(tasks=group.tasks[group.count_before(first) :]) for group in groups)
        groups = [group for group in tails if group.tasks]
    return in_order(ranked(groups))


def _check_are_in_line(task: Task, other: Task) -> None:
    if not (task.status.is_waiting and other.status.is_waiting):
        raise ConflictError("Only tasks that wait have a place to change.")
    if (task.owner, task.priority) != (other.owner, other.priority):
        raise ConflictError("Only tasks of one owner and one priority are in an order of their own.")
    if task.id == other.id:
        raise InvalidOptionError("A task cannot be put beside itself.", field="before")


def _cursor_of(task: WaitingTask, group: WaitingGroup) -> str:
    fields = ["line", task.id, *group.rank_of(task)]
    return urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode().rstrip("=")


def _rank_after(cursor: str, index: QueueIndex, groups: Sequence[WaitingGroup]) -> Rank:
    """Where that page ended. A task that still waits is looked up where it is now, for another owner's penalty may have
    changed meanwhile; for one that does not, where it was. Raises InvalidOptionError."""
    try:
        word, task_id, priority, due, seq = json.loads(urlsafe_b64decode(cursor.encode("ascii") + b"=="))
        rank = (int(priority), float(due), float(seq))
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise InvalidOptionError("cursor is not one that this server gave out.", field="cursor") from error
    if word != "line" or not isinstance(task_id, str) or not all(map(math.isfinite, rank)):
        raise InvalidOptionError("cursor is not one that this server gave out.", field="cursor")
    entry = index.entry(task_id)
    group = None if entry is None else next((each for each in groups if each.key == GroupKey.of(entry)), None)
    return rank if entry is None or group is None else group.rank_of(entry)
