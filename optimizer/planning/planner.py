"""Which tasks run next, together, and where: pure functions of what waits, what is there and what time it is.

The order: higher priority first; then the task that is due first (see `due_times`: short ones, but not for ever), its
owner's penalty added (see `owner_shares`) and, on a device without its model, what loading that costs. So a loaded
model is preferred, a small one before a large one, and a load is paid when what it serves is due so much earlier.

Against starvation there are two rules. For want of memory or of its model no task is passed by one of at most its
priority that is due more than `overtake_limit_s` later: a device that could run it once it is empty drains for it. And
every second round of a device belongs to the task that is due first of all, whatever its priority and owner, once what
would run instead is due `starvation_s` later. A long task that runs makes way for a short or urgent one (see
`preemption`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from operator import attrgetter, itemgetter

from optimizer.planning.device_plan import (
    Assignment,
    DevicePlan,
    DeviceView,
    Estimates,
    Fit,
    ModelView,
    StartReason,
    Times,
    device_order,
    is_available,
)
from optimizer.planning.explain import Explanation
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.preemption import Preemption, choose_preemption
from optimizer.queue.ordering import TARGET_SLOWDOWN
from optimizer.queue.ready_queue import Rank, RankedGroup, WaitingGroup, WaitingTask, WaitingView, in_order, ranked

STARVING_TURN = 2  # one round in so many belongs to the task that has starved longest
LOOK_AHEAD = 256  # tasks of a group that a decision looks at when the first ones do not fit
PREEMPTION_HEADS = 4  # waiting tasks for which a full device asks whether somebody should make way

_place = attrgetter("due", "seq")


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

    Never promises more than a device has, never evicts a model in use, never starts more than slots and limits allow.
    """
    return _Decision(waiting, devices, estimates, times, models, limits, now).decide()


def _first_place(group: WaitingGroup) -> tuple[float, int]:
    return _place(group.tasks[0])


