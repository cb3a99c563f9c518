"""One decision of the scheduler, from the waiting tasks to those that were started."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace

from errors import WorkerDiedError
from optimizer.common.kinds import CPU_DEVICE
from optimizer.devices.device import Device
from optimizer.planning.assignment import Assignment
from optimizer.planning.fifo import plan_in_order
from optimizer.planning.inputs import ModelView
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.ready_queue import WaitingTask, WaitingView
from optimizer.scheduling.attempts import RunningAttempts
from optimizer.scheduling.device_views import DeviceViews
from optimizer.scheduling.dispatcher import Dispatcher
from optimizer.scheduling.parts import SchedulerParts
from optimizer.tasks.events import SystemChanged
from optimizer.tasks.wait_reasons import WaitReason
from optimizer.timing.forecast import Expected


class DecisionMaker:
    """Belongs to the scheduler's thread, except for `limits`, `change_limits` and `reason`: any thread."""

    def __init__(
        self,
        parts: SchedulerParts,
        views: DeviceViews,
        dispatcher: Dispatcher,
        attempts: RunningAttempts,
        limits: PlanLimits,
    ) -> None:
        self._limits = limits
        self._parts = parts
        self._views = views
        self._dispatcher = dispatcher
        self._attempts = attempts
        self._plan: Plan | None = None

    def decide(self) -> None:
        """Plan, then start tasks, preempt some and evict idle models. Raises what `Dispatcher.try_start` raises."""
        waiting = self._parts.queue.waiting()
        models = self._models_of(waiting)
        if any(group.key.device == CPU_DEVICE for group in waiting.groups):
            self._parts.devices.ensure_cpu()
        now = self._parts.clock.monotonic()
        decided = self._plan = self._make_plan(waiting, models, now)
        started = [each.device for each in decided.assignments if self._start(each, waiting, now)]
        # A round in which a model was only unloaded does not count: it would cost the starving task its turn.
        self._views.count_rounds(started)
        self._preempt(decided)
        self._evict_idle_models(wanted=models)
        if decided.assignments:
            self._parts.events.publish(SystemChanged())

    # --- any thread --------------------------------------------------------------------------------------------

    def limits(self) -> PlanLimits:
        return self._limits

    def change_limits(self, max_concurrent: int | None, max_batch: int | None) -> None:
        """In force from the next decision on. None leaves a limit as it is."""
        limits = self._limits
        self._limits = replace(
            limits,
            max_concurrent=limits.max_concurrent if max_concurrent is None else max_concurrent,
            max_batch=limits.max_batch if max_batch is None else max_batch,
        )

    def reason(self, task_id: str) -> WaitReason | None:
        """Why the last decision left this task waiting; None when it did not see the task."""
        return self._plan.reason_for(task_id) if self._plan else None

    # --- the steps ---------------------------------------------------------------------------------------------

    def _models_of(self, waiting: WaitingView) -> dict[str, ModelView]:
        """The models that tasks wait for; those whose weights are missing are fetched from now on."""
        models = {group.key.model: self._parts.models.model_view(group.key.model) for group in waiting.groups}
        for model, view in models.items():
            if not view.is_available:
                self._parts.models.fetch_if_missing(model)
        return models

    def _make_plan(self, waiting: WaitingView, models: Mapping[str, ModelView], now: float) -> Plan:
        views = [self._views.device_view(device, waiting) for device in self._parts.devices.usable()]
        self._parts.times.refresh()
        if self._parts.path.is_optimized():
            return plan(waiting, views, self._parts.estimates, self._parts.times, models, self._limits, now)
        return plan_in_order(waiting, views, self._parts.estimates, models)

    def _start(self, assignment: Assignment, waiting: WaitingView, now: float) -> bool:
        """Whether the task was started."""
        task = waiting.find(assignment.task_id)
        device = self._parts.devices.device_named(assignment.device)
        if not self._dispatcher.try_start(device, assignment):
            return False
        if task is not None:
            self._parts.messages.tell_task_started(assignment, task, now)
            self._parts.forecasts.promise(task.id, self._expected_end(device, task, len(waiting)), now)
        return True

    def _expected_end(self, device: Device, task: WaitingTask, num_waiting: int) -> Expected:
        """Of a task that has just been started; waiting tasks will soon share the device with it."""
        concurrency = min(device.slots, self._limits.most_running([device.slots]), len(device.running) + num_waiting)
        eta_s = self._parts.times.eta_seconds(
            task.model, device.spec.name, task.audio_left_seconds, max(1, concurrency)
        )
        return Expected(0.0, eta_s)

    def _preempt(self, decided: Plan) -> None:
        for preemption in decided.preemptions:
            attempt_id = self._parts.devices.device_named(preemption.device).preempt(preemption.task_id)
            if attempt_id is not None:
                self._attempts.mark_preempted(attempt_id, preemption.for_task)
                self._parts.messages.tell_preempted(preemption)

    def _evict_idle_models(self, wanted: Collection[str]) -> None:
        """wanted: models that tasks wait for."""
        for device in self._parts.devices:
            for model, idle_s in device.models.idle_for(self._parts.model_idle_s, device.models_in_use).items():
                if model not in wanted:
                    self._parts.messages.tell_idle_model_evicted(model, device.spec.name, idle_s)
                    with suppress(WorkerDiedError):  # then the model is gone with its worker
                        device.models.evict(model)
