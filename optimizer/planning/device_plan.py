"""One device during one decision: what still fits on it, and which resident models would have to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import ceil
from typing import Protocol

from optimizer.common.kinds import AUTO_DEVICE, DeviceKind
from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.task import Priority

WINDOW_SECONDS = 30.0


class Estimates(Protocol):
    """MemoryEstimationPool, as far as a decision needs it. Bytes never shrink as audio_seconds grow."""

    def weights_bytes(self, model: str, kind: DeviceKind) -> int: ...

    def task_bytes(self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False) -> int: ...


class StartReason(Enum):
    """What put a task before others."""

    ARRIVAL = "arrival"  # nothing: all that came before it have begun
    SHORTEST = "shortest"  # it was due first, having less work
    STARVING = "starving"  # it had been passed for too long
    TOGETHER = "together"  # its model had the round, and there was room for one more
    RESIDENT_MODEL = "resident_model"  # others were due before, but would have had a model loaded
    FITS = "only_one_that_fits"  # others were due before, but their memory, device or model was not there


class Times(Protocol):
    """RuntimeEstimates, as far as a decision needs it."""

    def work_seconds(self, model: str, audio_seconds: float) -> float: ...

    def load_seconds(self, model: str) -> float: ...


@dataclass(frozen=True, kw_only=True)
class RunningView:
    """A task that a device has. due: as of a waiting task, for what is left of it. task_bytes: promised to it.

    may_leave: whether it could step aside: it got on in this attempt. is_leaving: it has been told to end.
    """

    id: str
    model: str
    priority: Priority
    audio_left_seconds: float
    due: float
    task_bytes: int
    may_leave: bool
    is_leaving: bool = False


@dataclass(frozen=True, kw_only=True)
class DeviceView:
    """One device as it stands when a decision is made.

    capacity_bytes: what models and tasks may be promised on the empty device. free_bytes: what may be promised now.
    resident: promised bytes by model that is loaded or being loaded. running: the tasks it has. slots: as many as it
    may have. rounds: how often it was handed tasks (see policy.STARVING_TURN). takes_any: False for one that gets only
    tasks which ask for it.
    """

    name: str
    kind: DeviceKind
    capacity_bytes: int
    free_bytes: int
    slots: int = 1
    rounds: int = 0
    is_ready: bool = True
    accepts_auto: bool = True
    resident: Mapping[str, int] = field(default_factory=dict)
    running: tuple[RunningView, ...] = ()

    @property
    def running_models(self) -> frozenset[str]:
        """Those in use, which are never evicted."""
        return frozenset(task.model for task in self.running)

    def is_wanted_by(self, device: str) -> bool:
        return device == self.name or (device == AUTO_DEVICE and self.accepts_auto)


@dataclass(frozen=True)
class ModelView:
    """Whether a model's weights are on this machine; fetch_fraction: 0 to 1 while they are being fetched.

    failed_message: why fetching them failed last, in public words.
    """

    is_available: bool
    fetch_fraction: float | None = None
    failed_message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One task to start on a device.

    weights_bytes: to reserve for loading its model first; 0 when that is resident or an earlier assignment loads it.
    evict: idle resident models to unload before. is_forced: reserve it although other programs use that memory.
    windows_at_once: how many windows task_bytes are for; 1 but for a chunked task. why: what put it before those that
    stay waiting. passed: how many of its priority had arrived before it and wait on.
    """

    task_id: str
    device: str
    model: str
    task_bytes: int
    weights_bytes: int = 0
    windows_at_once: int = 1
    evict: tuple[str, ...] = ()
    is_forced: bool = False
    why: StartReason = StartReason.ARRIVAL
    passed: int = 0


@dataclass(frozen=True)
class Fit:
    """How a task fits: missing_bytes is 0 when it does, after evicting `evict`. windows_at_once: what task_bytes are
    for."""

    task_bytes: int
    weights_bytes: int
    windows_at_once: int = 1
    evict: tuple[str, ...] = ()
    missing_bytes: int = 0
    is_forced: bool = False


