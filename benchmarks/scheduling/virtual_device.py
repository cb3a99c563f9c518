"""A device of the simulation: its tasks share its speed as those of the batch engine were measured to do."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

ROUNDING_S = 1e-6  # by which sums of seconds may be off


@dataclass(frozen=True)
class Gain:
    """How much more a device gets done with several tasks at once than with one.

    Measured at some numbers of tasks, interpolated in between, constant beyond the last.
    """

    points: Sequence[tuple[int, float]]  # tasks, and the factor

    def at(self, tasks: int) -> float:
        numbers = [number for number, _ in self.points]
        place = bisect_right(numbers, tasks)
        if place == 0 or place == len(numbers):
            return self.points[max(0, place - 1)][1]
        (low, low_gain), (high, high_gain) = self.points[place - 1], self.points[place]
        return low_gain + (high_gain - low_gain) * (tasks - low) / (high - low)


@dataclass
class Running:
    """A task on the device. begun, ends: in seconds of service, see VirtualDevice.served."""

    task_id: str
    work: float
    begun: float
    ends: float
    is_ending: bool = False  # at its next window


@dataclass
class VirtualDevice:
    """Serves every running task at the same rate. Times are virtual seconds, work is seconds of a task alone."""

    name: str
    slots: int
    gain: Gain
    now: float = 0.0
    served: float = 0.0  # work that a task would have had done if it had run from the beginning
    resumes_at: float = 0.0  # until then a model is being loaded, and no task makes progress
    running: dict[str, Running] = field(default_factory=dict)
    busy_seconds: float = 0.0
    slot_seconds: float = 0.0  # tasks that ran, times how long
    served_in_all: float = 0.0  # work of all tasks that was done
    loads: int = 0
    _ends: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rates = [0.0, *(self.gain.at(count) / count for count in range(1, self.slots + 1))]

    @property
    def rate(self) -> float:
        """Of each task."""
        return self._rates[len(self.running)]

    def advance(self, now: float) -> None:
        """Let time pass."""
        if self.running:
            self.busy_seconds += now - self.now
            self.slot_seconds += (now - self.now) * len(self.running)
            served = max(0.0, now - max(self.now, self.resumes_at)) * self.rate
            self.served += served
            self.served_in_all += served * len(self.running)
        self.now = now

    def begin(self, task_id: str, work: float, delay: float = 0.0) -> None:
        """delay: seconds of service that the task takes before its work begins."""
        begun = self.served + delay
        self.running[task_id] = Running(task_id, work, begun, begun + work)
        heappush(self._ends, (begun + work, task_id))

    def load(self, seconds: float) -> None:
        self.resumes_at = max(self.now, self.resumes_at) + seconds
        self.loads += 1

    def preempt(self, task_id: str, window_work: float) -> None:
        """Has the task leave at the end of its present window."""
        task = self.running[task_id]
        windows = int((self.served - task.begun + ROUNDING_S) / window_work) + 1
        task.is_ending = True
        task.ends = min(task.ends, task.begun + windows * window_work)
        heappush(self._ends, (task.ends, task_id))

    def done(self, task_id: str) -> float:
        """How much of the task's work is done."""
        task = self.running[task_id]
        return min(task.work, max(0.0, self.served - task.begun))

    def reaches(self, task_id: str, work: float) -> float:
        """When so much of the task's work is done if no task is added; the present if it is."""
        task = self.running[task_id]
        return max(self.now, self.resumes_at) + max(0.0, task.begun + work - self.served) / self.rate

    def next_end(self) -> float:
        """When the next task ends or leaves if none is added; infinity when none runs."""
        while self._ends and not self._is_current(self._ends[0]):
            heappop(self._ends)
        if not self._ends:
            return float("inf")
        return max(self.now, self.resumes_at) + max(0.0, self._ends[0][0] - self.served) / self.rate

    def pop_ended(self) -> Running | None:
        """Removes a task that has ended or left by now; None when there is none."""
        self.next_end()
        if not self._ends or self._ends[0][0] > self.served + 1e-9:
            return None
        return self.running.pop(heappop(self._ends)[1])

    def _is_current(self, entry: tuple[float, str]) -> bool:
        end, task_id = entry
        task = self.running.get(task_id)
        return task is not None and task.ends == end
