"""The places of waiting tasks in the whole queue, counted without putting the queue in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optimizer.queue.ready_queue import GroupKey, WaitingGroup, WaitingTask
from optimizer.tasks.task import Priority


def places(
    tasks: Iterable[WaitingTask], groups: Iterable[WaitingGroup], penalties: Mapping[str, float]
) -> dict[str, int]:
    """Each task's place by rank, from 1, by its id. groups: all that waits. penalties: of the owners."""
    by_priority: dict[Priority, list[WaitingGroup]] = {priority: [] for priority in Priority}
    for group in groups:
        by_priority[group.key.priority].append(group)
    sizes = {priority: sum(len(group.tasks) for group in by_priority[priority]) for priority in Priority}
    found = {}
    for task in tasks:
        rank = WaitingGroup(GroupKey.of(task), (), penalties.get(task.owner, 0.0)).rank_of(task)
        more_urgent = sum(size for priority, size in sizes.items() if priority > task.priority)
        before = sum(group.count_before(rank) for group in by_priority[task.priority])
        found[task.id] = 1 + more_urgent + before
    return found
