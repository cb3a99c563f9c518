"""One decision of the scheduler, from the waiting tasks to those that were started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from optimizer.common.clock import Clock
from optimizer.common.kinds import CPU_DEVICE
from optimizer.devices.fleet import DeviceFleet
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.planning.fifo import plan_in_order
from optimizer.planning.inputs import ModelView
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.policy import Situation
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.queue.ready_queue import WaitingView
from optimizer.scheduling.crash_attribution import CrashAttribution
from optimizer.scheduling.device_views import DeviceViews
from optimizer.scheduling.execution import PlanExecutor
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.path import SchedulingPath
from optimizer.scheduling.policy_guard import PolicyGuard
from optimizer.scheduling.replaced_models import ReplacedModels
from optimizer.tasks.events import EventBus, SystemChanged
from optimizer.tasks.wait_reasons import WaitReason
from optimizer.timing.runtime_estimates import RuntimeEstimates


class DecisionMaker:
    """Belongs to the scheduler's thread, except for what stands under "any thread"."""

    def __init__(
        self,
        executor: PlanExecutor,
        views: DeviceViews,
        policy: PolicyGuard,
        attribution: CrashAttribution,
        replaced: ReplacedModels,
        limits: PlanLimits,
        *,
        queue: IntelligentQueueManager,
        devices: DeviceFleet,
        models: ModelLibrary,
        estimates: MemoryEstimationPool,
        times: RuntimeEstimates,
        path: SchedulingPath,
        events: EventBus,
        clock: Clock,
    ) -> None:
        self._executor = executor
        self._views = views
        self._policy = policy
        self._attribution = attribution
        self._replaced = replaced
        self._limits = limits
        self._queue = queue
        self._devices = devices
        self._models = models
        self._estimates = estimates
        self._times = times
        self._path = path
        self._events = events
        self._clock = clock
        self._plan: Plan | None = None
        self.planning_s = 0.0  # that the last plan took, with the views of the devices that it was shown

    def decide(self) -> None:
        """Plan, then start tasks, preempt some and evict idle models. Raises what `Dispatcher.start_all` raises."""
        waiting = self._queue.waiting()
        waiting = waiting.without(self._attribution.held_back(self._devices.running_tasks(), waiting))
        models = self._models_of(waiting)
        if self._devices.may_use_cpu() and any(group.key.device == CPU_DEVICE for group in waiting.groups):
            self._devices.ensure_cpu()
        self._replaced.evict()
        now = self._clock.monotonic()
        decided = self._plan = self._make_plan(waiting, models, now)
        self.planning_s = self._clock.monotonic() - now
        started = self._executor.start(decided, waiting, self._limits, now)
        # A round in which a model was only unloaded does not count: it would cost the starving task its turn.
        self._views.count_rounds(started)
        self._executor.preempt(decided)
        self._executor.evict_idle_models(wanted=models)
        if decided.assignments:
            self._events.publish(SystemChanged())

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

    def note_replaced(self, model: str) -> None:
        """The model's files are others than they were."""
        self._replaced.note(model)

    def reason(self, task_id: str) -> WaitReason | None:
        """Why the last decision left this task waiting; None when it did not see the task."""
        return self._plan.reason_for(task_id) if self._plan else None

    # --- the steps ---------------------------------------------------------------------------------------------

    def _models_of(self, waiting: WaitingView) -> dict[str, ModelView]:
        """The models that tasks wait for; those whose weights are missing are fetched from now on."""
        models = {group.key.model: self._models.model_view(group.key.model) for group in waiting.groups}
        for model, view in models.items():
            if not view.is_available:
                self._models.fetch_if_missing(model)
        return models

    def _make_plan(self, waiting: WaitingView, models: Mapping[str, ModelView], now: float) -> Plan:
        views = [self._views.device_view(device, waiting) for device in self._devices.usable()]
        self._times.refresh()
        if not self._path.is_optimized():
            return plan_in_order(waiting, views, self._estimates, models)
        situation = Situation(
            waiting=waiting,
            devices=views,
            estimates=self._estimates,
            times=self._times,
            models=models,
            limits=self._limits,
            now=now,
        )
        return self._policy.plan(situation)
