"""What the planner is shown of the devices: immutable views, made from their pictures for one decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial

from optimizer.devices.device import Device
from optimizer.devices.status import RunningTask
from optimizer.planning.inputs import DeviceView, LateViews, RunningBrief, RunningView
from optimizer.queue.ordering import DueTimes
from optimizer.queue.ready_queue import WaitingView
from optimizer.scheduling.crash_attribution import CrashAttribution
from whisper_core.common.units import WINDOW_SECONDS


class DeviceViews:
    """Belongs to the scheduler's thread."""

    def __init__(self, attribution: CrashAttribution, due_times: DueTimes) -> None:
        self._attribution = attribution
        self._due_times = due_times
        self._rounds: Counter[str] = Counter()

    def device_view(self, device: Device, waiting: WaitingView) -> DeviceView:
        memory = device.pool.snapshot()
        return DeviceView(
            name=device.spec.name,
            kind=device.spec.kind,
            capacity_bytes=memory.capacity,
            free_bytes=memory.free,
            slots=self._attribution.allowed_slots(device.slots, device.running, waiting),
            running=self._running(tuple(device.running.values()), waiting),
            rounds=self._rounds[device.spec.name],
            is_ready=device.is_ready and not device.models.is_evicting,
            accepts_auto=device.accepts_auto,
            resident=memory.models,
            model_slots=device.models.slots,
            fewer_slots=device.models.fewer_slots,
            lacking=device.models.lacking,
        )

    def count_rounds(self, devices: Iterable[str]) -> None:
        """These devices were handed tasks in this decision."""
        self._rounds.update(set(devices))

    def _running(self, running: tuple[RunningTask, ...], waiting: WaitingView) -> LateViews:
        return LateViews(len(running), partial(_briefs, running), partial(self._running_views, running, waiting))

    def _running_views(self, running: tuple[RunningTask, ...], waiting: WaitingView) -> list[RunningView]:
        return [self._running_view(each, waiting) for each in running]

    def _running_view(self, running: RunningTask, waiting: WaitingView) -> RunningView:
        model, audio_left = running.task.options.model, running.audio_left_seconds
        left_then = max(0.0, audio_left - WINDOW_SECONDS)  # it would wait from the end of its window on
        return RunningView(
            id=running.task.id,
            model=model,
            priority=running.task.priority,
            audio_left_seconds=audio_left,
            due=self._due_times.due(model, left_then, running.arrived),
            owner=running.task.owner,
            penalty=waiting.requeued_penalty(running.task.owner, self._due_times.work_seconds(model, left_then)),
            task_bytes=running.reservation.nbytes,
            may_be_preempted=running.has_progressed,
            is_ending=_is_ending(running),
        )


def _briefs(running: tuple[RunningTask, ...]) -> list[RunningBrief]:
    return [RunningBrief(each.task.options.model, each.audio_left_seconds, _is_ending(each)) for each in running]


def _is_ending(running: RunningTask) -> bool:
    return running.is_stopping or running.is_being_preempted
