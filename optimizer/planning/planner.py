"""Which tasks run next, together, and where: pure functions of what waits, what is there and what time it is.

The order: higher priority first; then the task that is due first (see `ordering`: short ones first, but not for ever),
with its owner's penalty added and, on a device without its model, what loading that costs. So a loaded model is
preferred, a small one to a large one, and a load is paid for when a task is due that much earlier.

A decision has three steps:
1. Each device whose turn it is serves the task that is due first of all, if others would starve it (see `fairness`).
2. Every open device is offered every group of tasks, best first. A group's first task that fits starts a round, unless
   it would overtake a task that must not wait longer (`fairness`) or a larger round is worth waiting for (`rounds`).
3. On a full device a running task makes way for a shorter or more urgent one that waits, where that gains at
   least twice what it loses (see `preemption`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, takewhile

from optimizer.planning.device_plan import DevicePlan, Fit, device_plans
from optimizer.planning.draft import Draft
from optimizer.planning.explain import Explanation
from optimizer.planning.fairness import Fairness
from optimizer.planning.inputs import DeviceView, Estimates, ModelView, RunningBrief, RunningView, Times, is_available
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.preemption import Preemption, choose_preemption, could_gain, leaves_room
from optimizer.planning.ranking import Ranking
from optimizer.planning.rounds import Rounds, fitting
from optimizer.planning.slot_choice import ENOUGH_SLOTS
from optimizer.queue.ready_queue import Rank, RankedGroup, WaitingGroup, WaitingTask, WaitingView, ranked
from optimizer.tasks.start_reason import StartReason
from optimizer.tasks.task import Priority
from whisper_core.common.units import WINDOW_SECONDS

PREEMPTION_HEADS = 4  # waiting tasks for which a full device asks whether a running one should make way


def plan(
    waiting: WaitingView,
    devices: Sequence[DeviceView],
    estimates: Estimates,
    times: Times,
    models: Mapping[str, ModelView],
    limits: PlanLimits,
    now: float,
) -> Plan:
    """The next assignments. Pure: the same input gives the same plan. now: monotonic seconds.

    Never reserves more than a device has, never evicts a model in use, never starts more than slots and limits allow.
    """
    draft = Draft(waiting, device_plans(devices, estimates), limits)
    decision = _Decision(draft, waiting, times, models, limits, now)
    for device in draft.devices:
        if device.is_open and draft.room > 0:
            decision.serve_starving(device)
    for device, group in takewhile(lambda _: draft.room > 0, decision.offers()):
        if device.is_open:
            decision.serve(device, group)
    preemptions = decision.preemptions() if limits.preempts else ()
    why_waiting = Explanation(waiting, draft.devices, models, room=draft.room, may_wait_for_round=limits.min_batch > 1)
    return Plan(tuple(draft.assignments), waiting, why_waiting, preemptions)


class _Decision:
    """The steps of one call of `plan`, each of which adds to the draft."""

    def __init__(
        self,
        draft: Draft,
        waiting: WaitingView,
        times: Times,
        models: Mapping[str, ModelView],
        limits: PlanLimits,
        now: float,
    ) -> None:
        available = {model for model in models if is_available(models, model)}
        groups = ranked(waiting.groups)
        startable = [pair for pair in groups if pair[1].key.model in available]
        self._draft = draft
        self._times = times
        self._now = now
        self._ranking = Ranking(startable, times, draft.taken)
        self._fairness = Fairness(self._ranking, draft, limits, now)
        self._rounds = Rounds(draft, self._ranking, self._fairness, limits, now)
        self._start_reasons = _StartReasons(groups, models, draft)

    def offers(self) -> Iterator[tuple[DevicePlan, WaitingGroup]]:
        return self._ranking.offers(self._draft.devices)

    def serve_starving(self, device: DevicePlan) -> None:
        """On its turn, starts the task that is due first, if others would starve it; or closes the device until its
        running tasks leave enough memory."""
        if not self._fairness.is_starving_turn(device):
            return
        first = self._ranking.due_first(device)
        if first is None or not device.has_slot(first.model):
            return
        is_starving = self._fairness.is_starving(device, first)
        may_drain = not device.is_idle and self._fairness.has_waited_too_long(first)
        if not (is_starving or may_drain):
            return  # the usual case, before anything is worked out about memory
        fit = self._fit(device, first, protects_demanded=False)
        if fit.missing_bytes == 0:
            if is_starving:
                self._rounds.start(device, first, fit, StartReason.STARVING)
        elif may_drain:
            device.is_closed = True
            self._draft.taken.add(first.id)  # no other device drains for it in the same decision

    def serve(self, device: DevicePlan, group: WaitingGroup) -> None:
        """Starts the group's first task that fits, and others of its model with it."""
        if not device.has_slot(group.key.model):
            return
        candidates = ((task, group) for task in self._ranking.candidates(device, group))
        fit_of = partial(self._fit, device, protects_demanded=not device.is_idle)
        first = next(fitting(candidates, fit_of), None)
        if first is None:
            return
        task, _, fit = first
        if self._fairness.is_held_back(device, task, group):
            device.is_draining = True
        elif not self._rounds.is_worth_waiting_for(device, task):
            self._rounds.start(device, task, fit, self._start_reasons.reason(device, task, group))

    def preemptions(self) -> tuple[Preemption, ...]:
        """On devices without a free place, or models without a free slot, for the tasks that would start there next."""
        if not self._ranking.has_any_left():
            return ()
        self._leave_places_that_become_free()
        chosen = []
        for device in self._draft.devices:
            if device.view.is_ready and device.view.running and not device.started:
                preemption = self._preemption(device)
                if preemption is not None:
                    chosen.append(preemption)
                    self._draft.taken.add(preemption.for_task)
        return tuple(chosen)

    def _waits_for_one(self, device: DevicePlan, model: str) -> bool:
        """Whether a task could start there only once another one has ended. Limits that were lowered may need more."""
        places = min(device.slots_left, self._draft.room)
        return places == 0 or (places > 0 and not device.has_slot(model))

    def _leave_places_that_become_free(self) -> None:
        """Tasks that have been told to end leave their places to the first that fit; no other makes way for those."""
        for device in self._draft.devices:
            ending = (place for place, brief in enumerate(device.view.running_brief) if brief.is_ending)
            for task in map(device.view.running.__getitem__, ending):
                heads = (head for head, _ in self._ranking.heads(device) if leaves_room(device, task, head))
                self._draft.taken.update(head.id for head in islice(heads, 1))

    def _preemption(self, device: DevicePlan) -> Preemption | None:
        if min(device.slots_left, self._draft.room) > 0 and not device.has_full_model:
            return None
        if not self._could_gain(device):
            return None
        heads = (pair for pair in self._ranking.heads(device) if self._waits_for_one(device, pair[0].model))
        for head, group in islice(heads, PREEMPTION_HEADS):
            if self._fairness.is_held_back(device, head, group):
                continue
            free_in_s = self._free_in_s(device, head.model)
            preemption = choose_preemption(device, head, group, self._times, free_in_s=free_in_s, now=self._now)
            if preemption is not None:
                due = next(task.due for task in device.view.running if task.id == preemption.task_id)
                return None if self._fairness.is_turn_of_another(device, head, due) else preemption
            if any(leaves_room(device, task, head) for task in device.view.running):
                return None  # a place that became free would be this task's
        return None

    def _could_gain(self, device: DevicePlan) -> bool:
        """False where a place is free so soon that no task need be compared: the usual case, and a quick answer."""
        if device.slots_left > 0 or device.has_full_model:
            return True
        window_s = min(self._times.work_seconds(task.model, WINDOW_SECONDS) for task in device.view.running_brief)
        return could_gain(self._shortest_work_s(device.view.running_brief), window_s)

    def _shortest_work_s(self, running: Iterable[RunningBrief | RunningView]) -> float:
        return min(self._times.work_seconds(task.model, task.audio_left_seconds) for task in running)

    def _free_in_s(self, device: DevicePlan, model: str) -> float:
        """Seconds of work until the device would have a place for a task of this model, if nobody made way."""
        is_here = device.slots_left <= 0 or not device.has_slot(model)
        running = [task for each in ([device] if is_here else self._draft.devices) for task in each.view.running_brief]
        if not device.has_slot(model):
            running = [task for task in running if task.model == model]
        return self._shortest_work_s(running)

    def _fit(self, device: DevicePlan, task: WaitingTask, *, protects_demanded: bool) -> Fit:
        """How the task fits, with what may be evicted for it."""
        fit = device.fit(task)
        fits = fit.missing_bytes == 0
        if fits and not device.is_cramped(task, fit):  # the usual case: nothing needs to be evicted
            return fit
        models = self._ranking.evictable(device, task, protects_demanded=protects_demanded)
        if unwanted := self._ranking.unwanted(device, models):
            roomy = device.fit(task, unwanted, least_slots=ENOUGH_SLOTS)
            if roomy.missing_bytes == 0:
                return roomy
        return fit if fits else device.fit(task, models, may_force=self._draft.is_below_minimum)


