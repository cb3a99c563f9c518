"""Checks a plan that somebody else's code made, and makes of it one that keeps every promise of the server's own.

Only what was chosen is taken over: which task goes where, what leaves for it, who makes way. What is reserved and why
the others wait is worked out anew.
"""

from __future__ import annotations

from optimizer.planning.assignment import Assignment
from optimizer.planning.device_plan import DevicePlan, device_plans
from optimizer.planning.draft import Draft
from optimizer.planning.explain import Explanation
from optimizer.planning.inputs import is_available
from optimizer.planning.plan import Plan
from optimizer.planning.policy import Situation
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.start_reason import StartReason


class BadPlanError(Exception):
    """`str(error)` says what is wrong with the plan."""


def checked(made: object, situation: Situation) -> Plan:
    """The same choices. Raises BadPlanError when one of them is not possible, and whatever reading them raises."""
    if not isinstance(made, Plan):
        raise BadPlanError(f"it returned {type(made).__name__} where a Plan is wanted")
    draft = Draft(situation.waiting, device_plans(situation.devices, situation.estimates), situation.limits)
    for assignment in made.assignments:
        _start(draft, assignment, situation)
    preemptions = tuple(each for each in made.preemptions if _may_preempt(draft, each, situation))
    explanation = Explanation(situation.waiting, draft.devices, situation.models, room=draft.room)
    return Plan(tuple(draft.assignments), situation.waiting, explanation, preemptions)


def _start(draft: Draft, assignment: object, situation: Situation) -> None:
    if not isinstance(assignment, Assignment):
        raise BadPlanError(f"one of its assignments is {type(assignment).__name__}")
    task = _waiting_task(assignment.task_id, situation)
    if task is None:
        return
    device = _device_named(draft, assignment.device)
    if reason := _obstacle(draft, device, task, situation):
        raise BadPlanError(f"it starts {task.id} on {device.view.name}, but {reason}")
    if not set(assignment.evict) <= set(device.evictable(task.model)):
        raise BadPlanError(f"it unloads {', '.join(assignment.evict)} from {device.view.name}, which is in use there")
    fit = device.fit(task, assignment.evict, may_force=assignment.is_forced and draft.is_below_minimum)
    if fit.missing_bytes > 0:
        raise BadPlanError(f"it starts {task.id} on {device.view.name}, where {fit.missing_bytes} bytes are missing")
    why = assignment.why if isinstance(assignment.why, StartReason) else StartReason.POLICY
    draft.start(device, task, fit, why)


def _waiting_task(task_id: str, situation: Situation) -> WaitingTask | None:
    """None for one that was cancelled or changed since the decision began."""
    task = situation.waiting.find(task_id)
    if task is not None and task in situation.waiting:
        return task
    if not any(each.id == task_id for each in situation.waiting):
        raise BadPlanError(f"no task {task_id!r} is waiting")
    return None


def _device_named(draft: Draft, name: str) -> DevicePlan:
    device = next((each for each in draft.devices if each.view.name == name), None)
    if device is None:
        raise BadPlanError(f"there is no device {name!r}")
    return device


def _obstacle(draft: Draft, device: DevicePlan, task: WaitingTask, situation: Situation) -> str | None:
    """Why the task cannot start there, memory apart."""
    limits = situation.limits
    if task.id in draft.taken:
        return "it starts the task twice"
    if not device.view.is_meant(task.device):
        return f"the task is to run on {task.device}"
    if not device.view.accepts(task.device, task.model):
        return f"the device could not get the weights of {task.model}"
    if not is_available(situation.models, task.model):
        return f"the weights of {task.model} are not here"
    if not device.is_open or not device.has_slot(task.model):
        return "the device has no free place"
    if device.started >= limits.max_batch:
        return f"no more than {limits.max_batch} tasks may start together"
    return None if draft.room > 0 else f"no more than {draft.most_running} tasks may run"


def _may_preempt(draft: Draft, preemption: object, situation: Situation) -> bool:
    """Whether the running task can be told to make way now. Raises BadPlanError for what makes no sense."""
    if not isinstance(preemption, Preemption):
        raise BadPlanError(f"one of its preemptions is {type(preemption).__name__}")
    device = _device_named(draft, preemption.device)
    running = next((each for each in device.view.running if each.id == preemption.task_id), None)
    if running is None:
        raise BadPlanError(f"no task {preemption.task_id!r} runs on {preemption.device}")
    is_possible = situation.limits.preempts and running.may_be_preempted and not running.is_ending
    return is_possible and _waiting_task(preemption.for_task, situation) is not None
