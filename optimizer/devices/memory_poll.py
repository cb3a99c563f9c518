"""Reads the devices' real memory, so that nothing is reserved that other programs use, and a lost card is noticed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from optimizer.devices.device import Device
from optimizer.devices.residency import ModelShortfall
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.probes import MemoryReading, MemorySource

log = logging.getLogger(__name__)


class MemoryPoll:
    """`tick` from one thread at a time, every PERFORMANCE_MONITOR_INTERVAL."""

    def __init__(
        self,
        source: MemorySource,
        estimates: MemoryEstimationPool,
        *,
        devices: Iterable[Device],
        post: Callable[[Callable[[], None]], None],
        tell: Callable[[str, str], None],
        tell_shortfall: Callable[[ModelShortfall], None],
    ) -> None:
        """devices: read anew at every tick. post: runs an action on the scheduler's thread, which owns the devices.
        tell: takes a device's name and a sentence about what became of it. tell_shortfall: a model takes more than was
        reserved for it; called on the scheduler's thread."""
        self._source = source
        self._estimates = estimates
        self._devices = devices
        self._post = post
        self._tell = tell
        self._tell_shortfall = tell_shortfall
        self._gone: set[str] = set()

    def tick(self) -> None:
        """Read every device, and let reservations follow what was learned meanwhile."""
        self._estimates.relieve()
        for device in self._devices:
            reading = device.worker.read_memory(self._source)
            if reading is not None:
                self._tell_changes(device, reading)
            self._post(partial(self._bring_up_to_date, device, reading))

    def _bring_up_to_date(self, device: Device, reading: MemoryReading | None) -> None:
        """On the scheduler's thread."""
        if reading is not None:
            device.apply_reading(reading)
        slots = device.models.slots
        for model in sorted(device.models.loaded):
            nbytes = self._estimates.weights_bytes(model, device.spec.kind, slots.get(model, 0))
            if (shortfall := device.models.resize_reservation(model, nbytes)) is not None:
                self._tell_shortfall(shortfall)

    def _tell_changes(self, device: Device, reading: MemoryReading) -> None:
        name = device.spec.name
        if reading.is_gone and name not in self._gone:
            self._gone.add(name)
            self._tell(name, f"{device.spec.title} ({name}) is gone; its tasks wait or go to other devices.")
        elif not reading.is_gone and name in self._gone:
            self._gone.discard(name)
            self._tell(name, f"{device.spec.title} ({name}) is back.")
