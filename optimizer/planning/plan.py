"""What a decision results in, and the limits that it keeps to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from config import Settings
from optimizer.planning.assignment import Assignment
from optimizer.planning.explain import Explanation
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingView
from optimizer.tasks.wait_reasons import WaitReason


@dataclass(frozen=True, kw_only=True)
class PlanLimits:
    """How many tasks may run, and how long one may be made to wait for others."""

    min_concurrent: int = 1  # below it an idle device starts a task even in memory that other programs use
    max_concurrent: int | None = 8  # over all devices; None: as many as they have slots, if memory allows
    min_batch: int = 1  # a busy device waits for so many free slots, while so many tasks of the model wait
    max_batch: int = 4  # tasks handed to one device in one round
    starvation_s: float = 300.0  # see `fairness`
    overtake_limit_s: float = 900.0  # see `fairness`
    preempts: bool = True  # whether running tasks may make way for waiting ones

    def most_running(self, slots: Iterable[int]) -> int:
        """How many tasks may run over all devices. slots: of each device."""
        return sum(slots) if self.max_concurrent is None else self.max_concurrent

    @classmethod
    def of(cls, settings: Settings) -> PlanLimits:
        return cls(
            min_concurrent=settings.min_concurrent_tasks,
            max_concurrent=settings.max_concurrent,
            min_batch=settings.min_batch_size,
            max_batch=settings.max_batch_size,
        )


@dataclass(frozen=True)
class Plan:
    """What to start now, what should make way, and why the other tasks wait."""

    assignments: tuple[Assignment, ...]  # in the order in which to carry them out
    waiting: WaitingView = field(repr=False)
    explain: Explanation = field(repr=False, compare=False)
    preemptions: tuple[Preemption, ...] = ()

    @cached_property
    def assigned(self) -> frozenset[str]:
        return frozenset(assignment.task_id for assignment in self.assignments)

    def reason_for(self, task_id: str) -> WaitReason | None:
        """Why that task was not chosen; None when it was, or when it has changed since the decision."""
        if task_id in self.assigned:
            return None
        task = self.waiting.find(task_id)
        return self.explain(task) if task is not None and task in self.waiting else None
