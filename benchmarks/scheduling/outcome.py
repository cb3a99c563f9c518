"""The result of one run of the simulation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.scheduling.virtual_device import VirtualDevice


@dataclass
class TaskOutcome:
    """Virtual seconds."""

    arrived: float
    work: float  # what the task would take alone on a device
    started: float | None = None


@dataclass
class Outcome:
    """Virtual seconds, unless a remark says otherwise."""

    scheme: str
    waits: list[float] = field(default_factory=list)  # from arrival to the first start
    responses: list[float] = field(default_factory=list)  # from arrival to the end
    work_done: float = 0.0
    passed_most: float = 0.0  # how much later than a waiting task of the same owner one that started had arrived
    over_memory: int = 0  # starts after which more memory was used than the device has
    measured: int = 0  # tasks whose memory was measured
    stepped_aside: int = 0  # preemptions
    decisions: list[float] = field(default_factory=list)  # real CPU seconds of each
    seconds: float = 0.0
    loads: int = 0  # of models
    busy: float = 0.0  # share of the time in which a device ran something, 0 to 1
    used_byte_seconds: float = 0.0
    reserved_byte_seconds: float = 0.0

    def started(self, task: TaskOutcome, now: float, is_over_memory: bool, passed_seconds: float) -> None:
        if task.started is None:
            task.started = now
            self.waits.append(now - task.arrived)
            self.passed_most = max(self.passed_most, passed_seconds)
        self.over_memory += is_over_memory

    def ended(self, task: TaskOutcome, now: float) -> None:
        self.responses.append(now - task.arrived)
        self.work_done += task.work

    def count_memory(self, seconds: float, used: int, reserved: int) -> None:
        self.used_byte_seconds += used * seconds
        self.reserved_byte_seconds += reserved * seconds

    def finish(self, now: float, devices: Sequence[VirtualDevice]) -> None:
        self.seconds = now
        self.loads = sum(device.loads for device in devices)
        self.busy = sum(device.busy_seconds for device in devices) / (now * len(devices)) if now else 0.0

    @property
    def throughput(self) -> float:
        """Seconds of work done per second."""
        return self.work_done / self.seconds

    @property
    def mean_wait(self) -> float:
        return statistics.fmean(self.waits)

    @property
    def mean_response(self) -> float:
        return statistics.fmean(self.responses)

    @property
    def memory_in_use(self) -> float:
        """Used as a fraction of what is reserved, averaged over time; 0 where nothing is reserved."""
        return self.used_byte_seconds / self.reserved_byte_seconds if self.reserved_byte_seconds else 0.0

    def wait_quantile(self, quantile: float) -> float:
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]

    def decision_quantile(self, quantile: float) -> float:
        ordered = sorted(self.decisions)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]
