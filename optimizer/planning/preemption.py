"""When a running task makes way for a waiting one: it ends at its next window and continues there later.

That costs the encoding of the window ahead and a slot in the batch, so it is done only where one task gains far more
than the other loses, and never to a task that is already due.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.inputs import RunningView, Times
from optimizer.queue.ready_queue import WaitingTask

SHORTER_BY = 4.0  # a task makes way for one that has at most a quarter of its remaining work
LEAST_WORK_LEFT_S = 30.0  # with less than this it is done soon anyway
LEAST_WAIT_S = 5.0  # when a slot is free within this time, nobody has to make way


@dataclass(frozen=True)
class Preemption:
    task_id: str
    device: str
    for_task: str


def choose_preemption(device: DevicePlan, waiting: WaitingTask, times: Times, now: float) -> Preemption | None:
    """The running task that should make way for `waiting` on a device without a free slot; None when none should.

    One at a time: while one is ending, no other one is chosen.
    """
    running = device.view.running
    left = {task.id: times.work_seconds(task.model, task.audio_left_seconds) for task in running}
    if not running or any(task.is_ending for task in running) or min(left.values()) < LEAST_WAIT_S:
        return None
    work = times.work_seconds(waiting.model, waiting.audio_left_seconds)
    candidates = [
        task
        for task in running
        if task.may_be_preempted
        and left[task.id] >= LEAST_WORK_LEFT_S
        and _should_be_preempted(task, left[task.id], waiting, work, now)
        and _leaves_room(device, task, waiting)
    ]
    if not candidates:
        return None
    longest = min(candidates, key=lambda task: (task.priority, -left[task.id], task.id))
    return Preemption(longest.id, device.view.name, waiting.id)


def _should_be_preempted(task: RunningView, left_s: float, waiting: WaitingTask, work_s: float, now: float) -> bool:
    """left_s, work_s: seconds of work that the running and the waiting task still need."""
    if waiting.priority != task.priority:
        return waiting.priority > task.priority
    return task.due > now and work_s * SHORTER_BY <= left_s


def _leaves_room(device: DevicePlan, task: RunningView, waiting: WaitingTask) -> bool:
    """Whether the waiting task fits into the memory that is free once the running one has ended."""
    return device.fit(waiting, device.evictable(waiting.model)).missing_bytes <= task.task_bytes
