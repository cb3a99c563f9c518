"""What a decision comes to, and the limits that it keeps to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from optimizer.planning.device_plan import Assignment
from optimizer.planning.explain import Explanation
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingView
from optimizer.tasks.wait_reasons import WaitReason

MAX_REASONS = 200  # reasons that `Plan.reasons` works out; one page of the list


@dataclass(frozen=True, kw_only=True)
class PlanLimits:
    """min_concurrent, max_concurrent: tasks running over all devices. Below min_concurrent an idle device starts a task
    even if other programs use the memory for it. max_concurrent None: as many as the devices have slots, if memory
    allows. min_batch, max_batch: tasks handed to one device in one round; a busy device waits for min_batch free slots
    only while that many tasks of the model are there. starvation_s, passing_s: see `policy`. steps_aside: whether
    running tasks may make way."""

    min_concurrent: int = 1
    max_concurrent: int | None = 8
    min_batch: int = 1
    max_batch: int = 4
    starvation_s: float = 300.0
    overtake_limit_s: float = 900.0
    preempts: bool = True

    def most_running(self, slots: Iterable[int]) -> int:
        """Tasks that may run over all devices, of which each has so many slots."""
        return sum(slots) if self.max_concurrent is None else self.max_concurrent


@dataclass(frozen=True)
class Plan:
    """What to start now, what should make way, and why the others wait. `assignments` are in the order in which to
    carry them out."""

    assignments: tuple[Assignment, ...]
    waiting: WaitingView = field(repr=False)
    explain: Explanation = field(repr=False, compare=False)
    preemptions: tuple[Preemption, ...] = ()

    @cached_property
    def assigned(self) -> frozenset[str]:
        return frozenset(assignment.task_id for assignment in self.assignments)

    @cached_property
    def reasons(self) -> dict[str, WaitReason]:
        """Of the first tasks that stay waiting, in their order; `reason_for` has those further back."""
        staying = (task for task in self.waiting.in_order() if task.id not in self.assigned)
        return {task.id: self.explain(task) for task in islice(staying, MAX_REASONS)}

    def reason_for(self, task_id: str) -> WaitReason | None:
        """Why that task was not chosen; None when it was, or when the decision did not see it as it is now."""
        if task_id in self.assigned:
            return None
        task = self.waiting.find(task_id)
        return self.explain(task) if task is not None and task in self.waiting else None
