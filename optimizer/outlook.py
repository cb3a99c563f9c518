"""What can be said of a task's future: its place, why it waits, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optimizer import waiting_reasons as reasons
from optimizer.clock import Clock
from optimizer.device import DeviceStatus
from optimizer.queue_manager import IntelligentQueueManager
from optimizer.task import Task, TaskStatus
from optimizer.throughput import SpeedBook
from optimizer.views import TaskView
from optimizer.waiting_reasons import WaitReason

MAX_FORECAST_POSITION = 50  # further back a forecast would cost more than it is worth


class Outlook:
    """Any thread."""

    def __init__(
        self,
        queue: IntelligentQueueManager,
        speeds: SpeedBook,
        clock: Clock,
        statuses: Callable[[], Sequence[DeviceStatus]],
        reason: Callable[[str], WaitReason | None],
    ) -> None:
        """statuses: of all devices, now. reason: why the scheduler's last decision left a task waiting."""
        self._queue = queue
        self._speeds = speeds
        self._clock = clock
        self._statuses = statuses
        self._reason = reason

    def view(self, task: Task) -> TaskView:
        if not task.status.is_waiting:
            return TaskView(task, eta_seconds=self.remaining_seconds(task))
        position = self._queue.position(task.id)
        is_near = position is not None and position <= MAX_FORECAST_POSITION
        eta_s = self._waiting_seconds(task) if is_near else None
        return TaskView(task, position, self._waiting_reason(task), eta_s)

    def remaining_seconds(self, task: Task) -> float | None:
        """Until a running task is done; None for any other, or before its model was measured."""
        if task.status is not TaskStatus.PROCESSING or task.device is None:
            return None
        audio_left = (task.audio_seconds or 0.0) * (1 - task.progress)
        return self._speeds.running_eta(task.options.model, task.device, audio_left)

    def _waiting_seconds(self, task: Task) -> float | None:
        """Until a waiting task is done, if nothing passes it."""
        statuses = self._statuses()
        ahead = [work for status in statuses for work in status.work_left]
        ahead += [(each.model, each.audio_seconds) for each in self._queue.waiting().ahead_of(task.priority, task.seq)]
        names = [status.spec.name for status in statuses]
        # While tasks wait, as many run as can: memory, slots and limits have had their say.
        side_by_side = sum(len(status.running) for status in statuses)
        return self._speeds.waiting_eta(
            task.options.model, task.audio_seconds or 0.0, ahead, names, side_by_side=max(1, side_by_side)
        )

    def _waiting_reason(self, task: Task) -> WaitReason | None:
        if not task.is_prepared:
            return reasons.preparing()
        if task.status is TaskStatus.RETRYING and task.not_before is not None:
            return reasons.retry_delay((task.not_before - self._clock.now()).total_seconds())
        return self._reason(task.id)
