"""What a scheduling policy is: a pure function of a situation, and the order in which the queue keeps its tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from optimizer.planning.inputs import DeviceView, Estimates, ModelView, Times
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.queue.ready_queue import WaitingView


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that a decision depends on. Nothing in it may be changed."""

    waiting: WaitingView  # also tasks whose model or device is not here
    devices: Sequence[DeviceView]
    estimates: Estimates  # of memory
    times: Times
    models: Mapping[str, ModelView]  # of the waiting tasks
    limits: PlanLimits
    now: float  # monotonic seconds


class QueueOrder(Enum):
    """In which order the queue keeps its tasks: the places that people are shown, whose samples are made first, and the
    order of `Situation.waiting`. A higher priority comes first in each."""

    SHORT_FIRST = "short first"  # but not for ever, and fair to owners; see queue/ordering.py
    ARRIVAL = "arrival"


@dataclass(frozen=True)
class SchedulingPolicy:
    """decide: what to start next. Pure: the same situation gives the same plan. Called on the scheduler's thread, which
    does nothing else meanwhile."""

    name: str
    decide: Callable[[Situation], Plan]
    order: QueueOrder = QueueOrder.SHORT_FIRST
    is_built_in: bool = False  # its plans are carried out unchecked