class DevicePlan:
    """The device's free memory, slots and models as the assignments of one decision use them up. Not thread-safe."""

    def __init__(self, view: DeviceView, estimates: Estimates) -> None:
        self.view = view
        self.free_bytes = view.free_bytes
        self.slots_left = view.slots - len(view.running) if view.is_ready else 0
        self.resident = dict(view.resident)
        self.started = 0
        self.is_closed = False
        self.is_draining = False  # a task was held back, since another should have the memory before it
        self.loaded_now: set[str] = set()  # models of the tasks accepted
        self._estimates = estimates
        self._weights: dict[str, int] = {}
        self._too_long: dict[tuple[str, bool], float] = {}
        self._short_enough: dict[tuple[str, bool], float] = {}

    @property
    def is_open(self) -> bool:
        """Whether it may be handed tasks in this decision."""
        return self.slots_left > 0 and not self.is_closed

    @property
    def is_idle(self) -> bool:
        return len(self.view.running) + self.started == 0

    @property
    def share_in_use(self) -> float:
        """Of its slots, 0 to 1 and more."""
        return (len(self.view.running) + self.started) / max(1, self.view.slots)

    def weights_bytes(self, model: str) -> int:
        known = self._weights.get(model)
        if known is None:
            known = self._weights[model] = self._estimates.weights_bytes(model, self.view.kind)
        return known

    def task_bytes(self, task: WaitingTask) -> int:
        """What the task needs at least, beyond its model: with one window at a time."""
        return self._estimates.task_bytes(task.model, self.view.kind, task.audio_seconds, task.word_timestamps)

    def bytes_alone(self, task: WaitingTask) -> int:
        """What the task needs on the empty device."""
        return self.weights_bytes(task.model) + self.task_bytes(task)

    def fits_alone(self, task: WaitingTask) -> bool:
        """Whether the task could ever run here. Remembers the longest that could and the shortest that could not, to
        save estimates."""
        kind = (task.model, task.word_timestamps)
        if task.audio_seconds <= self._short_enough.get(kind, -1.0):
            return True
        if task.audio_seconds >= self._too_long.get(kind, float("inf")):
            return False
        if self.bytes_alone(task) <= self.view.capacity_bytes:
            self._short_enough[kind] = task.audio_seconds
            return True
        self._too_long[kind] = task.audio_seconds
        return False

    def fits_empty(self, task: WaitingTask) -> bool:
        """Whether the task would fit now if nothing ran and nothing was resident; others keep what they have."""
        promised = sum(self.view.resident.values()) + sum(running.task_bytes for running in self.view.running)
        return self.bytes_alone(task) <= self.view.free_bytes + promised

    def fit(self, task: WaitingTask, evictable: Sequence[str] = (), *, may_force: bool = False) -> Fit:
        """How the task fits now, when the models in `evictable` may be unloaded, earlier ones rather than later ones.

        may_force: on an idle device, count memory that other programs use as free.
        """
        weights = 0 if task.model in self.resident else self.weights_bytes(task.model)
        task_bytes = self.task_bytes(task)
        evict = self._evictions(weights + task_bytes - self.free_bytes, evictable)
        if evict is not None:
            windows = 1
            if task.is_chunked:
                room = self.free_bytes + sum(self.resident[model] for model in evict) - weights
                windows = self._windows_at_once(task, task_bytes, room)
            return Fit(windows * task_bytes, weights, windows, evict)
        if may_force and self.is_idle:
            unpromised = self.view.capacity_bytes - sum(self.resident.values())
            evict = self._evictions(weights + task_bytes - unpromised, evictable)
            if evict is not None:
                return Fit(task_bytes, weights, evict=evict, is_forced=True)
        reachable = self.free_bytes + sum(self.resident[model] for model in evictable)
        return Fit(task_bytes, weights, missing_bytes=weights + task_bytes - reachable)

    def _windows_at_once(self, task: WaitingTask, window_bytes: int, room: int) -> int:
        """How many windows of a chunked task may be at work: as many as it has and the device decodes, while they take
        at most half of the room that there is, so that others find some too."""
        has = ceil(task.audio_left_seconds / WINDOW_SECONDS)
        return max(1, min(has, self.view.slots, room // 2 // max(1, window_bytes)))

    def evictable(self, model: str) -> list[str]:
        """Resident models that nothing runs with, other than `model`."""
        return sorted(set(self.resident) - self.view.running_models - self.loaded_now - {model})

    def missing_bytes(self, task: WaitingTask) -> int:
        """How much too little the device has for the task, whatever could be evicted; 0 when it fits."""
        return max(0, self.fit(task, self.evictable(task.model)).missing_bytes)

    def accept(
        self, task: WaitingTask, fit: Fit, why: StartReason = StartReason.ARRIVAL, passed: int = 0
    ) -> Assignment:
        """Uses up what the task takes."""
        self.free_bytes += sum(self.resident.pop(model) for model in fit.evict)
        self.free_bytes -= fit.weights_bytes + fit.task_bytes
        self.resident.setdefault(task.model, fit.weights_bytes)
        self.loaded_now.add(task.model)
        self.slots_left -= 1
        self.started += 1
        return Assignment(
            task_id=task.id,
            device=self.view.name,
            model=task.model,
            task_bytes=fit.task_bytes,
            weights_bytes=fit.weights_bytes,
            windows_at_once=fit.windows_at_once,
            evict=fit.evict,
            is_forced=fit.is_forced,
            why=why,
            passed=passed,
        )

    def _evictions(self, missing_bytes: int, evictable: Sequence[str]) -> tuple[str, ...] | None:
        """The models to unload for `missing_bytes` more; () when there is no need, None when all are too little."""
        chosen: list[str] = []
        gained = 0
        for model in evictable:
            if gained >= missing_bytes:
                break
            chosen.append(model)
            gained += self.resident[model]
        if gained < missing_bytes:
            return None
        for model in tuple(chosen):  # an earlier one may have become needless when a larger one followed
            if gained - self.resident[model] >= missing_bytes:
                chosen.remove(model)
                gained -= self.resident[model]
        return tuple(chosen)


def is_available(models: Mapping[str, ModelView], model: str) -> bool:
    view = models.get(model)
    return view is not None and view.is_available


def device_order(view: DeviceView) -> tuple[bool, int, str]:
    """GPUs before the CPU, then the one with most memory free."""
    return (view.kind == "cpu", -view.free_bytes, view.name)
