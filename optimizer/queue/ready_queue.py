"""Waiting tasks in order, grouped so that a decision looks at a few groups instead of at every task.

Tasks of one group have the same model, priority, requested device and owner, so only due times tell them apart.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush, heapreplace
from operator import attrgetter, itemgetter
from typing import NamedTuple

from optimizer.common.kinds import AUTO_DEVICE
from optimizer.tasks.task import Priority
from whisper_core.common.units import BYTES_PER_SAMPLE, SAMPLE_RATE


class WaitingTask(NamedTuple):
    """What the planner knows of a waiting task. A tuple, because 100,000 of them are made at a start."""

    id: str
    seq: float  # order of arrival, unique; a fraction where its owner put it behind another one (see `arrangement`)
    model: str
    priority: Priority
    audio_seconds: float
    audio_left_seconds: float  # the part that is still to be transcribed
    waiting_since: float  # monotonic seconds
    due: float  # monotonic seconds; see `ordering`
    device: str = AUTO_DEVICE  # the requested one
    owner: str = ""  # whose share of the devices it takes
    word_timestamps: bool = False
    is_chunked: bool = False  # see TranscribeOptions
    beams: int = 0  # likewise
    speakers: bool = False  # see TaskOptions

    @property
    def place(self) -> tuple[float, float]:
        """Its order within its group."""
        return (self.due, self.seq)

    @property
    def sample_bytes(self) -> int:
        """What its samples take on the disk; 0 while its length is not known."""
        return int(self.audio_seconds * SAMPLE_RATE) * BYTES_PER_SAMPLE


# The place, the group's key and single fields of a WaitingTask, read at the speed of C.
_place = attrgetter("due", "seq")
_group = attrgetter("model", "priority", "device", "owner")
_seq, _due = attrgetter("seq"), attrgetter("due")


class GroupKey(NamedTuple):
    model: str
    priority: Priority
    device: str
    owner: str

    @classmethod
    def of(cls, task: WaitingTask) -> GroupKey:
        return cls(task.model, task.priority, task.device, task.owner)


class WaitingGroup(NamedTuple):
    key: GroupKey
    tasks: Sequence[WaitingTask]  # by place; a tuple, and never empty, in a view
    penalty: float = 0.0  # seconds by which the owner's tasks are set back; see `ordering.OwnerShares`

    def rank_of(self, task: WaitingTask) -> tuple[int, float, float]:
        """The task's order across groups, as far as it does not depend on a device: smaller goes first."""
        return (-self.key.priority, task.due + self.penalty, task.seq)

    def count_before(self, rank: tuple[int, float, float]) -> int:
        """How many of the group's tasks come before that rank."""
        negative_priority, due, seq = rank
        if -self.key.priority != negative_priority:
            return len(self.tasks) if -self.key.priority < negative_priority else 0
        # At the speed of C to the tasks that are due at nearly the same time, of which there is seldom one. Among them
        # the penalty is added to each task, not taken off the rank: rounded sums must be equal for equal tasks.
        nearly = 1e-9 * (abs(due) + abs(self.penalty))
        low = bisect_left(self.tasks, due - self.penalty - nearly, key=_due)
        if low == len(self.tasks) or self.tasks[low].due > due - self.penalty + nearly:
            return low
        high = bisect_right(self.tasks, due - self.penalty + nearly, lo=low, key=_due)
        return bisect_left(self.tasks, (due, seq), low, high, key=lambda task: (task.due + self.penalty, task.seq))


@dataclass(frozen=True)
class WaitingView:
    """Every waiting task at one moment. The groups are immutable, so they are read without a lock.

    The functions ask the index as it is now: a copy of 100,000 ids would cost 50 ms for each view.
    """

    groups: tuple[WaitingGroup, ...]
    find: Callable[[str], WaitingTask | None] = field(repr=False, compare=False)  # by id
    # How many tasks of a priority arrived before a `seq`.
    count_arrived_before: Callable[[Priority, float], int] = field(repr=False, compare=False)
    # The penalty of a running task if it waited too. Its owner, and the seconds of work that it has left.
    requeued_penalty: Callable[[str, float], float] = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[WaitingTask]:
        return (task for group in self.groups for task in group.tasks)

    def __len__(self) -> int:
        return sum(len(group.tasks) for group in self.groups)

    def __contains__(self, task: object) -> bool:
        """Whether exactly this task waited at that moment."""
        if not isinstance(task, WaitingTask):
            return False
        group = self.group_of(task)
        if group is None:
            return False
        place = bisect_left(group.tasks, task.place, key=_place)
        return group.tasks[place : place + 1] == (task,)

    def without(self, task_ids: Collection[str]) -> WaitingView:
        """The same tasks but for a few of them."""
        left_out = [task for task in map(self.find, task_ids) if task is not None]
        if not left_out:
            return self
        keys = {GroupKey.of(task) for task in left_out}
        groups = [
            group._replace(tasks=tuple(task for task in group.tasks if task.id not in task_ids))
            if group.key in keys
            else group
            for group in self.groups
        ]
        return replace(
            self,
            groups=tuple(group for group in groups if group.tasks),
            find=lambda task_id: None if task_id in task_ids else self.find(task_id),
        )

    def in_order(self) -> Iterator[WaitingTask]:
        """All tasks by rank: the order in which they run, as far as devices and memory do not change it."""
        return (task for task, _ in in_order(ranked(self.groups)))

    def count_ahead_of(self, task: WaitingTask, penalty: float = 0.0) -> int:
        """How many come before `task`, which need not be here, by rank. penalty: its owner's."""
        rank = WaitingGroup(GroupKey.of(task), (), penalty).rank_of(task)
        return sum(group.count_before(rank) for group in self.groups)

    def group_of(self, task: WaitingTask) -> WaitingGroup | None:
        """The group that the task belongs to; None when nothing of that group waits."""
        key = GroupKey.of(task)
        return next((group for group in self.groups if group.key == key), None)


