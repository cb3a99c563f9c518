"""Which idle models may be unloaded to make room for a task."""

from __future__ import annotations

from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.ranking import Ranking
from optimizer.queue.ready_queue import WaitingTask


def evictable(ranking: Ranking, device: DevicePlan, task: WaitingTask, *, protects_demanded: bool) -> list[str]:
    """Idle resident models, those in least demand first, of those the smallest.

    protects_demanded: leaves out models that a task of higher priority waits for.
    """
    idle = device.evictable(task.model)
    demand = {model: _demand(ranking, device, model) for model in idle}
    if protects_demanded:
        idle = [model for model in idle if demand[model] <= task.priority]
    return sorted(idle, key=lambda model: (demand[model], device.resident[model], model))


def _demand(ranking: Ranking, device: DevicePlan, model: str) -> int:
    """The highest priority of the tasks that wait for the model on this device; -1 when none does."""
    priorities = [
        int(group.key.priority)
        for _, group in ranking.groups_of_model(device, model)
        if ranking.head(device, group) is not None
    ]
    return max(priorities, default=-1)
