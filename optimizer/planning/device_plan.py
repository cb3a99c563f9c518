"""One device during one decision: what still fits on it, and which resident models would have to go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from optimizer.planning.assignment import Assignment
from optimizer.planning.inputs import DeviceView, Estimates
from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.start_reason import StartReason
from whisper_core.common.units import WINDOW_SECONDS


@dataclass(frozen=True)
class Fit:
    """How a task fits on a device, once the models in `evict` are unloaded."""

    task_bytes: int  # for all of windows_at_once
    weights_bytes: int
    windows_at_once: int = 1
    evict: tuple[str, ...] = ()
    missing_bytes: int = 0  # 0 when it fits
    is_forced: bool = False  # it fits only in memory that other programs use


class DevicePlan:
    """A device's free memory, slots and models, as the assignments of one decision use them up. Not thread-safe."""

    def __init__(self, view: DeviceView, estimates: Estimates) -> None:
        self.view = view
        self.free_bytes = view.free_bytes
        self.slots_left = view.slots - len(view.running) if view.is_ready else 0
        self.resident = dict(view.resident)
        self.started = 0
        self.is_closed = False  # gets no more tasks in this decision
        self.is_draining = False  # a task was held back, because another one should have the memory first
        self._started_models: set[str] = set()
        self._estimates = estimates
        self._weights: dict[str, int] = {}
        self._too_long: dict[tuple[str, bool, int, bool], float] = {}
        self._short_enough: dict[tuple[str, bool, int, bool], float] = {}

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

    def weights_bytes(self, model: str) -> int:
        known = self._weights.get(model)
        if known is None:
            known = self._weights[model] = self._estimates.weights_bytes(model, self.view.kind)
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
        """Whether the task would fit now if nothing ran and no model was resident, besides what others use."""
        reserved = sum(self.view.resident.values()) + sum(running.task_bytes for running in self.view.running)
        return self.bytes_alone(task) <= self.view.free_bytes + reserved

    def fit(self, task: WaitingTask, evictable: Sequence[str] = (), *, may_force: bool = False) -> Fit:
        """How the task fits now.

        evictable: models that may be unloaded for it, in the order in which to do so.
        may_force: on an idle device, count memory that other programs use as free.
        """
        weights = 0 if task.model in self.resident else self.weights_bytes(task.model)
        task_bytes = self.task_bytes(task)
        evict = self._evictions(weights + task_bytes - self.free_bytes, evictable)
        if evict is not None:
            windows = 1
            if task.is_chunked:
                room = self.free_bytes + sum(self.resident[model] for model in evict) - weights
                windows = self._windows_at_once(task, room - self._speakers_bytes(task))
            return Fit(task_bytes + (windows - 1) * self._window_bytes(task), weights, windows, evict)
        if may_force and self.is_idle:
            unreserved = self.view.capacity_bytes - sum(self.resident.values())
            evict = self._evictions(weights + task_bytes - unreserved, evictable)
            if evict is not None:
                return Fit(task_bytes, weights, evict=evict, is_forced=True)
        reachable = self.free_bytes + sum(self.resident[model] for model in evictable)
        return Fit(task_bytes, weights, missing_bytes=weights + task_bytes - reachable)

    def evictable(self, model: str) -> list[str]:
        """Resident models that no task uses, other than `model`."""
        return sorted(set(self.resident) - self.view.running_models - self._started_models - {model})

    def missing_bytes(self, task: WaitingTask) -> int:
        """How many bytes the task lacks here even if every idle model were evicted; 0 when it fits."""
        return max(0, self.fit(task, self.evictable(task.model)).missing_bytes)

    def accept(
        self, task: WaitingTask, fit: Fit, why: StartReason = StartReason.ARRIVAL, passed: int = 0
    ) -> Assignment:
        """Starts the task here: takes its memory and its slot."""
        self.free_bytes += sum(self.resident.pop(model) for model in fit.evict)
        self.free_bytes -= fit.weights_bytes + fit.task_bytes
        self.resident.setdefault(task.model, fit.weights_bytes)
        self._started_models.add(task.model)
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

    def _window_bytes(self, task: WaitingTask) -> int:
        kind = self.view.kind
        return self._estimates.task_bytes(task.model, kind, task.audio_seconds, task.word_timestamps, task.beams)

    def _speakers_bytes(self, task: WaitingTask) -> int:
        return self._estimates.speakers_bytes(self.view.kind, task.audio_seconds) if task.speakers else 0

    def _windows_at_once(self, task: WaitingTask, room: int) -> int:
        """How many windows of a chunked task may be decoded at once: no more than it has, no more than the device has
        slots, and no more than half of the free memory holds, so that other tasks find some too."""
        windows = ceil(task.audio_left_seconds / WINDOW_SECONDS)
        return max(1, min(windows, self.view.slots, room // 2 // max(1, self._window_bytes(task))))

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
    return [DevicePlan(view, estimates) for view in in_order]
