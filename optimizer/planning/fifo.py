"""The plain path's decision: one task at a time over all devices, first come first served. Pure, as `planner.plan`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from operator import attrgetter

from optimizer.common.kinds import AUTO_DEVICE
from optimizer.planning.assignment import Assignment
from optimizer.planning.device_plan import DevicePlan, Fit, device_plans
from optimizer.planning.explain import Explanation
from optimizer.planning.inputs import DeviceView, Estimates, ModelView, is_available
from optimizer.planning.plan import Plan
from optimizer.queue.ready_queue import GroupKey, WaitingTask, WaitingView


def plan_in_order(
    waiting: WaitingView, devices: Sequence[DeviceView], estimates: Estimates, models: Mapping[str, ModelView]
) -> Plan:
    """The next task, when nothing runs, whatever its priority or memory.

    Every other resident model is evicted first. Tasks whose model or device is not here are passed over, since they
    would block all others. The bytes in the assignment are for the record; the plain path reserves nothing.
    """
    plans = device_plans(devices, estimates)
    is_busy = any(view.running for view in devices)
    first = None if is_busy else _first_to_arrive(waiting, devices, models)
    assignments = () if first is None else _assign(first, plans)
    room = 0 if is_busy or assignments else 1
    return Plan(assignments, waiting, Explanation(waiting, plans, models, room=room, plans_memory=False))


def _first_to_arrive(
    waiting: WaitingView, devices: Sequence[DeviceView], models: Mapping[str, ModelView]
) -> WaitingTask | None:
    """Looks at every task: with one task running at a time, a few milliseconds for 100,000 of them do not matter."""
    names = {AUTO_DEVICE, *(view.name for view in devices)}
    possible = (group.tasks for group in waiting.groups if _may_run(group.key, names, models))
    return min(chain.from_iterable(possible), key=attrgetter("seq"), default=None)


def _may_run(key: GroupKey, devices: Collection[str], models: Mapping[str, ModelView]) -> bool:
    return key.device in devices and is_available(models, key.model)


def _assign(task: WaitingTask, devices: Sequence[DevicePlan]) -> tuple[Assignment, ...]:
    """To the first open device that takes the task; nothing when there is none."""
    device = next((each for each in devices if each.is_open and each.view.accepts(task.device, task.model)), None)
    if device is None:
        return ()
    is_resident = task.model in device.resident
    fit = Fit(
        task_bytes=device.task_bytes(task),
        weights_bytes=0 if is_resident else device.weights_bytes(task.model),
        evict=tuple(sorted(set(device.resident) - {task.model})),
        is_forced=True,
    )
    return (device.accept(task, fit),)
