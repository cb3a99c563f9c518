"""The tasks that may run now, grouped so that a decision looks at a few groups instead of at every task.

A group is what the policy tells apart by order of arrival only: same model, same priority, same wanted device. There
are at most a few dozen of them, however many tasks wait.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from operator import attrgetter

from optimizer.task import AUTO_DEVICE, Priority

_seq = attrgetter("seq")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingTask:
    """A prepared task whose turn may come now.

    seq: order of arrival, unique. device: the one asked for, or `auto`. waiting_since: monotonic seconds.
    """

    id: str
    seq: int
    model: str
    priority: Priority
    audio_seconds: float
    waiting_since: float
    device: str = AUTO_DEVICE
    word_timestamps: bool = False


@dataclass(frozen=True, slots=True)
class GroupKey:
    model: str
    priority: Priority
    device: str

    @classmethod
    def of(cls, task: WaitingTask) -> GroupKey:
        return cls(task.model, task.priority, task.device)


@dataclass(frozen=True, slots=True)
class WaitingGroup:
    """tasks: in order of arrival, never empty."""

    key: GroupKey
    tasks: tuple[WaitingTask, ...]


@dataclass(frozen=True)
class WaitingView:
    """Every waiting task at one moment; the groups are immutable, so they are read without a lock.

    find: the task of an id, or None; asks the index as it is now, since a copy of 100,000 ids would cost 50 ms a view.
    """

    groups: tuple[WaitingGroup, ...]
    find: Callable[[str], WaitingTask | None] = field(repr=False, compare=False)

    @classmethod
    def of(cls, tasks: Iterable[WaitingTask]) -> WaitingView:
        """Groups tasks that come in any order; reads all of them, so a long queue is better kept in a WaitingIndex."""
        index = WaitingIndex()
        for task in sorted(tasks, key=_seq):
            index.add(task)
        return index.view()

    def __iter__(self) -> Iterator[WaitingTask]:
        return (task for group in self.groups for task in group.tasks)

    def ahead_of(self, priority: Priority, seq: int) -> Iterator[WaitingTask]:
        """Those before that place, by priority and arrival; takes as long as there are such tasks, not as all."""
        for group in self.groups:
            if group.key.priority > priority:
                yield from group.tasks
            elif group.key.priority == priority:
                yield from takewhile(lambda task: task.seq < seq, group.tasks)

    def __len__(self) -> int:
        return sum(len(group.tasks) for group in self.groups)

    def __contains__(self, task: object) -> bool:
        """Whether exactly this task waited at that moment."""
        if not isinstance(task, WaitingTask):
            return False
        group = next((group for group in self.groups if group.key == GroupKey.of(task)), None)
        if group is None:
            return False
        place = bisect_left(group.tasks, task.seq, key=_seq)
        return group.tasks[place : place + 1] == (task,)


class WaitingIndex:
    """The same groups, kept up to date one task at a time. Not thread-safe: its owner locks.

    `view` copies only the groups that changed since the last one (100,000 pointers take about 0.2 ms).
    """

    def __init__(self) -> None:
        self._groups: dict[GroupKey, list[WaitingTask]] = {}
        self._by_id: dict[str, WaitingTask] = {}
        self._views: dict[GroupKey, WaitingGroup] = {}

    @classmethod
    def of(cls, tasks: Iterable[WaitingTask]) -> WaitingIndex:
        """Of tasks that come in order of arrival; several times faster than adding each."""
        index = cls()
        groups: dict[tuple[str, Priority, str], list[WaitingTask]] = {}
        for task in tasks:
            groups.setdefault((task.model, task.priority, task.device), []).append(task)
            index._by_id[task.id] = task
        index._groups = {GroupKey(*key): group for key, group in groups.items()}
        return index

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._by_id

    def get(self, task_id: str) -> WaitingTask | None:
        return self._by_id.get(task_id)

    def add(self, task: WaitingTask) -> None:
        """Puts `task` in its place; replaces an entry of the same id."""
        self.discard(task.id)
        key = GroupKey.of(task)
        tasks = self._groups.setdefault(key, [])
        tasks.insert(bisect_left(tasks, task.seq, key=_seq), task)
        self._by_id[task.id] = task
        self._views.pop(key, None)

    def discard(self, task_id: str) -> WaitingTask | None:
        """Takes the task out and returns it; None when it was not there."""
        task = self._by_id.pop(task_id, None)
        if task is None:
            return None
        key = GroupKey.of(task)
        tasks = self._groups[key]
        del tasks[bisect_left(tasks, task.seq, key=_seq)]
        if not tasks:
            del self._groups[key]
        self._views.pop(key, None)
        return task

    def position(self, task_id: str) -> int | None:
        """The task's place, from 1, by priority and then by arrival; None when it does not wait."""
        task = self._by_id.get(task_id)
        return None if task is None else self.count_ahead_of(task) + 1

    def count_ahead_of(self, task: WaitingTask) -> int:
        """How many come before `task`, which need not be here, by priority and then by arrival."""
        ahead = 0
        for key, tasks in self._groups.items():
            if key.priority > task.priority:
                ahead += len(tasks)
            elif key.priority == task.priority:
                ahead += bisect_left(tasks, task.seq, key=_seq)
        return ahead

    def view(self) -> WaitingView:
        for key, tasks in self._groups.items():
            if key not in self._views:
                self._views[key] = WaitingGroup(key, tuple(tasks))
        return WaitingView(tuple(self._views[key] for key in self._groups), self._by_id.get)