class _Decision:
    """The scratch state of one call of `plan`."""

    def __init__(
        self,
        waiting: WaitingView,
        devices: Sequence[DeviceView],
        estimates: Estimates,
        times: Times,
        models: Mapping[str, ModelView],
        limits: PlanLimits,
        now: float,
    ) -> None:
        self.waiting = waiting
        self.models = models
        self.times = times
        self.limits = limits
        self.now = now
        self.devices = [DevicePlan(view, estimates) for view in sorted(devices, key=device_order)]
        available = {model for model in models if is_available(models, model)}
        # In order, as far as that does not depend on a device.
        self.all_ranked = ranked(waiting.groups)
        self.ranked = [pair for pair in self.all_ranked if pair[1].key.model in available]
        self.running = sum(len(view.running) for view in devices)
        self.most_running = limits.most_running(view.slots for view in devices)
        self.taken: set[str] = set()
        self._ranked_of: dict[str, list[RankedGroup]] = {}
        self._ranked_of_model: dict[tuple[str, str], list[RankedGroup]] = {}
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
            if device.is_open:
                if self.room <= 0:
                    break
                self._serve(device, group)
        leaving = self._preempt() if self.limits.preempts else ()
        forms_batches = self.limits.min_batch > 1
        why = Explanation(self.waiting, self.devices, self.models, room=self.room, forms_batches=forms_batches)
        return Plan(tuple(self.assignments), self.waiting, why, leaving)

    def _offers(self) -> list[tuple[DevicePlan, WaitingGroup]]:
        """Every open device with every group that may run on it, best first."""
        offers = []
        for place, device in enumerate(self.devices):
            if device.is_open:
                share = device.share_in_use
                offers += [(rank, share, place, device, group) for rank, group in self._with_loads(device)]
        offers.sort(key=itemgetter(0, 1, 2))
        return [(device, group) for *_, device, group in offers]

    def _with_loads(self, device: DevicePlan) -> list[RankedGroup]:
        """The groups that may run on this device, ranked with what loading their models costs; in no order."""
        groups = self._ranked_for(device)
        penalties = {model: self._load_penalty(model, device) for model in {group.key.model for _, group in groups}}
        return [((priority, due + penalties[group.key.model], seq), group) for (priority, due, seq), group in groups]

    def _first_with_load(self, device: DevicePlan) -> WaitingTask:
        """The first task of the group that `_with_loads` ranks first."""
        first_of_models: dict[str, RankedGroup] = {}
        for pair in self._ranked_for(device):
            first_of_models.setdefault(pair[1].key.model, pair)
        (_, group) = min(
            (((priority, due + self._load_penalty(model, device), seq), group)
             for model, ((priority, due, seq), group) in first_of_models.items()),
            key=itemgetter(0),
        )  # fmt: skip
        return group.tasks[0]

    def _load_penalty(self, model: str, device: DevicePlan) -> float:
        """Seconds by which tasks of this model are set back on this device, because it would have to be loaded."""
        if model in device.resident:
            return 0.0
        load_s = self.times.load_seconds(model)
        if device.weights_bytes(model) > device.free_bytes:  # then something goes, and may be wanted again
            load_s += max((self.times.load_seconds(other) for other in device.evictable(model)), default=0.0)
        return TARGET_SLOWDOWN * load_s

    def _ranked_for(self, device: DevicePlan) -> list[RankedGroup]:
        """The groups that may run on this device, in order."""
        known = self._ranked_of.get(device.view.name)
        if known is None:
            known = [pair for pair in self.ranked if device.view.is_wanted_by(pair[1].key.device)]
            self._ranked_of[device.view.name] = known
        return known

    def _ranked_for_model(self, device: DevicePlan, model: str) -> list[RankedGroup]:
        known = self._ranked_of_model.get((device.view.name, model))
        if known is None:
            known = [pair for pair in self._ranked_for(device) if pair[1].key.model == model]
            self._ranked_of_model[device.view.name, model] = known
        return known

    def _candidates(self, device: DevicePlan, tasks: Iterable[WaitingTask]) -> Iterator[WaitingTask]:
        """Those of `tasks` that are still to be had and that the device could ever run."""
        return (task for task in tasks if self._is_candidate(device, task))

    def _is_candidate(self, device: DevicePlan, task: WaitingTask) -> bool:
        return task.id not in self.taken and device.fits_alone(task)

    def _heads(self, device: DevicePlan) -> list[tuple[WaitingTask, WaitingGroup]]:
        """The first task of each group that the device could run."""
        heads = []
        for _, group in self._ranked_for(device):
            if (head := self._head(device, group)) is not None:
                heads.append((head, group))
        return heads

    def _head(self, device: DevicePlan, group: WaitingGroup) -> WaitingTask | None:
        return next(self._candidates(device, group.tasks), None)

    def _due_first(self, device: DevicePlan) -> WaitingTask | None:
        """The task that is due first of all that the device could run, whatever its priority and owner."""
        best: WaitingTask | None = None
        for group in sorted((group for _, group in self._ranked_for(device)), key=_first_place):
            if best is not None and _place(best) <= _first_place(group):
                break
            head = self._head(device, group)
            best = min((each for each in (best, head) if each is not None), key=_place, default=None)
        return best

    def _serve_starving(self, device: DevicePlan) -> None:
        """Starts the task that is due first, if others would pass it for too long; or closes the device until running
        tasks make room for it."""
        if self.room <= 0 or not device.is_open:
            return
        first = self._due_first(device)
        if first is None:
            return
        fit = self._fit(device, first, protects_demanded=False)
        if fit.missing_bytes == 0:
            if self._first_with_load(device).due - first.due >= self.limits.starvation_s:
                self._start_batch(device, first, fit, StartReason.STARVING)
        elif not device.is_idle and self.now - first.waiting_since >= self.limits.starvation_s:
            device.is_closed = True
            self.taken.add(first.id)  # no other device drains for it in the same decision

    def _serve(self, device: DevicePlan, group: WaitingGroup) -> None:
        """Starts the group's first task that fits, and others of its model with it."""
        shortest_miss: dict[bool, float] = {}
        for task in islice(self._candidates(device, group.tasks), LOOK_AHEAD):
            if task.audio_seconds >= shortest_miss.get(task.word_timestamps, float("inf")):
                continue
            fit = self._fit(device, task, protects_demanded=not device.is_idle)
            if fit.missing_bytes > 0:
                shortest_miss[task.word_timestamps] = task.audio_seconds
                continue
            if self._is_held_back(device, task, group):
                device.is_draining = True
            elif not self._waits_for_batch(device, task):
                self._start_batch(device, task, fit, self._why(device, task, group))
            return

    def _is_held_back(self, device: DevicePlan, task: WaitingTask, group: WaitingGroup) -> bool:
        """Whether `task` would pass one that the device should become free for; see the rules above."""
        due = task.due + group.penalty - self.limits.overtake_limit_s
        priority = -group.key.priority
        for (other_priority, other_due, _), other in self._ranked_for(device):
            if other_priority > priority:
                return False
            if other_due < due:
                head = self._head(device, other)
                if head is not None and head.due + other.penalty < due and self._drains_for(head) is device:
                    return True
        return False

    def _drains_for(self, task: WaitingTask) -> DevicePlan | None:
        """The device that is nearest to having the memory for the task, of those that would have it when empty."""
        able = [device for device in self.devices if device.view.is_wanted_by(task.device) and device.fits_empty(task)]
        return min(able, key=lambda device: device.missing_bytes(task), default=None)

    def _fit(self, device: DevicePlan, task: WaitingTask, *, protects_demanded: bool) -> Fit:
        """How the task fits, with what may be evicted for it; see `_evictable`."""
        fit = device.fit(task)
        if fit.missing_bytes == 0:  # as nearly always; then nobody need ask what could go
            return fit
        evictable = self._evictable(device, task, protects_demanded=protects_demanded)
        return device.fit(task, evictable, may_force=self.is_below_minimum)

    def _why(self, device: DevicePlan, task: WaitingTask, group: WaitingGroup) -> StartReason:
        """What put this task before the others, now that it has been chosen."""
        rank = group.rank_of(task)
        before = [each for each in self._groups_before(rank) if self._has_before(each, rank)]
        if not before:
            return StartReason.SHORTEST if self._passed(task) else StartReason.ARRIVAL
        keys = [each.key for each in before]
        might = any(is_available(self.models, key.model) and device.view.is_wanted_by(key.device) for key in keys)
        costs_a_load = any(key.model not in device.resident for key in keys)
        return StartReason.RESIDENT_MODEL if might and costs_a_load else StartReason.FITS

    def _groups_before(self, rank: Rank) -> Iterator[WaitingGroup]:
        """Those whose first task comes before that rank."""
        return (group for _, group in takewhile(lambda pair: pair[0] < rank, self.all_ranked))

    def _has_before(self, group: WaitingGroup, rank: Rank) -> bool:
        """Whether a task of the group that is not taken comes before that rank."""
        left = next((task for task in group.tasks if task.id not in self.taken), None)
        return left is not None and group.rank_of(left) < rank

    def _passed(self, task: WaitingTask) -> int:
        """How many of its priority arrived before it and are not started either."""
        started_before = sum(
            1
            for assignment in self.assignments
            if (other := self.waiting.find(assignment.task_id)) is not None
            and other.priority == task.priority
            and other.seq < task.seq
        )
        return max(0, self.waiting.count_arrived_before(task.priority, task.seq) - started_before)

    def _start_batch(self, device: DevicePlan, first: WaitingTask, fit: Fit, why: StartReason) -> None:
        self._start(device, first, fit, why)
        shortest_miss: dict[bool, float] = {}
        others = in_order(self._ranked_for_model(device, first.model))
        candidates = ((task, group) for task, group in others if self._is_candidate(device, task))
        for task, group in islice(candidates, LOOK_AHEAD):
            if device.started >= self.limits.max_batch or self.room <= 0 or device.slots_left <= 0:
                break
            if task.audio_seconds >= shortest_miss.get(task.word_timestamps, float("inf")):
                continue
            fit = device.fit(task)
            if fit.missing_bytes > 0:
                shortest_miss[task.word_timestamps] = task.audio_seconds
            elif self._is_held_back(device, task, group):
                break  # so would be those behind it
            else:
                self._start(device, task, fit, StartReason.TOGETHER)
        device.is_closed = True  # one model a round

    def _start(self, device: DevicePlan, task: WaitingTask, fit: Fit, why: StartReason) -> None:
        self.assignments.append(device.accept(task, fit, why, self._passed(task)))
        self.taken.add(task.id)

    def _preempt(self) -> tuple[Preemption, ...]:
        """Of devices that have no place left, for the task that would come next there."""
        leaving = []
        for device in self.devices:
            if device.view.is_ready and not device.started and (device.slots_left <= 0 or self.room <= 0):
                first_ones = self._ranked_heads(device)
                heads = [head for head, group in first_ones if not self._is_held_back(device, head, group)]
                step = next(
                    filter(None, (choose_preemption(device, head, self.times, self.now) for head in heads)), None
                )
                if step is not None:
                    leaving.append(step)
                    self.taken.add(step.for_task)
        return tuple(leaving)

    def _ranked_heads(self, device: DevicePlan) -> list[tuple[WaitingTask, WaitingGroup]]:
        return sorted(self._heads(device), key=lambda pair: pair[1].rank_of(pair[0]))[:PREEMPTION_HEADS]

    def _waits_for_batch(self, device: DevicePlan, first: WaitingTask) -> bool:
        """Whether a busy device should rather free more slots, so that min_batch tasks of the model start together.

        Not for ever: meanwhile tasks of other models take the slots that become free.
        """
        if device.is_idle or self.is_below_minimum or self.now - first.due >= self.limits.starvation_s:
            return False
        limits = self.limits
        wanted = min(limits.min_batch, limits.max_batch, self.most_running, device.view.slots)
        startable = min(device.slots_left, self.room)
        if startable >= wanted:
            return False
        tasks = (task for _, group in self._ranked_for_model(device, first.model) for task in group.tasks)
        there = sum(1 for _ in islice(self._candidates(device, tasks), wanted))
        return there >= wanted

    def _evictable(self, device: DevicePlan, task: WaitingTask, *, protects_demanded: bool) -> list[str]:
        """Idle resident models, least missed first; spares_needed: without those that a higher-priority task wants."""
        idle = device.evictable(task.model)
        demand = {model: self._demand(device, model) for model in idle}
        if protects_demanded:
            idle = [model for model in idle if demand[model] <= task.priority]
        return sorted(idle, key=lambda model: (demand[model], device.resident[model], model))

    def _demand(self, device: DevicePlan, model: str) -> int:
        """The highest priority of a task that waits for the model on this device; -1 when none does."""
        wanted = [
            int(group.key.priority)
            for _, group in self._ranked_for_model(device, model)
            if next(self._candidates(device, group.tasks), None) is not None
        ]
        return max(wanted, default=-1)