class _StartReasons:
    """Works out what put a task before the others, once it has been chosen."""

    def __init__(self, groups: Sequence[RankedGroup], models: Mapping[str, ModelView], draft: Draft) -> None:
        """groups: in order; also those whose model is not here."""
        self._groups = groups
        self._models = models
        self._draft = draft

    def reason(self, device: DevicePlan, task: WaitingTask, group: WaitingGroup) -> StartReason:
        """For a task of this group that is about to start, not yet in the draft."""
        keys = [each.key for each in self._groups_before(group.rank_of(task))]
        if not keys:
            return self._reason_in_order(task)
        could_run = any(
            is_available(self._models, key.model) and device.view.accepts(key.device, key.model) for key in keys
        )
        costs_a_load = any(key.model not in device.resident for key in keys)
        return StartReason.RESIDENT_MODEL if could_run and costs_a_load else StartReason.FITS

    def _reason_in_order(self, task: WaitingTask) -> StartReason:
        """For the task that ranks before all others: the rule of the order that put it there."""
        if self._is_due_after_another(task):
            return StartReason.FAIR_SHARE
        if self._draft.count_passed(task, task.priority):
            return StartReason.SHORTEST
        if any(self._draft.count_passed(task, lower) for lower in Priority if lower < task.priority):
            return StartReason.PRIORITY
        return StartReason.ARRIVAL

    def _groups_before(self, rank: Rank) -> Iterator[WaitingGroup]:
        """The groups of which a task that is not taken ranks before that."""
        for _, group in takewhile(lambda pair: pair[0] < rank, self._groups):
            first = self._first_waiting(group)
            if first is not None and group.rank_of(first) < rank:
                yield group

    def _is_due_after_another(self, task: WaitingTask) -> bool:
        """Whether one of its priority would go first if no owner's tasks were set back."""
        firsts = (self._first_waiting(group) for _, group in self._groups if group.key.priority == task.priority)
        return any(first is not None and first.place < task.place for first in firsts)

    def _first_waiting(self, group: WaitingGroup) -> WaitingTask | None:
        return next((task for task in group.tasks if task.id not in self._draft.taken), None)
