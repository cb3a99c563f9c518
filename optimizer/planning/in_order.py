"""Starts tasks strictly in a given order: nothing passes a task that waits for room. Pure, as `planner.plan`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from optimizer.planning.device_plan import DevicePlan, device_plans
from optimizer.planning.draft import Draft
from optimizer.planning.explain import Explanation
from optimizer.planning.inputs import is_available
from optimizer.planning.plan import Plan
from optimizer.planning.policy import Situation
from optimizer.queue.ready_queue import WaitingTask, in_order, ranked
from optimizer.tasks.start_reason import StartReason

MOST_LOOKED_AT = 4096  # tasks of one decision, most of which wait for a device that has no room


def first_come_first_served(situation: Situation) -> Plan:
    """In order of arrival, those of a higher priority first. For a queue that keeps its tasks in that order."""
    devices, models = situation.devices, situation.models
    groups = [
        group
        for group in situation.waiting.groups
        if is_available(models, group.key.model)
        and any(view.accepts(group.key.device, group.key.model) for view in devices)
    ]
    return start_in_order(situation, (task for task, _ in in_order(ranked(groups))), StartReason.ARRIVAL)


def start_in_order(situation: Situation, tasks: Iterable[WaitingTask], why: StartReason = StartReason.POLICY) -> Plan:
    """Starts as many of `tasks` as there is room for, one after the other.

    Each goes to the device with the most free places, among those that have its model if there are any; idle models
    leave for it. The first that does not fit keeps its devices for itself until it does. Tasks whose model is not here,
    or which no device could ever hold, are passed over. No running task makes way.
    """
    filling = _Filling(situation, why)
    for task in islice(tasks, MOST_LOOKED_AT):
        if not filling.has_room:
            break
        filling.place(task)
    return filling.plan()


class _Filling:
    def __init__(self, situation: Situation, why: StartReason) -> None:
        self._situation = situation
        self._why = why
        self._draft = Draft(situation.waiting, device_plans(situation.devices, situation.estimates), situation.limits)
        self._kept: set[str] = set()  # devices that a task waits for
        self._hopeless: set[str] = set()  # requests that only such devices could meet

    @property
    def has_room(self) -> bool:
        return self._draft.room > 0 and any(self._takes_tasks(device) for device in self._draft.devices)

    def place(self, task: WaitingTask) -> None:
        draft = self._draft
        if task.device in self._hopeless or task.id in draft.taken:
            return
        if not is_available(self._situation.models, task.model):
            return
        able = [each for each in draft.devices if each.view.accepts(task.device, task.model) and each.fits_alone(task)]
        for device in sorted(filter(self._takes_tasks, able), key=lambda each: _preference(each, task)):
            fit = device.fit(task, device.evictable(task.model), may_force=draft.is_below_minimum)
            if device.has_slot(task.model) and fit.missing_bytes == 0:
                draft.start(device, task, fit, self._why)
                return
        self._kept.update(device.view.name for device in able)
        accepting = {each.view.name for each in draft.devices if each.view.is_meant(task.device)}
        if accepting <= self._kept:
            self._hopeless.add(task.device)

    def plan(self) -> Plan:
        for device in self._draft.devices:
            device.is_draining = device.view.name in self._kept  # for the explanation
        situation, draft = self._situation, self._draft
        explanation = Explanation(situation.waiting, draft.devices, situation.models, room=draft.room)
        return Plan(tuple(draft.assignments), situation.waiting, explanation)

    def _takes_tasks(self, device: DevicePlan) -> bool:
        is_round_full = device.started >= self._situation.limits.max_batch
        return device.is_open and not is_round_full and device.view.name not in self._kept


def _preference(device: DevicePlan, task: WaitingTask) -> tuple[bool, float]:
    """The smallest first; where two are equal, GPUs before the CPU, as `device_plans` has them."""
    return task.model not in device.resident, device.share_in_use