Rank = tuple[int, float, float]
RankedGroup = tuple[Rank, WaitingGroup]


def ranked(groups: Iterable[WaitingGroup]) -> list[RankedGroup]:
    """The groups with the ranks of their first tasks, in order."""
    return sorted(((group.rank_of(group.tasks[0]), group) for group in groups), key=itemgetter(0))


def in_order(groups: Sequence[RankedGroup]) -> Iterator[tuple[WaitingTask, WaitingGroup]]:
    """All tasks of several groups by rank, each with its group. groups: by rank of their first tasks, as from `ranked`.

    A group is opened when its first task's turn comes, since callers often take only a few tasks of many groups.
    """
    opened: list[tuple[Rank, int, int]] = []  # of each open group: its next task's rank, the group's index, the task's
    unopened = 0
    while opened or unopened < len(groups):
        if unopened < len(groups) and (not opened or groups[unopened][0] < opened[0][0]):
            heappush(opened, (groups[unopened][0], unopened, 0))
            unopened += 1
            continue
        _, place, index = opened[0]
        group = groups[place][1]
        yield group.tasks[index], group
        if index + 1 < len(group.tasks):
            heapreplace(opened, (group.rank_of(group.tasks[index + 1]), place, index + 1))
        else:
            heappop(opened)


class WaitingIndex:
    """The same groups, kept up to date one task at a time. Not thread-safe: the caller locks.

    `view` copies only the groups that changed since the last one (100,000 pointers take about 0.2 ms).
    """

    def __init__(self) -> None:
        self._groups: dict[GroupKey, list[WaitingTask]] = {}
        self._by_id: dict[str, WaitingTask] = {}
        self._arrivals: dict[Priority, list[float]] = {priority: [] for priority in Priority}
        self._copies: dict[GroupKey, tuple[WaitingTask, ...]] = {}

    @classmethod
    def of(cls, tasks: Iterable[WaitingTask]) -> WaitingIndex:
        """Several times faster than adding each."""
        index = cls()
        index._by_id = {task.id: task for task in tasks}
        groups: defaultdict[tuple[str, Priority, str, str], list[WaitingTask]] = defaultdict(list)
        for task in index._by_id.values():
            groups[_group(task)].append(task)
        for (model, priority, device, owner), group in groups.items():
            # Sorts by `place`: single numbers are compared faster than pairs, and most groups are in order of arrival.
            group.sort(key=_seq)
            index._arrivals[priority].extend(map(_seq, group))
            group.sort(key=_due)
            index._groups[GroupKey(model, priority, device, owner)] = group
        for arrivals in index._arrivals.values():
            arrivals.sort()
        return index

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, task_id: str) -> WaitingTask | None:
        return self._by_id.get(task_id)

    def add(self, task: WaitingTask) -> None:
        """Puts `task` in its place; replaces an entry of the same id."""
        self.discard(task.id)
        key = GroupKey.of(task)
        insort(self._groups.setdefault(key, []), task, key=_place)
        insort(self._arrivals[task.priority], task.seq)
        self._by_id[task.id] = task
        self._copies.pop(key, None)

    def discard(self, task_id: str) -> WaitingTask | None:
        """Removes the task and returns it; None when it was not there."""
        task = self._by_id.pop(task_id, None)
        if task is None:
            return None
        key = GroupKey.of(task)
        tasks = self._groups[key]
        del tasks[bisect_left(tasks, task.place, key=_place)]
        if not tasks:
            del self._groups[key]
        arrivals = self._arrivals[task.priority]
        del arrivals[bisect_left(arrivals, task.seq)]
        self._copies.pop(key, None)
        return task

    def groups(self, penalties: Mapping[str, float]) -> list[WaitingGroup]:
        """Not copied, so they are valid only until the next change. penalties: see `view`."""
        return [WaitingGroup(key, tasks, penalties.get(key.owner, 0.0)) for key, tasks in self._groups.items()]

    def owners(self) -> set[str]:
        """The owners of these tasks."""
        return {key.owner for key in self._groups}

    def view(
        self,
        penalties: Mapping[str, float] | None = None,
        requeued_penalty: Callable[[str, float], float] = lambda owner, work_left_s: 0.0,
    ) -> WaitingView:
        """penalties: seconds by which each owner's tasks are set back. requeued_penalty: see WaitingView."""
        for key, tasks in self._groups.items():
            if key not in self._copies:
                self._copies[key] = tuple(tasks)
        penalties = penalties or {}
        groups = tuple(WaitingGroup(key, self._copies[key], penalties.get(key.owner, 0.0)) for key in self._groups)
        return WaitingView(groups, self._by_id.get, self._count_arrived_before, requeued_penalty)

    def _count_arrived_before(self, priority: Priority, seq: float) -> int:
        """Safe to call from any thread without the lock: bisecting a list of numbers is one step for other threads."""
        return bisect_left(self._arrivals[priority], seq)
