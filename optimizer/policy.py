"""Which tasks run next, together, and where: pure functions of what waits, what is there and what time it is.

The order, most important first: higher priority; a model that is loaded already; a smaller model; earlier arrival.
Against starvation every second round of a device belongs to the task that has waited longest, once that is
`starvation_s`; when memory is short for it, the device drains and takes nothing else. So a starving task starts after
about twice as many rounds as starving tasks are ahead of it, and yet a high-priority task passes a long queue of old
ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import merge
from itertools import islice

from optimizer.explanation import Explanation
from optimizer.placement import Assignment, DeviceKind, DevicePlan, DeviceView, Estimates, Fit, ModelView
from optimizer.task import AUTO_DEVICE
from optimizer.waiting import WaitingGroup, WaitingIndex, WaitingTask, WaitingView
from optimizer.waiting_reasons import WaitReason

__all__ = [
    "Assignment", "DeviceKind", "DeviceView", "Estimates", "ModelView", "Plan", "PlanLimits",
    "WaitingGroup", "WaitingIndex", "WaitingTask", "WaitingView", "plan", "plan_in_order",
]  # fmt: skip

STARVING_TURN = 2  # one round in so many belongs to the task that has starved longest
MAX_REASONS = 200  # reasons that `Plan.reasons` works out; one page of the list


@dataclass(frozen=True, kw_only=True)
class PlanLimits:
    """min_concurrent, max_concurrent: tasks running over all devices. Below min_concurrent an idle device starts a task
    even if other programs use the memory for it. max_concurrent None: as many as the devices have slots, if memory
    allows. min_batch, max_batch: tasks handed to one device in one round; a busy device waits for min_batch free slots
    only while that many tasks of the model are there."""

    min_concurrent: int = 1
    max_concurrent: int | None = 8
    min_batch: int = 1
    max_batch: int = 4
    starvation_s: float = 300.0

    def most_running(self, slots: Iterable[int]) -> int:
        """Tasks that may run over all devices, of which each has so many slots."""
        return sum(slots) if self.max_concurrent is None else self.max_concurrent


@dataclass(frozen=True)
class Plan:
    """What to start now, and why the others wait. `assignments` are in the order in which to carry them out."""

    assignments: tuple[Assignment, ...]
    waiting: WaitingView = field(repr=False)
    explain: Explanation = field(repr=False, compare=False)

    @cached_property
    def assigned(self) -> frozenset[str]:
        return frozenset(assignment.task_id for assignment in self.assignments)

    @cached_property
    def reasons(self) -> dict[str, WaitReason]:
        """Of the first tasks that stay waiting, by priority and arrival; `reason_for` has those further back."""
        ordered = merge(*(group.tasks for group in self.waiting.groups), key=lambda task: (-task.priority, task.seq))
        staying = (task for task in ordered if task.id not in self.assigned)
        return {task.id: self.explain(task) for task in islice(staying, MAX_REASONS)}

    def reason_for(self, task_id: str) -> WaitReason | None:
        """Why that task was not chosen; None when it was, or when the decision did not see it as it is now."""
        if task_id in self.assigned:
            return None
        task = self.waiting.find(task_id)
        return self.explain(task) if task is not None and task in self.waiting else None


def plan(
    waiting: WaitingView,
    devices: Sequence[DeviceView],
    estimates: Estimates,
    models: Mapping[str, ModelView],
    limits: PlanLimits,
    now: float,
) -> Plan:
    """The next assignments. Pure: the same input gives the same plan. now: monotonic seconds.

    Never promises more than a device has, never evicts a model in use, never starts more than slots and limits allow.
    """
    return _Decision(waiting, devices, estimates, models, limits, now).decide()


class _Decision:
    """The scratch state of one call of `plan`."""

    def __init__(
        self,
        waiting: WaitingView,
        devices: Sequence[DeviceView],
        estimates: Estimates,
        models: Mapping[str, ModelView],
        limits: PlanLimits,
        now: float,
    ) -> None:
        self.waiting = waiting
        self.models = models
        self.limits = limits
        self.now = now
        self.devices = [DevicePlan(view, estimates) for view in sorted(devices, key=_device_order)]
        self.groups = [group for group in waiting.groups if is_available(models, group.key.model)]
        self.running = sum(view.running for view in devices)
        self.most_running = limits.most_running(view.slots for view in devices)
        self.taken: set[str] = set()
        self.assignments: list[Assignment] = []

    @property
    def room(self) -> int:
        """Tasks that may still be started, over all devices."""
        return self.most_running - self.running - len(self.assignments)

    @property
    def is_below_minimum(self) -> bool:
        return self.running + len(self.assignments) < self.limits.min_concurrent

    def decide(self) -> Plan:
        for device in self.devices:
            if device.view.rounds % STARVING_TURN == 0:
                self._serve_starving(device)
        for device, group in self._offers():
            if self.room > 0 and device.is_open:
                self._serve(device, group)
        forms_batches = self.limits.min_batch > 1
        why = Explanation(self.waiting, self.devices, self.models, room=self.room, forms_batches=forms_batches)
        return Plan(tuple(self.assignments), self.waiting, why)

    def _offers(self) -> list[tuple[DevicePlan, WaitingGroup]]:
        """Every open device with every group that may run on it, best first."""
        offers = [
            (_rank(group, device), place, device, group)
            for place, device in enumerate(self.devices)
            if device.is_open
            for group in self._groups_for(device)
        ]
        offers.sort(key=lambda offer: offer[:2])
        return [(device, group) for _, _, device, group in offers]

    def _groups_for(self, device: DevicePlan, model: str | None = None) -> list[WaitingGroup]:
        return [
            group
            for group in self.groups
            if device.view.is_wanted_by(group.key.device) and model in (None, group.key.model)
        ]

    def _candidates(self, device: DevicePlan, tasks: Iterable[WaitingTask]) -> Iterator[WaitingTask]:
        """Those of `tasks` that are still to be had and that the device could ever run."""
        return (task for task in tasks if task.id not in self.taken and device.fits_alone(task))

    def _serve_starving(self, device: DevicePlan) -> None:
        """Starts the task that has starved longest, or closes the device until running tasks make room for it."""
        if self.room <= 0 or not device.is_open:
            return
        heads = [next(self._candidates(device, group.tasks), None) for group in self._groups_for(device)]
        starving = [
            head for head in heads if head is not None and self.now - head.waiting_since >= self.limits.starvation_s
        ]
        if not starving:
            return
        task = min(starving, key=lambda head: (head.waiting_since, head.seq))
        fit = device.fit(task, self._evictable(device, task, spares_needed=False), may_force=self.is_below_minimum)
        if fit.missing_bytes == 0:
            self._start_batch(device, task, fit)
        elif not device.is_idle:
            device.is_closed = True
            self.taken.add(task.id)  # no other device drains for it in the same decision

    def _serve(self, device: DevicePlan, group: WaitingGroup) -> None:
        """Starts the group's first task that fits, and others of its model with it."""
        shortest_miss: dict[bool, float] = {}
        for task in self._candidates(device, group.tasks):
            if task.audio_seconds >= shortest_miss.get(task.word_timestamps, float("inf")):
                continue
            evictable = self._evictable(device, task, spares_needed=not device.is_idle)
            fit = device.fit(task, evictable, may_force=self.is_below_minimum)
            if fit.missing_bytes > 0:
                shortest_miss[task.word_timestamps] = task.audio_seconds
                continue
            if not self._waits_for_batch(device, task.model):
                self._start_batch(device, task, fit)
            return

    def _start_batch(self, device: DevicePlan, first: WaitingTask, fit: Fit) -> None:
        self._start(device, first, fit)
        groups = self._groups_for(device, first.model)
        others = merge(*(group.tasks for group in groups), key=lambda task: (-task.priority, task.seq))
        shortest_miss: dict[bool, float] = {}
        for task in self._candidates(device, others):
            if device.started >= self.limits.max_batch or self.room <= 0 or device.slots_left <= 0:
                break
            if task.audio_seconds >= shortest_miss.get(task.word_timestamps, float("inf")):
                continue
            fit = device.fit(task)
            if fit.missing_bytes == 0:
                self._start(device, task, fit)
            else:
                shortest_miss[task.word_timestamps] = task.audio_seconds
        device.is_closed = True  # one model a round

    def _start(self, device: DevicePlan, task: WaitingTask, fit: Fit) -> None:
        self.assignments.append(device.accept(task, fit))
        self.taken.add(task.id)

    def _waits_for_batch(self, device: DevicePlan, model: str) -> bool:
        """Whether a busy device should rather free more slots, so that min_batch tasks of the model start together."""
        if device.is_idle or self.is_below_minimum:
            return False
        limits = self.limits
        wanted = min(limits.min_batch, limits.max_batch, self.most_running, device.view.slots)
        startable = min(device.slots_left, self.room)
        if startable >= wanted:
            return False
        tasks = (task for group in self._groups_for(device, model) for task in group.tasks)
        there = sum(1 for _ in islice(self._candidates(device, tasks), wanted))
        return there >= wanted

    def _evictable(self, device: DevicePlan, task: WaitingTask, *, spares_needed: bool) -> list[str]:
        """Idle resident models, least missed first; spares_needed: without those that a higher-priority task wants."""
        idle = device.evictable(task.model)
        demand = {model: self._demand(device, model) for model in idle}
        if spares_needed:
            idle = [model for model in idle if demand[model] <= task.priority]
        return sorted(idle, key=lambda model: (demand[model], device.resident[model], model))

    def _demand(self, device: DevicePlan, model: str) -> int:
        """The highest priority of a task that waits for the model on this device; -1 when none does."""
        wanted = [
            int(group.key.priority)
            for group in self._groups_for(device, model)
            if next(self._candidates(device, group.tasks), None) is not None
        ]
        return max(wanted, default=-1)


