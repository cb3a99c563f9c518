"""When a running task makes way for a waiting one: it ends at its next window and continues there later.

Both sides are counted in work, so a slow machine and a fast one choose alike:

- The waiting task gains the time between that window's end and the moment at which a place would be free anyway.
- The running one loses about a window, because its recording is opened and read through again while its place stands
  empty; what loading a model takes, now or again later; and the work of the waiting task, unless that is more urgent.

It makes way where the gain is `GAIN_FACTOR` times the loss or more. It never does for a task that would be started
after it nor, for one of its own priority, once it is due; nor where the place would go to a starving task (see
`fairness`). So the one that made way does not take its place back before
the other has ended, and every time it makes way it is at least a window further.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.inputs import RunningView, Times
from optimizer.planning.ranking import loading_seconds
from optimizer.queue.ordering import TARGET_SLOWDOWN
from optimizer.queue.ready_queue import WaitingGroup, WaitingTask
from whisper_core.common.units import WINDOW_SECONDS

GAIN_FACTOR = 2.0
SHORTER_BY = 4.0  # a task makes way for one that has at most a quarter of its remaining work
LEAST_GAIN_S = 1.0  # less is not noticed, however fast the machine


@dataclass(frozen=True)
class Preemption:
    task_id: str
    device: str
    for_task: str


def choose_preemption(
    device: DevicePlan, waiting: WaitingTask, group: WaitingGroup, times: Times, *, free_in_s: float, now: float
) -> Preemption | None:
    """The running task that should make way for `waiting` on a device without a free place; None when none should.

    One at a time: while one is ending, no other one is chosen. group: of `waiting`. free_in_s: seconds of work until a
    place would be free.
    """
    running = device.view.running
    if any(task.is_ending for task in running):
        return None
    candidates = []
    for task in running:
        load_s = loading_seconds(device, waiting.model, times, idle_then=[task.model])
        if (
            task.may_be_preempted
            and _goes_first(waiting, group, task, load_s, now)
            and _is_worth_it(waiting, task, load_s, free_in_s, times)
            and leaves_room(device, task, waiting)
        ):
            candidates.append((task.priority, -times.work_seconds(task.model, task.audio_left_seconds), task.id))
    return Preemption(min(candidates)[-1], device.view.name, waiting.id) if candidates else None


def could_gain(free_in_s: float, window_s: float) -> bool:
    """Whether any task could be worth making way for: the part of `_is_worth_it` that holds for all tasks.

    free_in_s: seconds of work until a place would be free. window_s: of the fastest model that runs.
    """
    return free_in_s * (1 + 1e-9) >= max((1 + GAIN_FACTOR) * window_s, window_s + LEAST_GAIN_S)


def leaves_room(device: DevicePlan, task: RunningView, waiting: WaitingTask) -> bool:
    """Whether the waiting task finds a slot and fits into the memory that is free once the running one has ended."""
    if task.model != waiting.model and not device.has_slot(waiting.model):
        return False
    return device.fit(waiting, device.evictable(waiting.model)).missing_bytes <= task.task_bytes


def _goes_first(waiting: WaitingTask, group: WaitingGroup, task: RunningView, load_s: float, now: float) -> bool:
    """Whether the waiting task would start first if both waited, and with equal priority the other one is not due."""
    if waiting.priority != task.priority:
        return waiting.priority > task.priority
    ahead_s = task.due - waiting.due - TARGET_SLOWDOWN * load_s
    if group.key.owner != task.owner:
        ahead_s += task.penalty - group.penalty
    return task.due > now and ahead_s > 0


def _is_worth_it(waiting: WaitingTask, task: RunningView, load_s: float, free_in_s: float, times: Times) -> bool:
    """load_s: for the waiting task's model. free_in_s: see choose_preemption."""
    window_s = times.work_seconds(task.model, WINDOW_SECONDS)
    loss_s = window_s + load_s
    if waiting.priority == task.priority:
        work_s = times.work_seconds(waiting.model, waiting.audio_left_seconds)
        if work_s * SHORTER_BY > times.work_seconds(task.model, task.audio_left_seconds):
            return False
        loss_s += work_s
    return free_in_s - window_s >= max(GAIN_FACTOR * loss_s, LEAST_GAIN_S)
