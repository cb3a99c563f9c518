"""Why one task was not chosen, worked out from what a decision left; only for the tasks that somebody looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.inputs import ModelView
from optimizer.queue.ready_queue import GroupKey, WaitingGroup, WaitingTask, WaitingView
from optimizer.tasks import wait_reasons as reasons
from optimizer.tasks.wait_reasons import WaitReason


class Explanation:
    """Why tasks wait, after one decision. Reads its arguments as the decision left them; any thread."""

    def __init__(
        self,
        waiting: WaitingView,
        devices: Sequence[DevicePlan],
        models: Mapping[str, ModelView],
        *,
        room: int,
        may_wait_for_round: bool = False,
        plans_memory: bool = True,
    ) -> None:
        """devices: every device, with what is left of it. room: how many more tasks could have started.

        may_wait_for_round: whether a busy device may wait until more can start together. plans_memory: False on the
        plain path.
        """
        self._waiting = waiting
        self._devices = devices
        self._models = models
        self._room = room
        self._may_wait_for_round = may_wait_for_round
        self._plans_memory = plans_memory

    def __call__(self, task: WaitingTask) -> WaitReason:
        wanted = [device for device in self._devices if device.view.is_meant(task.device)]
        able = [device for device in wanted if task.model not in device.view.lacking]
        return (
            self._device_reason(task, wanted)
            or self._model_reason(task.model)
            or self._lacking_reason(task.model, wanted, able)
            or self._device_reason(task, able)
            or (self._plans_memory and self._memory_reason(task, able))
            or reasons.tasks_ahead(max(1, self._count_ahead(task, _ready(able))))
        )

    def _device_reason(self, task: WaitingTask, wanted: Sequence[DevicePlan]) -> WaitReason | None:
        if not wanted and self._devices:
            return reasons.device_unknown(task.device)
        if not _ready(wanted):
            return reasons.device_starting(wanted[0].view.name if wanted else "the device")
        return None

    def _model_reason(self, model: str) -> WaitReason | None:
        view = self._models.get(model)
        if view is None:
            return reasons.model_missing(model)
        if view.is_available:
            return None
        if view.fetch_fraction is not None:
            return reasons.model_fetching(model, view.fetch_fraction)
        return reasons.model_missing(model, view.failed_message)

    def _lacking_reason(
        self, model: str, wanted: Sequence[DevicePlan], able: Sequence[DevicePlan]
    ) -> WaitReason | None:
        """Other machines get their own weights."""
        if able:
            return None
        names = ", ".join(device.view.name for device in wanted)
        return reasons.model_lacking(model, names)

    def _memory_reason(self, task: WaitingTask, wanted: Sequence[DevicePlan]) -> WaitReason | None:
        """Whether it fits nowhere; else, where a slot is free for it, what keeps the task from it."""
        if all(device.view.is_ready and not device.fits_alone(task) for device in wanted):
            return _too_big(task, wanted)
        free = [device for device in wanted if device.is_open and device.has_slot(task.model)]
        free = [device for device in free if device.fits_alone(task)]
        if not free or self._room <= 0:
            return None
        missing, name = min((device.missing_bytes(task), device.view.name) for device in free)
        if missing > 0:
            return reasons.memory_short(missing, name)
        is_held_back = any(device.is_draining for device in free)
        return reasons.batch_forming(task.model) if self._may_wait_for_round and not is_held_back else None

    def _count_ahead(self, task: WaitingTask, ready: Sequence[DevicePlan]) -> int:
        """Tasks that run where this one may run, and waiting ones that come before it."""
        ahead = sum(len(device.view.running) for device in ready)
        own = self._waiting.group_of(task) or WaitingGroup(GroupKey.of(task), ())
        rank = own.rank_of(task)
        for group in self._waiting.groups:
            if any(device.view.accepts(group.key.device, group.key.model) for device in ready):
                ahead += group.count_before(rank)
        return ahead


def _ready(devices: Sequence[DevicePlan]) -> list[DevicePlan]:
    return [device for device in devices if device.view.is_ready]


def _too_big(task: WaitingTask, wanted: Sequence[DevicePlan]) -> WaitReason:
    largest = max(wanted, key=lambda device: (device.view.capacity_bytes, device.view.name))
    return reasons.too_big(largest.bytes_alone(task), largest.view.capacity_bytes, largest.view.name)
