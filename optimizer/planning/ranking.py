"""The order of the waiting tasks as one device sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter

from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.inputs import Times
from optimizer.queue.ordering import TARGET_SLOWDOWN
from optimizer.queue.ready_queue import RankedGroup, WaitingGroup, WaitingTask


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
        self._by_device: dict[str, list[RankedGroup]] = {}
        self._by_model: dict[tuple[str, str], list[RankedGroup]] = {}

    def groups(self, device: DevicePlan) -> list[RankedGroup]:
        """The groups that may run on this device, in order."""
        known = self._by_device.get(device.view.name)
        if known is None:
            keys = ((pair, pair[1].key) for pair in self._ranked)
            known = [pair for pair, key in keys if device.view.accepts(key.device, key.model)]
            self._by_device[device.view.name] = known
        return known

    def groups_of_model(self, device: DevicePlan, model: str) -> list[RankedGroup]:
        """Those of them that need this model, in order."""
        known = self._by_model.get((device.view.name, model))
        if known is None:
            known = [pair for pair in self.groups(device) if pair[1].key.model == model]
            self._by_model[device.view.name, model] = known
        return known

    # --- candidates --------------------------------------------------------------------------------------------

    def is_candidate(self, device: DevicePlan, task: WaitingTask) -> bool:
        return task.id not in self._taken and device.fits_alone(task)

    def candidates(self, device: DevicePlan, tasks: Iterable[WaitingTask]) -> Iterator[WaitingTask]:
        return (task for task in tasks if self.is_candidate(device, task))

    def head(self, device: DevicePlan, group: WaitingGroup) -> WaitingTask | None:
        return next(self.candidates(device, group.tasks), None)

    def heads(self, device: DevicePlan) -> list[tuple[WaitingTask, WaitingGroup]]:
        """The heads of all groups with their groups, in the order in which the device would start them."""
        heads = []
        for _, group in self.groups(device):
            if (head := self.head(device, group)) is not None:
                priority, due, seq = group.rank_of(head)
                heads.append(((priority, due + self._load_penalty(head.model, device), seq), head, group))
        return [(head, group) for _, head, group in sorted(heads, key=itemgetter(0))]

    def due_first(self, device: DevicePlan) -> WaitingTask | None:
        """The candidate with the earliest due time, whatever its priority and owner."""
        best: WaitingTask | None = None
        for group in sorted((group for _, group in self.groups(device)), key=lambda each: each.tasks[0].place):
            if best is not None and best.place <= group.tasks[0].place:
                break
            head = self.head(device, group)
            if head is not None and (best is None or head.place < best.place):
                best = head
        return best

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
        priorities = [
            int(group.key.priority)
            for _, group in self.groups_of_model(device, model)
            if self.head(device, group) is not None
        ]
        return max(priorities, default=-1)

    # --- the cost of loading models ----------------------------------------------------------------------------

    def offers(self, devices: Iterable[DevicePlan]) -> list[tuple[DevicePlan, WaitingGroup]]:
        """Every open device with every group that may run on it, best first; loading the group's model counts."""
        offers = []
        for place, device in enumerate(devices):
            if device.is_open:
                share = device.share_in_use
                offers += [(rank, share, place, device, group) for rank, group in self._with_loads(device)]
        offers.sort(key=itemgetter(0, 1, 2))
        return [(device, group) for *_, device, group in offers]

    def first_with_load(self, device: DevicePlan) -> WaitingTask:
        """The first task of the group that `offers` puts first for this device. At least one group may run on it."""
        first_of_models: dict[str, RankedGroup] = {}
        for pair in self.groups(device):
            first_of_models.setdefault(pair[1].key.model, pair)
        (_, group) = min(
            (((priority, due + self._load_penalty(model, device), seq), group)
             for model, ((priority, due, seq), group) in first_of_models.items()),
            key=itemgetter(0),
        )  # fmt: skip
        return group.tasks[0]

    def _with_loads(self, device: DevicePlan) -> list[RankedGroup]:
        """The device's groups, each ranked later by its load penalty; not sorted."""
        groups = self.groups(device)
        penalties = {model: self._load_penalty(model, device) for model in {group.key.model for _, group in groups}}
        return [((priority, due + penalties[group.key.model], seq), group) for (priority, due, seq), group in groups]

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
