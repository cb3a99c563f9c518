"""When each waiting task will start and be done: the queue played forward over the devices' places.

A place runs one task at a time, at that task's own speed beside whatever else runs (see `speeds`). Tasks that arrive
later are not foreseen, so a forecast holds if none of them overtakes. How far forecasts were off is measured, and gives
their interval (see `forecast_accuracy`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Protocol

from optimizer.common.kinds import AUTO_DEVICE


class Speeds(Protocol):
    def running_eta(self, model: str, device: str, audio_left_seconds: float, concurrency: int) -> float | None:
        """Seconds that one task needs for so much sound while the device runs `concurrency` tasks; None when the model
        was never measured there."""


@dataclass(frozen=True)
class Places:
    """The places of one device."""

    device: str
    count: int  # tasks that may run on it at once
    running: Sequence[tuple[str, float]] = ()  # model and remaining seconds of sound of each task that runs
    accepts_auto: bool = True  # False: only tasks that ask for this device by name


class Waiting(Protocol):
    """What a forecast needs of a WaitingTask."""

    @property
    def id(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def audio_left_seconds(self) -> float: ...

    @property
    def device(self) -> str: ...  # the requested one


@dataclass(frozen=True)
class Expected:
    """Seconds from now."""

    start: float
    end: float


def forecast(
    waiting: Iterable[Waiting],
    places: Sequence[Places],
    speeds: Speeds,
    *,
    most_running: int,
    load_seconds: Mapping[str, float],
) -> dict[str, Expected]:
    """By task id. Leaves out tasks whose model was never measured on the device they would come to, and those for
    which there is no place.

    waiting: in the order in which they will start. most_running: over all devices.
    load_seconds: of models that are resident nowhere; the first task of each waits for it.
    Every device is assumed to run as many tasks all the time as it can now, which is too many towards the end.
    """
    coming = list(waiting)
    concurrency = _concurrencies(places, len(coming), most_running)
    free_at = _free_places(places, speeds, most_running, concurrency)
    open_to_all = {each.device for each in places if each.accepts_auto}
    to_load = dict(load_seconds)
    found: dict[str, Expected] = {}
    for task in coming:
        place = _pop_place(free_at, open_to_all if task.device == AUTO_DEVICE else {task.device})
        if place is None:
            continue
        at, device = place
        needed = speeds.running_eta(task.model, device, task.audio_left_seconds, concurrency[device])
        if needed is None:
            heappush(free_at, place)
            continue
        end = at + to_load.pop(task.model, 0.0) + needed
        found[task.id] = Expected(at, end)
        heappush(free_at, (end, device))
    return found


def _concurrencies(places: Sequence[Places], num_waiting: int, most_running: int) -> dict[str, int]:
    """How many tasks each device runs once it has taken its share of those that wait."""
    running = sum(len(each.running) for each in places)
    room = max(0, most_running - running)
    share = -(-min(room, num_waiting) // max(1, len(places)))
    return {each.device: max(1, min(each.count, len(each.running) + share)) for each in places}


def _free_places(
    places: Sequence[Places], speeds: Speeds, most_running: int, concurrency: Mapping[str, int]
) -> list[tuple[float, str]]:
    """When each place becomes free, and on which device, as a heap. Idle places beyond most_running do not count."""
    busy, idle = [], []
    for each in places:
        for model, left in each.running:
            busy.append((speeds.running_eta(model, each.device, left, concurrency[each.device]) or 0.0, each.device))
        idle += [(0.0, each.device)] * max(0, each.count - len(each.running))
    free_at = busy + idle[: max(0, most_running - len(busy))]
    heapify(free_at)
    return free_at


def _pop_place(free_at: list[tuple[float, str]], devices: Collection[str]) -> tuple[float, str] | None:
    """Removes the place that is free first on one of the devices; None when they have none."""
    if free_at and free_at[0][1] in devices:
        return heappop(free_at)
    first = min((place for place in free_at if place[1] in devices), default=None)
    if first is not None:
        free_at.remove(first)
        heapify(free_at)
    return first
