"""One device during one decision: what still fits on it, and which resident models would have to go."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf

from optimizer.planning.assignment import Assignment
from optimizer.planning.inputs import DeviceView, Estimates
from optimizer.planning.slot_choice import ENOUGH_SLOTS, SLOT_STEPS, choose_slots, room_for
from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.start_reason import StartReason
from whisper_core.common.units import WINDOW_SECONDS


@dataclass(frozen=True)
class Fit:
    """How a task fits on a device, once the models in `evict` are unloaded."""

    task_bytes: int  # for all of windows_at_once
    weights_bytes: int  # with its slots; 0 when its model need not be loaded
    slots: int = 0  # that its model gets when it is loaded, where it holds any
    windows_at_once: int = 1
    evict: tuple[str, ...] = ()
    missing_bytes: int = 0  # 0 when it fits
    is_forced: bool = False  # it fits only in memory that other programs use


@dataclass
class _Known:
    """What one decision has worked out for devices of one kind and size, so that each need not do so again."""

    weights: dict[str, int] = field(default_factory=dict)
    held: dict[tuple[str, int], int] = field(default_factory=dict)
    too_long: dict[tuple[str, bool, int, bool], float] = field(default_factory=dict)
    short_enough: dict[tuple[str, bool, int, bool], float] = field(default_factory=dict)


class DevicePlan:
    """A device's free memory, slots and models, as the assignments of one decision use them up. Not thread-safe."""

    def __init__(self, view: DeviceView, estimates: Estimates, known: _Known | None = None) -> None:
        """known: shared by the devices of one kind and size."""
        self.view = view
        self.free_bytes = view.free_bytes
        self.slots_left = view.slots - len(view.running) if view.is_ready else 0
        self.resident = dict(view.resident)
        self._model_slots = dict(view.model_slots)
        # Only models that hold slots are counted, and on most devices none does.
        self._in_use = dict(Counter(task.model for task in view.running_brief)) if self._model_slots else {}
        self.started = 0
        self.is_closed = False  # gets no more tasks in this decision
        self.is_draining = False  # a task was held back, because another one should have the memory first
        self._started_models: set[str] = set()
        self._estimates = estimates
        self._known = known or _Known()

    @property
    def is_open(self) -> bool:
        """Whether it may be handed tasks in this decision."""
        return self.slots_left > 0 and not self.is_closed

    @property
    def is_idle(self) -> bool:
        return len(self.view.running) + self.started == 0

    @property
    def share_in_use(self) -> float:
        """Tasks per slot: 0 when idle, above 1 when the slots were reduced below what runs."""
        return (len(self.view.running) + self.started) / max(1, self.view.slots)

    def slots_of(self, model: str) -> int:
        """How many tasks may run with this model at once. One that is not loaded, or holds no slots, has as many as the
        device."""
        return min(self.view.slots, self._model_slots.get(model, self.view.slots))

    def has_slot(self, model: str) -> bool:
        """Whether one more task could run with this model, if the device had a place for it."""
        return self._in_use.get(model, 0) < self._model_slots.get(model, inf)

    @property
    def has_full_model(self) -> bool:
        return not all(map(self.has_slot, self._model_slots))

    def weights_bytes(self, model: str) -> int:
        """The least that the model takes: with one slot, if it holds any."""
        known = self._known.weights.get(model)
        if known is None:
            known = self._known.weights[model] = self._estimates.weights_bytes(model, self.view.kind)
        return known

    def task_bytes(self, task: WaitingTask) -> int:
        """The least that the task needs beyond its model: one window at a time."""
        return self._window_bytes(task) + self._speakers_bytes(task)

    def bytes_alone(self, task: WaitingTask) -> int:
        """What the task needs on the empty device."""
        return self.weights_bytes(task.model) + self.task_bytes(task)

    def fits_alone(self, task: WaitingTask) -> bool:
        """Whether the task could ever run here.

        Estimates grow with the length, so the longest that fits and the shortest that does not answer for the rest.
        """
        kind = (task.model, task.word_timestamps, task.beams, task.speakers)
        if task.audio_seconds <= self._known.short_enough.get(kind, -1.0):
            return True
        if task.audio_seconds >= self._known.too_long.get(kind, float("inf")):
            return False
        if self.bytes_alone(task) <= self.view.capacity_bytes:
            self._known.short_enough[kind] = task.audio_seconds
            return True
        self._known.too_long[kind] = task.audio_seconds
        return False

    def fits_empty(self, task: WaitingTask) -> bool:
        """Whether the task would fit now if nothing ran and no model was resident, besides what others use."""
        reserved = sum(self.view.resident.values()) + sum(running.task_bytes for running in self.view.running)
        return self.bytes_alone(task) <= self.view.free_bytes + reserved

    def fit(
        self, task: WaitingTask, evictable: Sequence[str] = (), *, least_slots: int = 1, may_force: bool = False
    ) -> Fit:
        """How the task fits now; its model gets as many slots as find room.

        evictable: models that may be unloaded for it, in the order in which to do so; its own goes last, to be loaded
        again with fewer slots. least_slots: that there must be room for. may_force: on an idle device, count memory
        that other programs use as free.
        """
        task_bytes = self.task_bytes(task)
        evict = self._make_room(task.model, task_bytes - self.free_bytes, evictable, least_slots)
        if evict is not None:
            return self._fit_into(task, task_bytes, evict)
        if may_force and self.is_idle:
            unreserved = self.view.capacity_bytes - sum(self.resident.values())
            evict = self._make_room(task.model, task_bytes - unreserved, evictable, least_slots=1)
            if evict is not None:
                weights, slots = (0, 0) if self._stays(task.model, evict) else self._least_promise(task.model)
                return Fit(task_bytes, weights, slots, evict=evict, is_forced=True)
        load_bytes = 0 if self._stays(task.model, evictable) else self._load_bytes(task.model, least_slots)
        reachable = self.free_bytes + sum(self.resident[model] for model in evictable)
        return Fit(task_bytes, load_bytes, missing_bytes=load_bytes + task_bytes - reachable)

    def is_cramped(self, task: WaitingTask, fit: Fit) -> bool:
        """Whether the task's model would get few slots only because little memory is free."""
        return 0 < fit.slots < min(ENOUGH_SLOTS, self._most_slots(task.model))

    def evictable(self, model: str) -> list[str]:
        """Resident models that no task uses; `model` itself only where it could be loaded with fewer slots."""
        idle = set(self.resident) - self.view.running_models - self._started_models
        if self._model_slots.get(model, 1) <= 1:
            idle.discard(model)
        return sorted(idle)

    def missing_bytes(self, task: WaitingTask) -> int:
        """How many bytes the task lacks here even if every idle model were evicted; 0 when it fits."""
        return max(0, self.fit(task, self.evictable(task.model)).missing_bytes)

    def accept(
        self, task: WaitingTask, fit: Fit, why: StartReason = StartReason.ARRIVAL, passed: int = 0
    ) -> Assignment:
        """Starts the task here: takes its memory and its slot."""
        for model in fit.evict:
            self.free_bytes += self.resident.pop(model)
            self._model_slots.pop(model, None)
        self.free_bytes -= fit.weights_bytes + fit.task_bytes
        self.resident.setdefault(task.model, fit.weights_bytes)
        if fit.slots:
            self._model_slots[task.model] = fit.slots
        self._in_use[task.model] = self._in_use.get(task.model, 0) + 1
        self._started_models.add(task.model)
        self.slots_left -= 1
        self.started += 1
        return Assignment(
            task_id=task.id,
            device=self.view.name,
            model=task.model,
            task_bytes=fit.task_bytes,
            weights_bytes=fit.weights_bytes,
            slots=fit.slots,
            windows_at_once=fit.windows_at_once,
            evict=fit.evict,
            is_forced=fit.is_forced,
            why=why,
            passed=passed,
        )

    def _window_bytes(self, task: WaitingTask) -> int:
        kind = self.view.kind
        return self._estimates.task_bytes(task.model, kind, task.audio_seconds, task.word_timestamps, task.beams)

    def _speakers_bytes(self, task: WaitingTask) -> int:
        return self._estimates.speakers_bytes(self.view.kind, task.audio_seconds) if task.speakers else 0

    def _windows_at_once(self, task: WaitingTask, room: int, slots: int) -> int:
        """How many windows of a chunked task may be decoded at once: no more than it has, no more than there are slots,
        and no more than half of the free memory holds, so that other tasks find some too. slots: that its model gets; 0
        when it is not loaded, or holds none."""
        windows = ceil(task.audio_left_seconds / WINDOW_SECONDS)
        most = min(slots, self.view.slots) if slots else self.slots_of(task.model)
        return max(1, min(windows, most, room // 2 // max(1, self._window_bytes(task))))

    # --- making room -------------------------------------------------------------------------------------------

    def _make_room(
        self, model: str, missing_bytes: int, evictable: Sequence[str], least_slots: int
    ) -> tuple[str, ...] | None:
        """The models to unload to gain `missing_bytes` and what it takes to load `model`, where it is not resident."""
        others = [other for other in evictable if other != model]
        if model not in self.resident:
            return self._evictions(missing_bytes + self._load_bytes(model, least_slots), others)
        evict = self._evictions(missing_bytes, others)
        if evict is None and model in evictable:
            evict = self._evictions(missing_bytes + self.weights_bytes(model), [*others, model])
        return evict

    def _fit_into(self, task: WaitingTask, task_bytes: int, evict: tuple[str, ...]) -> Fit:
        """How the task fits into what is free once the models in `evict` are unloaded, which is enough."""
        room = self.free_bytes + sum(self.resident[model] for model in evict) - task_bytes
        weights, slots = (0, 0) if self._stays(task.model, evict) else self._promise(task.model, room)
        windows = 1
        if task.is_chunked:
            one = self._window_bytes(task)
            windows = self._windows_at_once(task, room - weights + one, slots)
            task_bytes += (windows - 1) * one
        return Fit(task_bytes, weights, slots, windows, evict)

    def _stays(self, model: str, evict: Sequence[str]) -> bool:
        return model in self.resident and model not in evict

    # --- what a model is promised ------------------------------------------------------------------------------

    def _promise(self, model: str, room: int) -> tuple[int, int]:
        """What is to be reserved for a model that is loaded into so much room, and for how many slots."""
        least, slots = self._least_promise(model)
        if not slots:
            return least, 0
        unheld = least - self._held_bytes(model, 1)
        slots = choose_slots(partial(self._bytes_of_slots, model), room - unheld, self._most_slots(model))
        return unheld + self._held_bytes(model, slots), slots

    def _least_promise(self, model: str) -> tuple[int, int]:
        """No slots where it holds none."""
        return self.weights_bytes(model), int(self._held_bytes(model, 1) > 0)

    def _load_bytes(self, model: str, slots: int) -> int:
        """What has to be free so that the model gets at least so many slots, if it holds any."""
        least, held = self.weights_bytes(model), self._held_bytes(model, 1)
        return least - held + room_for(slots, self._bytes_of_slots(model, slots)) if held and slots > 1 else least

    def _bytes_of_slots(self, model: str, slots: int) -> int:
        """What the slots hold, and what all tasks in them but the first take, so that these find room as well."""
        each = self._estimates.task_bytes(model, self.view.kind, WINDOW_SECONDS)
        return self._held_bytes(model, slots) + (slots - 1) * each

    def _held_bytes(self, model: str, slots: int) -> int:
        known = self._known.held.get((model, slots))
        if known is None:
            known = self._known.held[model, slots] = self._estimates.held_bytes(model, self.view.kind, slots)
        return known

    def _most_slots(self, model: str) -> int:
        return self.view.fewer_slots.get(model, SLOT_STEPS[0])

    def _evictions(self, missing_bytes: int, evictable: Sequence[str]) -> tuple[str, ...] | None:
        """The models to unload to gain `missing_bytes`: () when nothing is missing, None when all are not enough."""
        chosen: list[str] = []
        gained = 0
        for model in evictable:
            if gained >= missing_bytes:
                break
            chosen.append(model)
            gained += self.resident[model]
        if gained < missing_bytes:
            return None
        for model in tuple(chosen):  # a later, larger one may have made an earlier one unnecessary
            if gained - self.resident[model] >= missing_bytes:
                chosen.remove(model)
                gained -= self.resident[model]
        return tuple(chosen)


def device_plans(devices: Iterable[DeviceView], estimates: Estimates) -> list[DevicePlan]:
    """GPUs before the CPU, then by free memory, most first."""
    in_order = sorted(devices, key=lambda view: (view.kind == "cpu", -view.free_bytes, view.name))
    known: defaultdict[tuple[str, int], _Known] = defaultdict(_Known)
    return [DevicePlan(view, estimates, known[view.kind, view.capacity_bytes]) for view in in_order]
