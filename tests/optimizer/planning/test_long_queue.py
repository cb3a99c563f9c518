"""A decision takes no longer because many tasks wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from optimizer.planning.plan import PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks.task import Priority
from tests.optimizer.planning.helpers import ESTIMATES, EVERY_MODEL, TIMES, device, task

WAITING = 100_000
FEW = 500  # one group of the tasks below has 8,333


class CountedTasks(tuple[WaitingTask, ...]):
    """A group's tasks, which count how many of them are looked at."""

    looks = 0  # of all groups

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        CountedTasks.looks += len(found) if isinstance(place, slice) else 1
        return found

    def __iter__(self) -> Iterator[WaitingTask]:
        for each in super().__iter__():
            CountedTasks.looks += 1
            yield each


def test_a_decision_over_a_hundred_thousand_tasks_looks_at_few_of_them() -> None:
    """Looks are counted, since a time would depend on what else the machine does."""
    models = ("tiny", "base", "medium", "large")
    index = WaitingIndex.of(
        task(seq, models[seq % 4], Priority(seq % 3), audio_seconds=float(seq % 997)) for seq in range(WAITING)
    )
    view = index.view()
    counted = replace(view, groups=tuple(group._replace(tasks=CountedTasks(group.tasks)) for group in view.groups))
    devices = [device("cuda:0", rounds=2), device("cuda:1")]
    CountedTasks.looks = 0
    decision = plan(counted, devices, ESTIMATES, TIMES, EVERY_MODEL, PlanLimits(), now=10.0)
    assert len(decision.assignments) == 2
    assert 0 < CountedTasks.looks < FEW
