"""The plan while a decision makes it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

from optimizer.planning.assignment import Assignment
from optimizer.planning.device_plan import DevicePlan, Fit
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ready_queue import WaitingTask, WaitingView
from optimizer.tasks.start_reason import StartReason
from optimizer.tasks.task import Priority


class Draft:
    """What one decision has settled so far. Not thread-safe."""

    def __init__(self, waiting: WaitingView, devices: Sequence[DevicePlan], limits: PlanLimits) -> None:
        self.devices = devices
        self.most_running = limits.most_running(device.view.slots for device in devices)
        self.assignments: list[Assignment] = []
        self.taken: set[str] = set()  # ids of tasks that are started, or that one device already makes room for
        self._waiting = waiting
        self._started: defaultdict[Priority, list[float]] = defaultdict(list)  # seq of each, in order
        self._min_concurrent = limits.min_concurrent
        self._running = sum(len(device.view.running) for device in devices)

    @property
    def room(self) -> int:
        """How many more tasks may start over all devices."""
        return self.most_running - self._running - len(self.assignments)

    @property
    def is_below_minimum(self) -> bool:
        """Whether so few tasks run that one may start even in memory that other programs use."""
        return self._running + len(self.assignments) < self._min_concurrent

    def start(self, device: DevicePlan, task: WaitingTask, fit: Fit, why: StartReason) -> None:
        self.assignments.append(device.accept(task, fit, why, self.count_passed(task, task.priority)))
        self.taken.add(task.id)
        insort(self._started[task.priority], task.seq)

    def count_passed(self, task: WaitingTask, priority: Priority) -> int:
        """How many tasks of that priority arrived before this one and are not started either."""
        started_before = bisect_left(self._started[priority], task.seq)
        return max(0, self._waiting.count_arrived_before(priority, task.seq) - started_before)
