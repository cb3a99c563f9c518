"""The two rules against starvation: who may not be overtaken any longer, and whose turn it is regardless of order.

Lack of memory or of a loaded model must not keep a task waiting for ever: nothing of at most its priority that is due
more than `overtake_limit_s` later may start before it. The device nearest to having the memory drains for it.

And every second round of a device belongs to the task that is due first of all, whatever its priority and owner, once
what would run instead is due at least `starvation_s` later.
"""

from __future__ import annotations

from math import inf

from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.draft import Draft
from optimizer.planning.plan import PlanLimits
from optimizer.planning.ranking import Ranking
from optimizer.queue.ready_queue import WaitingGroup, WaitingTask

STARVING_TURN = 2  # one round in so many belongs to the task that is due first of all


class Fairness:
    """Reads the ranking and the devices as the decision has left them so far. now: monotonic seconds."""

    def __init__(self, ranking: Ranking, draft: Draft, limits: PlanLimits, now: float) -> None:
        self._ranking = ranking
        self._draft = draft
        self._draining: dict[tuple[str, int], DevicePlan | None] = {}
        self._limits = limits
        self._now = now

    def is_starving_turn(self, device: DevicePlan) -> bool:
        return device.view.rounds % STARVING_TURN == 0

    def is_starving(self, device: DevicePlan, due_first: WaitingTask) -> bool:
        """Whether what would run on the device instead is due too much later. due_first: as the ranking has it."""
        return self._ranking.first_with_load(device).due - due_first.due >= self._limits.starvation_s

    def is_turn_of_another(self, device: DevicePlan, task: WaitingTask, other_due: float) -> bool:
        """Whether the device's next round would start a starving task instead of `task`: one that waits, or another one
        that is due at `other_due`."""
        if not self.is_starving_turn(device):
            return False
        first = self._ranking.due_first(device)
        earliest = min(other_due, other_due if first is None else first.due)
        return task.due - earliest >= self._limits.starvation_s

    def has_waited_too_long(self, task: WaitingTask) -> bool:
        return self._now - task.waiting_since >= self._limits.starvation_s

    def is_held_back(self, device: DevicePlan, task: WaitingTask, group: WaitingGroup) -> bool:
        """Whether `task`, of this group, would overtake one that the device should rather drain for.

        One that only waits for a slot of its own model gets that no sooner when other models' tasks wait as well.
        """
        due = task.due + group.penalty - self._limits.overtake_limit_s
        priority = -group.key.priority
        for (other_priority, other_due, _), other in self._ranking.groups(device):
            if other_priority > priority or (other_priority == priority and other_due >= due):
                return False  # so are those behind it
            if other_due < due and (other.key.model == group.key.model or device.has_slot(other.key.model)):
                head = self._ranking.head(device, other)
                if head is not None and head.due + other.penalty < due and self._drains_for(head) is device:
                    return True
        return False

    def _drains_for(self, task: WaitingTask) -> DevicePlan | None:
        """Of the devices that could run the task once they are empty, the one that lacks the least memory for it.

        Every device asks for the same few tasks, and the answer is the same until one more task starts.
        """
        key = (task.id, len(self._draft.assignments))
        if key not in self._draining:
            self._draining[key] = self._nearest(task)
        return self._draining[key]

    def _nearest(self, task: WaitingTask) -> DevicePlan | None:
        nearest, least = None, inf
        for device in self._draft.devices:
            if device.view.accepts(task.device, task.model) and device.fits_empty(task):
                missing = device.missing_bytes(task)
                if missing == 0:
                    return device  # no other one lacks less
                if missing < least:
                    nearest, least = device, missing
        return nearest
