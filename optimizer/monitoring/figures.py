"""The system in figures, for programs that watch it: nothing in it is about one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.devices.status import DeviceStatus
from optimizer.monitoring.totals import Totals
from optimizer.tasks.task import TaskStatus


@dataclass(frozen=True)
class ExtraFigure:
    """The value of a metric that another package brought."""

    name: str
    title: str
    value: float


@dataclass(frozen=True)
class Figures:
    is_optimized: bool  # see SchedulingPath
    counts: Mapping[TaskStatus, int]  # tasks in each state
    entered: Mapping[TaskStatus, int]  # how many times tasks have come into it since the start
    failures: Mapping[str, int]  # tasks that failed for good since the start, by error code
    throughput: float  # seconds of sound per second, over a minute
    totals: Totals
    devices: Sequence[DeviceStatus]
    extra: Sequence[ExtraFigure] = ()
