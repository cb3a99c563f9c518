"""What came of one run of the simulation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.scheduling.virtual_device import VirtualDevice


@dataclass
class TaskOutcome:
    """Virtual seconds. work: of the task alone on a device."""

    arrived: float
    work: float
    started: float | None = None


@dataclass
class Outcome:
    """waits: from arrival to the first start; responses: to the end. passed_most: by how much later a task had come
    that started before one of the same owner that waited on. over_memory: starts after which more was used than a
    device has. decisions: seconds of a core that each really took."""

    scheme: str
    waits: list[float] = field(default_factory=list)
    responses: list[float] = field(default_factory=list)
    work_done: float = 0.0
    passed_most: float = 0.0
    over_memory: int = 0
    measured: int = 0
    stepped_aside: int = 0
    decisions: list[float] = field(default_factory=list)
    seconds: float = 0.0
    loads: int = 0
    busy: float = 0.0
    used_byte_seconds: float = 0.0
    promised_byte_seconds: float = 0.0

    def started(self, task: TaskOutcome, now: float, is_over_memory: bool, passed_seconds: float) -> None:
        if task.started is None:
            task.started = now
            self.waits.append(now - task.arrived)
            self.passed_most = max(self.passed_most, passed_seconds)
        self.over_memory += is_over_memory

    def ended(self, task: TaskOutcome, now: float) -> None:
        self.responses.append(now - task.arrived)
        self.work_done += task.work

    def count_memory(self, seconds: float, used: int, promised: int) -> None:
        self.used_byte_seconds += used * seconds
        self.promised_byte_seconds += promised * seconds

    def finish(self, now: float, devices: Sequence[VirtualDevice]) -> None:
        self.seconds = now
        self.loads = sum(device.loads for device in devices)
        self.busy = sum(device.busy_seconds for device in devices) / (now * len(devices)) if now else 0.0

    @property
    def throughput(self) -> float:
        """Seconds of work, of a task alone, done in a second."""
        return self.work_done / self.seconds

    @property
    def mean_wait(self) -> float:
        return statistics.fmean(self.waits)

    @property
    def mean_response(self) -> float:
        return statistics.fmean(self.responses)

    @property
    def memory_in_use(self) -> float:
        """Used of promised, averaged over time; 0 where nothing is promised."""
        return self.used_byte_seconds / self.promised_byte_seconds if self.promised_byte_seconds else 0.0

    def wait_quantile(self, quantile: float) -> float:
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]

    def decision_quantile(self, quantile: float) -> float:
        ordered = sorted(self.decisions)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]
