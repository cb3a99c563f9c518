"""Keeps one device's ledger in step with what the machine and the worker say about its memory."""

from __future__ import annotations

import logging

from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.ledger import GPUMemoryPool
from optimizer.memory.probes import MemoryReading

log = logging.getLogger(__name__)

# A ledger follows free memory upwards only by this factor or more: free memory wavers, and the size should not.
LEAST_GROWTH = 1.05


class LedgerSync:
    """Belongs to the scheduler's thread, as the device does.

    Other programs use the part of the ledger that is neither free nor used by our worker. The worker reports its use in
    heartbeats, so a reading may be newer than the last one and blame others for what the worker has just taken. The
    first heartbeat after the reading corrects that.
    """

    def __init__(self, spec: DeviceSpec, pool: GPUMemoryPool) -> None:
        self._spec = spec
        self._pool = pool
        self._unconfirmed: MemoryReading | None = None

    def apply_worker_use(self, used_bytes: int) -> None:
        """What the worker itself says that it uses."""
        reading, self._unconfirmed = self._unconfirmed, None
        if reading is None:
            self._pool.observe(used_bytes)
        else:
            most = max(used_bytes, self._pool.snapshot().used)
            self._pool.observe(used_bytes, self._others(reading.free + most))

    def apply_reading(self, reading: MemoryReading) -> None:
        """Resize the ledger and note what others use."""
        used = self._pool.snapshot().used
        usable = reading.free + (used if reading.ours is None else reading.ours)
        self._resize(reading, usable)
        self._pool.observe(used, self._others(usable))
        self._unconfirmed = reading if reading.ours is None else None

    def _resize(self, reading: MemoryReading, usable: int) -> None:
        before = self._pool.snapshot().wanted_total
        wanted = usable if self._spec.follows_free else self._spec.total_bytes
        total = min(reading.total, wanted if wanted > before * LEAST_GROWTH else before)
        if total == before:
            return
        is_done = self._pool.resize(total)
        log.warning(
            "device=%s event=resized from_mb=%.0f to_mb=%.0f%s",
            self._spec.name, before / 1e6, total / 1e6, "" if is_done else " once enough reservations have ended",
        )  # fmt: skip

    def _others(self, usable: int) -> int:
        return max(0, self._pool.snapshot().wanted_total - usable)
