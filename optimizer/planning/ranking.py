"""The order of the waiting tasks as one device sees it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from heapq import heappop, heappush, merge
from operator import itemgetter

from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.inputs import Times
from optimizer.queue.ordering import TARGET_SLOWDOWN
from optimizer.queue.ready_queue import GroupKey, Rank, RankedGroup, WaitingGroup, WaitingTask


class _Acceptable:
    """The groups that some devices may run, which are the same for all of these: a thousand devices differ in their
    memory and models, hardly ever in what may be asked of them."""

    def __init__(self, groups: list[RankedGroup]) -> None:
        """groups: in order."""
        self.groups = groups

    @cached_property
    def by_model(self) -> dict[str, list[RankedGroup]]:
        found: defaultdict[str, list[RankedGroup]] = defaultdict(list)
        for pair in self.groups:
            found[pair[1].key.model].append(pair)
        return dict(found)

    @cached_property
    def by_place(self) -> list[WaitingGroup]:
        """By their first tasks' due times, whatever the priority and the owner; the last one goes first."""
        return sorted((group for _, group in self.groups), key=lambda each: each.tasks[0].place, reverse=True)


Order = tuple[_Acceptable, tuple[float, ...]]  # and the load penalty of each model
Offer = tuple[Rank, float, int, DevicePlan, WaitingGroup]


