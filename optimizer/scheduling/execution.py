"""Carries a plan out: starts tasks, preempts others, unloads idle models, and says so in the event log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import compress

from errors import WorkerDiedError
from optimizer.devices.device import Device
from optimizer.devices.fleet import DeviceFleet
from optimizer.planning.assignment import Assignment
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.queue.ready_queue import WaitingTask, WaitingView
from optimizer.scheduling.attempts import RunningAttempts
from optimizer.scheduling.crash_attribution import CrashAttribution
from optimizer.scheduling.dispatcher import Dispatcher
from optimizer.scheduling.event_messages import EventMessages
from optimizer.timing.forecast import Expected
from optimizer.timing.forecast_accuracy import ForecastTracker
from optimizer.timing.runtime_estimates import RuntimeEstimates


class PlanExecutor:
    """Belongs to the scheduler's thread."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        attempts: RunningAttempts,
        attribution: CrashAttribution,
        *,
        devices: DeviceFleet,
        messages: EventMessages,
        forecasts: ForecastTracker,
        times: RuntimeEstimates,
        model_idle_s: float,
    ) -> None:
        """model_idle_s: a model that no task has used for so long leaves its device."""
        self._dispatcher = dispatcher
        self._attempts = attempts
        self._attribution = attribution
        self._devices = devices
        self._messages = messages
        self._forecasts = forecasts
        self._times = times
        self._model_idle_s = model_idle_s

    def start(self, decided: Plan, waiting: WaitingView, limits: PlanLimits, now: float) -> list[str]:
        """The devices that got a task, once for each. Raises what `Dispatcher.start_all` raises."""
        started: list[str] = []
        for together in self._started_together(decided.assignments):
            if not self._attribution.may_start(self._devices.running_tasks(), waiting):
                continue
            found = {each.task_id: waiting.find(each.task_id) for each in together}  # those that run are not found
            tell = partial(self._tell_started, found, len(waiting), limits, now)
            pairs = [(self._devices.device_named(each.device), each) for each in together]
            is_started = self._dispatcher.start_all(pairs, tell)
            started += [each.device for each in compress(together, is_started)]
        return started

    def preempt(self, decided: Plan) -> None:
        for preemption in decided.preemptions:
            attempt_id = self._devices.device_named(preemption.device).preempt(preemption.task_id)
            if attempt_id is not None:
                self._attempts.mark_preempted(attempt_id, preemption.for_task)
                self._messages.tell_preempted(preemption)

    def evict_idle_models(self, wanted: Collection[str]) -> None:
        """wanted: models that tasks wait for."""
        for device in self._devices:
            for model, idle_s in device.models.idle_for(self._model_idle_s, device.models_in_use).items():
                if model not in wanted:
                    self._messages.tell_idle_model_evicted(model, device.spec.name, idle_s)
                    with suppress(WorkerDiedError):  # then the model is gone with its worker
                        device.models.evict(model)

    def _started_together(self, assignments: Sequence[Assignment]) -> Iterator[list[Assignment]]:
        """Those whose rows are claimed in one transaction. What has a model loaded comes after the tasks before it are
        with their workers, which would load it first; and while a task is suspected of the server's death, each start
        may forbid the next one."""
        together: list[Assignment] = []
        for assignment in assignments:
            if together and (self._attribution.suspects_any or assignment.weights_bytes or assignment.evict):
                yield together
                together = []
            together.append(assignment)
        if together:
            yield together

    def _tell_started(
        self,
        found: Mapping[str, WaitingTask | None],
        num_waiting: int,
        limits: PlanLimits,
        now: float,
        device: Device,
        assignment: Assignment,
    ) -> None:
        if (task := found[assignment.task_id]) is not None:
            self._messages.tell_task_started(assignment, task, now)
            self._forecasts.record_forecast(task.id, self._expected_end(device, task, num_waiting, limits), now)

    def _expected_end(self, device: Device, task: WaitingTask, num_waiting: int, limits: PlanLimits) -> Expected:
        """Of a task that has just been started; waiting tasks will soon share the device with it."""
        slots = device.models.slots.get(task.model, device.slots)
        concurrency = min(slots, limits.most_running([device.slots]), len(device.running) + num_waiting)
        eta_s = self._times.eta_seconds(task.model, device.spec.name, task.audio_left_seconds, max(1, concurrency))
        return Expected(0.0, eta_s)
