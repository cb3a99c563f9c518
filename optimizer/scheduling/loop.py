"""The scheduler's loop: looks at the queue whenever something changed, asks the policy and has it carried out.

All that changes a device's picture happens on this one thread; other threads hand in what they have to say through
`post`. What must be durable was made so before it is posted (see `result_recorder`).
"""

from __future__ import annotations

import logging
import math
import queue as queues
import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from errors import OutOfMemoryError, WorkerDiedError
from optimizer.common.clock import Clock
from optimizer.devices.device import Device
from optimizer.devices.status import DeviceState, DeviceStatus, RunningTask
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.planning.device_plan import Assignment, DeviceView, RunningView
from optimizer.planning.fifo import plan_in_order
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.due_times import DueTimes
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.queue.ready_queue import WaitingTask, WaitingView
from optimizer.scheduling.crash_attribution import CrashAttribution
from optimizer.scheduling.dispatcher import CANNOT_STORE, Action, Dispatcher
from optimizer.scheduling.event_messages import DecisionLog
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.result_recorder import TaskRecorder
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event, SystemChanged
from optimizer.tasks.task import ErrorInfo
from optimizer.tasks.wait_reasons import WaitReason
from optimizer.timing.forecast import Expected
from optimizer.timing.forecast_accuracy import ForecastTracker
from optimizer.timing.runtime_estimates import RuntimeEstimates
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)

STOP_GRACE_S = 2.0
HEARTBEAT_LIMIT_S = 10.0  # beyond its nap; a decision may wait 5 s for a busy database
BUSY_PAUSE_S = 0.5
CPU = "cpu"  # the name of that device


@dataclass(frozen=True)
class SchedulerParts:
    """What the loop works with.

    devices: grows by the fallback when no other can be used. make_fallback: a device that always works, the CPU.
    is_optimized: False for the plain path, first come first served and one at a time.
    prepare: has a task's samples made in the background.
    """

    queue: IntelligentQueueManager
    devices: list[Device]
    files: TaskFiles
    estimates: MemoryEstimationPool
    models: ModelLibrary
    recorder: TaskRecorder
    clock: Clock
    publish: Callable[[Event], None]
    make_fallback: Callable[[], Device]
    is_optimized: bool
    prepare: Callable[[str], None]
    times: RuntimeEstimates
    due_times: DueTimes
    forecasts: ForecastTracker
    decisions: DecisionLog
    model_idle_s: float = math.inf  # a model that was not used for so long leaves its device