def plan_in_order(
    waiting: WaitingView,
    devices: Sequence[DeviceView],
    estimates: Estimates,
    models: Mapping[str, ModelView],
    now: float = 0.0,
) -> Plan:
    """The plain path: one task at a time over all devices, first come first served, whatever its priority or memory.

    Every other resident model is evicted first. Tasks whose model or device is not here are passed over, since they
    would block all others. The bytes in the assignment are for the record; the plain path reserves nothing.
    """
    decision = _Decision(waiting, devices, estimates, models, PlanLimits(max_concurrent=1, max_batch=1), now)
    names = {view.name for view in devices}
    ordered = merge(*(group.tasks for group in decision.groups), key=lambda task: task.seq)
    first = next((task for task in ordered if task.device in names or task.device == AUTO_DEVICE), None)
    if first is not None and decision.room > 0:
        device = next((d for d in decision.devices if d.is_open and d.view.is_wanted_by(first.device)), None)
        if device is not None:
            decision.assignments.append(_in_order(device, first))
    why = Explanation(waiting, decision.devices, models, room=decision.room, plans_memory=False)
    return Plan(tuple(decision.assignments), waiting, why)


def _in_order(device: DevicePlan, task: WaitingTask) -> Assignment:
    is_resident = task.model in device.resident
    fit = Fit(
        task_bytes=device.task_bytes(task),
        weights_bytes=0 if is_resident else device.weights_bytes(task.model),
        evict=tuple(sorted(set(device.resident) - {task.model})),
        is_forced=True,
    )
    return device.accept(task, fit)


def is_available(models: Mapping[str, ModelView], model: str) -> bool:
    view = models.get(model)
    return view is not None and view.is_available


def _device_order(view: DeviceView) -> tuple[bool, int, str]:
    """GPUs before the CPU, then the one with most memory free."""
    return (view.kind == "cpu", -view.free_bytes, view.name)


def _rank(group: WaitingGroup, device: DevicePlan) -> tuple[int, bool, int, int]:
    model = group.key.model
    return (-group.key.priority, model not in device.resident, device.weights_bytes(model), group.tasks[0].seq)
