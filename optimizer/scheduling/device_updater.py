"""What the scheduler's thread makes of a worker's report and of a worker's end; what had to be durable already is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from errors import OutOfMemoryError, TaskNotFoundError, WorkerDiedError
from optimizer.common.clock import Clock
from optimizer.devices.device import Device
from optimizer.devices.fleet import DeviceFleet
from optimizer.devices.status import DeviceState
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.crash_attribution import CrashAttribution
from optimizer.scheduling.dispatcher import Dispatcher
from optimizer.scheduling.event_messages import EventMessages
from optimizer.scheduling.inbox import Inbox
from optimizer.tasks import timeline
from optimizer.tasks.events import EventBus, SystemChanged
from optimizer.tasks.task import ErrorInfo
from optimizer.timing.forecast_accuracy import ForecastTracker
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)


class DeviceUpdater:
    """Belongs to the scheduler's thread."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        attribution: CrashAttribution,
        *,
        queue: IntelligentQueueManager,
        devices: DeviceFleet,
        estimates: MemoryEstimationPool,
        forecasts: ForecastTracker,
        inbox: Inbox,
        events: EventBus,
        messages: EventMessages,
        clock: Clock,
    ) -> None:
        self._dispatcher = dispatcher
        self._attribution = attribution
        self._queue = queue
        self._devices = devices
        self._estimates = estimates
        self._forecasts = forecasts
        self._inbox = inbox
        self._events = events
        self._messages = messages
        self._clock = clock

    def apply_reports(self, device: Device, reports: Sequence[protocol.Report]) -> None:
        for report in reports:
            self._apply_report(device, report)
        if any(not isinstance(report, protocol.WindowDone) for report in reports):
            self._events.publish(SystemChanged())

    def _apply_report(self, device: Device, report: protocol.Report) -> None:
        device.apply_report(report)
        match report:
            case protocol.ModelLoaded():
                slots = device.models.slots.get(report.model, 0)
                nbytes = self._estimates.weights_bytes(report.model, device.spec.kind, slots)
                if (shortfall := device.models.resize_reservation(report.model, nbytes)) is not None:
                    self._messages.tell_shortfall(shortfall)
            case protocol.WindowDone():
                self._clear_of_crash(device, report.task_id)
            case protocol.TaskDone():
                self._clear_of_crash(device, report.task_id)
                self._forecasts.record_end(report.task_id, self._clock.monotonic())
            case protocol.TaskFailed():
                self._clear_of_crash(device, report.task_id)
                self._forecasts.discard(report.task_id)
        if isinstance(report, protocol.TaskFailed | protocol.ModelLoadFailed) and report.code == OutOfMemoryError.code:
            self._free_memory(device, report)

    def _clear_of_crash(self, device: Device, task_id: str) -> None:
        """Not a task that is still in its first window: one that lost its device is, until its worker is gone."""
        running = device.running.get(task_id)
        if running is None or running.has_progressed:
            self._attribution.clear(task_id)

    def _free_memory(self, device: Device, report: protocol.TaskFailed | protocol.ModelLoadFailed) -> None:
        """Evict every idle model. report: what said that memory ran out, already applied."""
        needed = device.models_in_use
        if isinstance(report, protocol.ModelLoadFailed):
            short = [each.task.id for each in device.running.values() if each.task.options.model == report.model]
        else:
            short = [report.task_id]
            with suppress(TaskNotFoundError):
                needed.add(self._queue.get(report.task_id).options.model)
        evicted = sorted(device.models.loaded - needed)
        try:
            for model in evicted:
                log.warning("model=%s event=evicted device=%s: out of memory", model, device.spec.name)
                device.models.evict(model)
                self._messages.tell_evicted_for_memory(model, device.spec.name)
        except WorkerDiedError:
            log.warning("event=no_memory_freed device=%s is gone", device.spec.name)
            return
        for task_id in short:
            for model in evicted:
                self._queue.add_event(task_id, timeline.MEMORY, step="model_evicted", model=model)

    def apply_exit(self, device: Device) -> None:
        """The worker is gone: its tasks go back to the queue, one of them perhaps charged with a failed attempt."""
        error, tasks = device.apply_exit()
        if device.state is DeviceState.STOPPED:
            return
        info = ErrorInfo(error.code, error.message, at=self._clock.now())
        is_outside = device.supervisor.was_killed_from_outside
        charged = None if is_outside else self._attribution.attribute_crash(tasks)
        for running in tasks:
            log.error("task=%s event=attempt_failed code=%s device=%s", running.task.id, error.code, device.spec.name)
            is_charged = running.task.id == charged
            # Posted, so that one that cannot be stored now holds up neither the others nor the fallback.
            self._inbox.post(partial(self._dispatcher.end_attempt, running.task, info, is_charged=is_charged))
        self._devices.fall_back_to_cpu()
        self._events.publish(SystemChanged())