class Ranking:
    """The waiting groups of one decision, ranked for each device.

    A candidate is a task that is not taken and that the device could run once it is empty; the head of a group is its
    first candidate.
    """

    def __init__(self, ranked: Sequence[RankedGroup], times: Times, taken: AbstractSet[str]) -> None:
        """ranked: the groups whose model is on this machine, in order. taken: see `Draft`; it grows meanwhile."""
        self._ranked = ranked
        self._times = times
        self._taken = taken
        self._asked_for = {group.key.device for _, group in ranked}
        self._acceptable: dict[tuple[str | None, bool, frozenset[str]], _Acceptable] = {}
        self._with_loads: dict[Order, list[RankedGroup]] = {}
        self._firsts: dict[GroupKey, int] = {}  # where the tasks begin of which not all are taken

    def groups(self, device: DevicePlan) -> list[RankedGroup]:
        """The groups that may run on this device, in order."""
        return self._acceptable_to(device).groups

    def groups_of_model(self, device: DevicePlan, model: str) -> list[RankedGroup]:
        """Those of them that need this model, in order."""
        return self._acceptable_to(device).by_model.get(model, [])

    def _acceptable_to(self, device: DevicePlan) -> _Acceptable:
        view = device.view
        key = (view.name if view.name in self._asked_for else None, view.accepts_auto, view.lacking)
        known = self._acceptable.get(key)
        if known is None:
            keys = ((pair, pair[1].key) for pair in self._ranked)
            known = _Acceptable([pair for pair, each in keys if view.accepts(each.device, each.model)])
            self._acceptable[key] = known
        return known

    def has_any_left(self) -> bool:
        """Whether a task is left that is not taken."""
        return not all(self._is_taken(group) for _, group in self._ranked)

    # --- candidates --------------------------------------------------------------------------------------------

    def is_candidate(self, device: DevicePlan, task: WaitingTask) -> bool:
        return task.id not in self._taken and device.fits_alone(task)

    def candidates(self, device: DevicePlan, group: WaitingGroup) -> Iterator[WaitingTask]:
        tasks = map(group.tasks.__getitem__, range(self._first(group), len(group.tasks)))
        return (task for task in tasks if self.is_candidate(device, task))

    def head(self, device: DevicePlan, group: WaitingGroup) -> WaitingTask | None:
        return next(self.candidates(device, group), None)

    def heads(self, device: DevicePlan) -> Iterator[tuple[WaitingTask, WaitingGroup]]:
        """The heads of all groups with their groups, in the order in which the device would start them. Nothing may be
        taken while they are asked for."""
        later: list[tuple[Rank, WaitingTask, WaitingGroup]] = []  # heads behind their groups' first tasks
        for rank, group in self._ranked_with_loads(device):
            while later and later[0][0] < rank:
                yield heappop(later)[1:]
            head = self.head(device, group)
            if head is group.tasks[0]:
                yield head, group
            elif head is not None:
                priority, due, seq = group.rank_of(head)
                heappush(later, ((priority, due + self._load_penalty(head.model, device), seq), head, group))
        while later:
            yield heappop(later)[1:]

    def due_first(self, device: DevicePlan) -> WaitingTask | None:
        """The candidate with the earliest due time, whatever its priority and owner."""
        groups = self._acceptable_to(device).by_place
        while groups and self._is_taken(groups[-1]):
            groups.pop()
        best: WaitingTask | None = None
        for group in reversed(groups):
            if best is not None and best.place <= group.tasks[0].place:
                break
            head = self.head(device, group)
            if head is not None and (best is None or head.place < best.place):
                best = head
        return best

    def _first(self, group: WaitingGroup) -> int:
        """All of the group's tasks before this one are taken."""
        first = self._firsts.get(group.key, 0)
        while first < len(group.tasks) and group.tasks[first].id in self._taken:
            first += 1
        self._firsts[group.key] = first
        return first

    def _is_taken(self, group: WaitingGroup) -> bool:
        """Whether nothing is left of it."""
        return self._first(group) == len(group.tasks)

    # --- what may leave the device ------------------------------------------------------------------------------

    def evictable(self, device: DevicePlan, task: WaitingTask, *, protects_demanded: bool) -> list[str]:
        """Idle resident models, those in least demand first, of those the smallest.

        protects_demanded: leaves out models that a task of higher priority waits for.
        """
        idle = device.evictable(task.model)
        demand = {model: self._demand(device, model) for model in idle}
        if protects_demanded:
            idle = [model for model in idle if demand[model] <= task.priority]
        return sorted(idle, key=lambda model: (demand[model], device.resident[model], model))

    def unwanted(self, device: DevicePlan, models: Iterable[str]) -> list[str]:
        """Those of the models that no task waits for on this device."""
        return [model for model in models if self._demand(device, model) < 0]

    def _demand(self, device: DevicePlan, model: str) -> int:
        """The highest priority of the tasks that wait for the model on this device; -1 when none does."""
        groups = self.groups_of_model(device, model)  # by priority
        waiting = (group.key.priority for _, group in groups if self.head(device, group) is not None)
        return int(next(waiting, -1))

    # --- the cost of loading models ----------------------------------------------------------------------------

    def offers(self, devices: Iterable[DevicePlan]) -> Iterator[tuple[DevicePlan, WaitingGroup]]:
        """Every device that is open now with every group that may run on it, best first; loading the group's model
        counts. Leaves out devices that are closed meanwhile, and groups of which all tasks are taken."""
        alike: defaultdict[Order, list[tuple[float, int, DevicePlan]]] = defaultdict(list)
        for place, device in enumerate(devices):
            if device.is_open:
                alike[self._order_of(device)].append((device.share_in_use, place, device))
        streams = (self._offers_of(sorted(each, key=itemgetter(0, 1))) for each in alike.values())
        return ((device, group) for *_, device, group in merge(*streams, key=itemgetter(0, 1, 2)))

    def _offers_of(self, devices: list[tuple[float, int, DevicePlan]]) -> Iterator[Offer]:
        """Of devices with the same order, each with its share in use and its place, best first."""
        for rank, group in self._ranked_with_loads(devices[0][2]):
            devices = [each for each in devices if each[2].is_open]
            if not devices:
                return
            for share, place, device in devices:
                if self._is_taken(group):
                    break
                yield rank, share, place, device, group

    def first_with_load(self, device: DevicePlan) -> WaitingTask:
        """The first task of the group that `offers` puts first for this device. At least one group may run on it."""
        firsts = (groups[0] for groups in self._acceptable_to(device).by_model.values())
        (_, group) = min(
            (((priority, due + self._load_penalty(group.key.model, device), seq), group)
             for (priority, due, seq), group in firsts),
            key=itemgetter(0),
        )  # fmt: skip
        return group.tasks[0]

    def _order_of(self, device: DevicePlan) -> Order:
        """Equal for devices that have the groups in the same order."""
        acceptable = self._acceptable_to(device)
        return acceptable, tuple(self._load_penalty(model, device) for model in acceptable.by_model)

    def _ranked_with_loads(self, device: DevicePlan) -> list[RankedGroup]:
        """The device's groups, each ranked later by its load penalty, in order."""
        order = self._order_of(device)
        known = self._with_loads.get(order)
        if known is None:
            acceptable, penalties = order
            late_by = dict(zip(acceptable.by_model, penalties, strict=True))
            late = (
                ((priority, due + late_by[group.key.model], seq), group)
                for (priority, due, seq), group in acceptable.groups
            )
            known = self._with_loads[order] = sorted(late, key=itemgetter(0))
        return known

    def _load_penalty(self, model: str, device: DevicePlan) -> float:
        """Seconds by which this model's tasks rank later on this device, because it would have to be loaded."""
        return TARGET_SLOWDOWN * loading_seconds(device, model, self._times)


def loading_seconds(device: DevicePlan, model: str, times: Times, idle_then: Sequence[str] = ()) -> float:
    """What having the model on this device takes: loading it, and loading again what has to leave for it.

    idle_then: models that are in use now, but will not be when it is loaded.
    """
    if model in device.resident:
        return 0.0
    load_s = times.load_seconds(model)
    if device.weights_bytes(model) > device.free_bytes:  # another model is evicted and may be needed again
        evictable = (*device.evictable(model), *idle_then)
        load_s += max((times.load_seconds(other) for other in evictable), default=0.0)
    return load_s
