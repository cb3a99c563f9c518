"""What the modules of this folder work with and do not own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from optimizer.common.clock import Clock
from optimizer.devices.fleet import DeviceFleet
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.monitoring.metrics import PerformanceMonitor
from optimizer.queue.ordering import DueTimes
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.event_messages import EventMessages
from optimizer.scheduling.inbox import Inbox
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.storage_retry import StorageRetry
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import EventBus
from optimizer.timing.forecast_accuracy import ForecastTracker
from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.timing.speeds import SpeedTable


class SchedulingPath:
    """Which of two paths tasks take: planned, or the plain one, one at a time in order of arrival.

    Settled before the scheduler starts; from then on any thread may read it.
    """

    def __init__(self, plain_reason: str | None = None) -> None:
        self.plain_reason = plain_reason  # why it is the plain path; None on the optimized one

    def is_optimized(self) -> bool:
        return self.plain_reason is None

    def use_plain(self, reason: str) -> None:
        """An earlier reason stands."""
        self.plain_reason = self.plain_reason or reason


@dataclass(frozen=True)
class SchedulerParts:
    """One of each for a server."""

    clock: Clock
    path: SchedulingPath
    events: EventBus
    messages: EventMessages
    inbox: Inbox
    storage_retry: StorageRetry
    queue: IntelligentQueueManager
    files: TaskFiles
    prepare: Callable[[str], None]  # has a task's samples made in the background
    devices: DeviceFleet
    models: ModelLibrary
    estimates: MemoryEstimationPool
    monitor: PerformanceMonitor
    speeds: SpeedTable
    times: RuntimeEstimates
    due_times: DueTimes
    forecasts: ForecastTracker
    may_move_to_cpu: Callable[[], bool]  # whether a task that a GPU has no memory for may go to the CPU now
    model_idle_s: float = math.inf  # a model that no task has used for so long leaves its device