class BatchTaskScheduler:
    """start and stop once. `wake`, `post`, `limits`, `reason` and `statuses` from any thread."""

    def __init__(self, parts: SchedulerParts, limits: PlanLimits, *, interval_s: float) -> None:
        self._parts = parts
        self._limits = limits
        self._interval_s = interval_s
        self._dispatcher = Dispatcher(
            parts.queue,
            parts.files,
            parts.recorder,
            reserves_memory=parts.is_optimized,
            prepare=parts.prepare,
            post=self.post,
        )
        self._inbox: queues.SimpleQueue[Action] = queues.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="scheduler")
        self._stopping = threading.Event()
        self._plan: Plan | None = None
        self._rounds: Counter[str] = Counter()
        self._suspects = CrashAttribution()
        self._last_turn = parts.clock.monotonic()

    # --- for every thread --------------------------------------------------------------------------------------

    def start(self) -> None:
        for device in self._parts.devices:
            device.start()
        self._thread.start()

    def stop(self) -> None:
        """No new work; running tasks go back to pending at their last window. Returns when every worker is gone."""
        self._stopping.set()
        self.wake()
        self._thread.join()

    def wake(self) -> None:
        """Have a look at the queue now."""
        self.post(_nothing)

    def post(self, action: Action) -> None:
        """Run `action` on the scheduler's thread, before its next decision."""
        self._inbox.put(action)

    def is_alive(self) -> bool:
        """Whether the loop turns."""
        silent_s = self._parts.clock.monotonic() - self._last_turn
        return self._thread.is_alive() and silent_s < self._interval_s + HEARTBEAT_LIMIT_S

    @property
    def limits(self) -> PlanLimits:
        return self._limits

    def set_limits(self, *, max_concurrent: int | None = None, max_batch: int | None = None) -> None:
        """In force from the next decision on."""
        limits = self._limits
        self._limits = replace(
            limits,
            max_concurrent=limits.max_concurrent if max_concurrent is None else max_concurrent,
            max_batch=limits.max_batch if max_batch is None else max_batch,
        )
        self.wake()

    def reason(self, task_id: str) -> WaitReason | None:
        """Why the last decision left this task waiting; None when it did not meet it."""
        return self._plan.reason_for(task_id) if self._plan else None

    def statuses(self) -> list[DeviceStatus]:
        return [device.status() for device in self._parts.devices]

    def stop_task(self, task_id: str) -> None:
        """End the task as soon as its worker can, wherever it runs."""
        for device in self._parts.devices:
            self.post(partial(device.stop_task, task_id))

    def on_report(self, device: Device, report: protocol.Report) -> None:
        """Called by a device's reader thread: first what must be durable, then the picture of the device."""
        self._parts.recorder.record(device.spec.name, device.spec.kind, report)
        self.post(lambda: self._heard(device, report))

    def on_exit(self, device: Device) -> None:
        """Called by a device's reader thread once its worker is gone."""
        self.post(lambda: self._exited(device))

    # --- the loop ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._last_turn = self._parts.clock.monotonic()
            try:
                self._turn()
            except CANNOT_STORE as error:
                log.warning("event=scheduler_waits code=%s", error.code)
                self._stopping.wait(BUSY_PAUSE_S)
            except Exception:
                # The loop must outlive any single decision; what it held is in the database.
                log.exception("event=decision_failed")
                self._stopping.wait(BUSY_PAUSE_S)
        self._stop_devices()

    def _turn(self) -> None:
        self._work_off_inbox(self._nap_s())
        if self._stopping.is_set():
            return
        for device in self._parts.devices:
            device.supervise()
            device.pool.check()
        self._parts.queue.promote_due()
        self._decide()

    def _nap_s(self) -> float:
        """Until something is due, and `BATCH_SCHEDULE_INTERVAL` at most."""
        due = [device.next_supervision_in() for device in self._parts.devices]
        due.append(self._parts.queue.next_due_in())
        return min([self._interval_s, *(seconds for seconds in due if seconds is not None)])

    def _work_off_inbox(self, nap_s: float) -> None:
        """Sleep until there is something, then take all of it, so that one decision answers many reports."""
        try:
            self._inbox.get(timeout=nap_s)()
            while True:
                self._inbox.get_nowait()()
        except queues.Empty:
            return

    def _decide(self) -> None:
        waiting = self._parts.queue.waiting()
        models = {group.key.model: self._parts.models.view(group.key.model) for group in waiting.groups}
        for model, view in models.items():
            if not view.is_available:
                self._parts.models.ensure(model)
        if any(group.key.device == CPU for group in waiting.groups):
            self._cpu()
        usable = (device for device in self._parts.devices if device.state is not DeviceState.UNAVAILABLE)
        views = [self._view(device, waiting) for device in usable]
        now, estimates, times = self._parts.clock.monotonic(), self._parts.estimates, self._parts.times
        times.refresh()
        if self._parts.is_optimized:
            self._plan = plan(waiting, views, estimates, times, models, self._limits, now)
        else:
            self._plan = plan_in_order(waiting, views, estimates, models)
        # A round in which a model was only unloaded is none: it would take the starving task's turn from it.
        self._rounds.update({each.device for each in self._plan.assignments if self._carry_out(each, waiting, now)})
        for step in self._plan.preemptions:
            if (lease_token := self._device(step.device).preempt(step.task_id)) is not None:
                self._parts.recorder.note_preemption(lease_token, step.for_task)
                self._parts.decisions.preempted(step)
        self._let_idle_models_go(models)
        if self._plan.assignments:
            self._parts.publish(SystemChanged())

    def _let_idle_models_go(self, wanted: Collection[str]) -> None:
        """wanted: models that tasks wait for."""
        for device in self._parts.devices:
            for model, idle_s in device.idle_models(self._parts.model_idle_s).items():
                if model not in wanted:
                    self._parts.decisions.idle_model_leaves(model, device.spec.name, idle_s)
                    with suppress(WorkerDiedError):  # then it is gone with its worker
                        device.evict(model)

    def _view(self, device: Device, waiting: WaitingView) -> DeviceView:
        memory = device.pool.snapshot()
        return DeviceView(
            name=device.spec.name,
            kind=device.spec.kind,
            capacity_bytes=memory.capacity,
            free_bytes=memory.free,
            slots=self._suspects.slots(device.slots, device.running, waiting),
            running=tuple(self._running_view(running) for running in device.running.values()),
            rounds=self._rounds[device.spec.name],
            is_ready=device.is_ready and not device.evicting,
            accepts_auto=device.accepts_auto,
            resident=memory.models,
        )

    def _running_view(self, running: RunningTask) -> RunningView:
        model, audio_left = running.work_left
        return RunningView(
            id=running.task.id,
            model=model,
            priority=running.task.priority,
            audio_left_seconds=audio_left,
            due=self._parts.due_times.due(model, audio_left, running.arrived),
            task_bytes=running.reservation.nbytes,
            may_leave=running.has_progressed,
            is_leaving=running.is_stopping or running.is_being_preempted,
        )

    def _carry_out(self, assignment: Assignment, waiting: WaitingView, now: float) -> bool:
        """Whether the task was started."""
        task = waiting.find(assignment.task_id)
        if not self._dispatcher.carry_out(self._device(assignment.device), assignment):
            return False
        if task is not None:
            self._parts.decisions.started(assignment, task, now)
            left_s = self._eta_seconds(assignment, task, len(waiting))
            self._parts.forecasts.promise(assignment.task_id, Expected(0.0, left_s), now)
        return True

    def _eta_seconds(self, assignment: Assignment, task: WaitingTask, num_waiting: int) -> float:
        """Of a task that has just been started; others that wait will join it."""
        device = self._device(assignment.device)
        concurrency = min(device.slots, self._limits.most_running([device.slots]), len(device.running) + num_waiting)
        return self._parts.times.eta_seconds(
            assignment.model, assignment.device, task.audio_left_seconds, max(1, concurrency)
        )

    def _device(self, name: str) -> Device:
        return next(device for device in self._parts.devices if device.spec.name == name)

    def _heard(self, device: Device, report: protocol.Report) -> None:
        device.heard(report)
        match report:
            case protocol.WindowDone() | protocol.TaskDone() | protocol.TaskFailed():
                if report.task_id not in device.running or device.running[report.task_id].has_progressed:
                    self._suspects.clear(report.task_id)
        if isinstance(report, protocol.TaskFailed | protocol.ModelLoadFailed) and report.code == OutOfMemoryError.code:
            self._dispatcher.make_room(device, report)
        if isinstance(report, protocol.TaskFailed):
            self._parts.forecasts.forget(report.task_id)
        if isinstance(report, protocol.TaskDone):
            self._parts.forecasts.done(report.task_id, self._parts.clock.monotonic())
        if isinstance(report, protocol.ModelLoaded):
            self._parts.times.record_load(report.model, report.seconds)
            self._parts.estimates.record_weights(report.model, device.spec.kind, report.weights_bytes)
            device.correct_promise(report.model, self._parts.estimates.weights_bytes(report.model, device.spec.kind))
        if not isinstance(report, protocol.WindowDone):
            self._parts.publish(SystemChanged())

    def _exited(self, device: Device) -> None:
        error, tasks = device.exited()
        if device.state is DeviceState.STOPPED:
            return
        info = ErrorInfo(error.code, error.message, at=self._parts.clock.now())
        charged = self._suspects.attribute_crash(tasks)
        for running in tasks:
            log.error("task=%s event=attempt_failed code=%s device=%s", running.task.id, error.code, device.spec.name)
            is_charged = running.task.id == charged
            # Posted, so that one that cannot be stored now holds up neither the others nor the fallback.
            self.post(partial(self._dispatcher.end_attempt, running.task, info, is_charged=is_charged))
        if all(each.state is DeviceState.UNAVAILABLE for each in self._parts.devices):
            self._fall_back()
        self._parts.publish(SystemChanged())

    def _fall_back(self) -> None:
        """The CPU takes every task, because no other device can be used."""
        cpu = self._cpu()
        if cpu.state is not DeviceState.UNAVAILABLE:  # otherwise not even its worker starts; readiness says so
            log.warning("device=%s event=fallback: no other device can be used", cpu.spec.name)
            cpu.accepts_auto = True

    def _cpu(self) -> Device:
        """The CPU as a device. Where there are GPUs it is started when it is first wanted, and takes only tasks that
        ask for it: those that a GPU had no memory for."""
        known = next((device for device in self._parts.devices if device.spec.kind == "cpu"), None)
        if known is not None:
            return known
        cpu = self._parts.make_fallback()
        cpu.accepts_auto = False
        log.info("device=%s event=wanted", cpu.spec.name)
        cpu.start()
        self._parts.devices.append(cpu)
        return cpu

    def _stop_devices(self) -> None:
        """Tell all workers at once, then wait for each; what they had goes back to pending, without being charged."""
        stoppers = [
            threading.Thread(target=device.stop, args=(STOP_GRACE_S,), name=f"stop-{device.spec.name}")
            for device in self._parts.devices
        ]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()
        for device in self._parts.devices:
            _, tasks = device.exited()
            for running in tasks:
                self._dispatcher.requeue(running.task)


def _nothing() -> None:
    """A reason to wake up."""
