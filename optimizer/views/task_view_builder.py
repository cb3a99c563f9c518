"""What can be said about a task's future: its place, why it waits, when it will begin and be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from errors import OutOfMemoryError
from optimizer.common.clock import Clock
from optimizer.devices.fleet import DeviceFleet
from optimizer.intake.preparer import Preparer
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.queue.ready_queue import WaitingTask
from optimizer.scheduling.decision import DecisionMaker
from optimizer.scheduling.running_progress import RunningProgress
from optimizer.tasks import wait_reasons as reasons
from optimizer.tasks.retention import RetentionRules
from optimizer.tasks.task import Task, TaskStatus
from optimizer.tasks.wait_reasons import WaitReason
from optimizer.timing.forecast import Expected, Places, forecast
from optimizer.timing.forecast_accuracy import ForecastTracker, Interval
from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.timing.speeds import SpeedTable
from optimizer.views.task_view import TaskView

MAX_FORECAST_POSITION = 200  # further back a forecast costs more than it is worth
FORECAST_LASTS_S = 1.0


class TaskViewBuilder:
    """Any thread."""

    def __init__(
        self,
        *,
        queue: IntelligentQueueManager,
        preparer: Preparer,
        devices: DeviceFleet,
        decisions: DecisionMaker,
        progress: RunningProgress,
        speeds: SpeedTable,
        times: RuntimeEstimates,
        forecasts: ForecastTracker,
        rules: Callable[[], RetentionRules],
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._preparer = preparer
        self._devices = devices
        self._decisions = decisions
        self._progress = progress
        self._speeds = speeds
        self._times = times
        self._tracker = forecasts
        self._rules = rules
        self._clock = clock
        self._lock = Lock()
        self._forecast: dict[str, Expected] = {}
        self._forecast_of: frozenset[str] = frozenset()  # the tasks that the forecast is about
        self._forecast_at = float("-inf")

    def task_view(self, task: Task) -> TaskView:
        (view,) = self.task_views([task])
        return view

    def task_views(self, tasks: Sequence[Task]) -> list[TaskView]:
        """In the same order. Together they cost much less than one by one."""
        positions = self._queue.positions(task.id for task in tasks if task.status.is_waiting)
        return [self._view(task, positions.get(task.id)) for task in tasks]

    def _view(self, task: Task, position: int | None) -> TaskView:
        """position: of a waiting task; None when it has left the queue since it was read."""
        if not task.status.is_waiting:
            ends = self._rules()
            return TaskView(
                task,
                eta_seconds=self._progress.eta_of(task),
                speakers_progress=self._progress.speakers_of(task),
                media_end=ends.media_end(task),
                text_end=ends.text_end(task),
            )
        is_near = position is not None and position <= MAX_FORECAST_POSITION
        expected = self._expected(task) if is_near else None
        reason = self._waiting_reason(task, position or 1)
        return TaskView(
            task,
            position=position,
            waiting_reason=reason,
            eta_seconds=expected.end if expected else None,
            expected=expected,
        )

    def _expected(self, task: Task) -> Interval | None:
        """When a task near the front will run; None before its model was measured, or while it cannot run yet."""
        now = self._clock.monotonic()
        with self._lock:
            is_old = now - self._forecast_at >= FORECAST_LASTS_S
            is_new = task.is_prepared and task.id not in self._forecast_of
            expected = self._forecast.get(task.id)
        if is_old or is_new:
            expected = self._renew(now).get(task.id)
        return self._tracker.interval(expected) if expected else None

    def _renew(self, now: float) -> dict[str, Expected]:
        """Play the queue forward from now. The first forecast of a task is the one that it is promised."""
        next_ones = [task for task, _ in self._queue.samples.upcoming(MAX_FORECAST_POSITION)]
        made = self._play_forward(next_ones)
        for task_id, expected in made.items():
            self._tracker.record_forecast(task_id, expected, now)
        with self._lock:
            self._forecast, self._forecast_at = made, now
            self._forecast_of = frozenset(each.id for each in next_ones)
        return made

    def _play_forward(self, next_ones: Sequence[WaitingTask]) -> dict[str, Expected]:
        statuses = [status for status in self._devices.statuses() if status.is_ready]
        resident = {model for status in statuses for model in status.resident_models}
        return forecast(
            next_ones,
            [Places(status.spec.name, status.slots, status.audio_left, status.accepts_auto) for status in statuses],
            self._speeds,
            most_running=self._decisions.limits().most_running(status.slots for status in statuses),
            load_seconds={
                model: self._times.load_seconds(model) for model in {each.model for each in next_ones} - resident
            },
        )

    def _waiting_reason(self, task: Task, position: int) -> WaitReason | None:
        if not task.is_prepared:
            return reasons.preparing()
        if task.status is TaskStatus.RETRYING and task.not_before is not None:
            is_short_of_memory = task.error is not None and task.error.code == OutOfMemoryError.code
            delay = reasons.memory_delay if is_short_of_memory else reasons.retry_delay
            return delay((task.not_before - self._clock.now()).total_seconds())
        if self._queue.samples.are_missing(task.id):
            return self._reason_without_samples(task.id, position)
        return self._decisions.reason(task.id)

    def _reason_without_samples(self, task_id: str, position: int) -> WaitReason:
        """They are made when the task's turn comes."""
        if self._preparer.is_preparing(task_id):
            return reasons.preparing()
        if self._preparer.problem() is not None:
            return reasons.disk_short()
        return reasons.tasks_ahead(position - 1) if position > 1 else reasons.preparing()
