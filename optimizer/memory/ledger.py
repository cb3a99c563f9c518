"""One device's memory as a ledger: how much there is, how much is reserved for whom, how much is really used.

Memory is reserved before anything is loaded, so a worker never asks its device for bytes that belong to another task.
The ledger touches no device; what is really used comes in through `observe`.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from types import TracebackType

log = logging.getLogger(__name__)

MODEL_OWNER_PREFIX = "model:"
CONTEXT_OWNER = "context"  # what the worker process takes before any model is loaded


def model_owner(model: str) -> str:
    """The owner of a resident model's weights; the owner of a task's memory is its id."""
    return f"{MODEL_OWNER_PREFIX}{model}"


@dataclass(frozen=True)
class LedgerEntry:
    owner: str
    nbytes: int


@dataclass(frozen=True)
class PoolSnapshot:
    """One device's ledger at one moment, in bytes.

    headroom + reserved + others + free == total as long as other programs use no reserved bytes.
    """

    device: str
    total: int
    headroom: int  # never reserved
    reserved: int
    used: int  # by this server's worker, when last measured
    others: int  # used by other programs, when last measured
    free: int  # what may still be reserved
    reservations: tuple[LedgerEntry, ...]
    double_releases: int  # how often a reservation was released again: harmless, but a bug
    shrinks_to: int | None = None  # the device's new size, while reservations do not fit into it; nothing is free then

    @property
    def wanted_total(self) -> int:
        """The size that the device really has, even while reservations do not fit into it."""
        return self.total if self.shrinks_to is None else self.shrinks_to

    @cached_property
    def capacity(self) -> int:
        """The most that models and tasks may reserve, on an empty device."""
        context = sum(entry.nbytes for entry in self.reservations if entry.owner == CONTEXT_OWNER)
        return max(0, self.wanted_total - self.headroom - context)

    @cached_property
    def models(self) -> dict[str, int]:
        """Reserved bytes by resident model."""
        return {
            entry.owner.removeprefix(MODEL_OWNER_PREFIX): entry.nbytes
            for entry in self.reservations
            if entry.owner.startswith(MODEL_OWNER_PREFIX)
        }


class Reservation:
    """Memory set aside until `release`, which any thread may call, more than once. Leaving a `with` releases it."""

    def __init__(self, pool: GPUMemoryPool, number: int, owner: str) -> None:
        self._pool = pool
        self._number = number
        self.owner = owner

    @property
    def nbytes(self) -> int:
        """The bytes reserved now; 0 once released."""
        return self._pool._reserved_by(self._number)

    def try_resize(self, nbytes: int) -> bool:
        """Makes it `nbytes`; False, and nothing is changed, when that does not fit or it has been released."""
        return self._pool._try_resize(self._number, nbytes)

    def release(self) -> None:
        self._pool._release(self._number, self.owner)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class GPUMemoryPool:
    """The ledger of one device: its reservations never exceed total - headroom. Never blocks; any thread."""

    def __init__(self, device: str, total_bytes: int, *, headroom_bytes: int = 0) -> None:
        """headroom_bytes: never reserved, for what no estimate foresees. Raises ValueError when above the total."""
        if not 0 <= headroom_bytes <= total_bytes:
            raise ValueError(f"{device}: a headroom of {headroom_bytes} bytes does not fit into {total_bytes} bytes")
        self.device = device
        self._lock = Lock()
        self._numbers = itertools.count(1)
        self._total = total_bytes
        self._headroom = headroom_bytes
        self._entries: dict[int, LedgerEntry] = {}
        # Kept beside the entries, not derived from them, so that `check` compares two independent accounts.
        self._unreserved = total_bytes - headroom_bytes
        self._shrinks_to: int | None = None
        self._used = 0
        self._others = 0
        self._double_releases = 0
        self._snapshot: PoolSnapshot | None = None  # of what is here now, if somebody asked
        self._first_live_number = 0  # reservations with a lower number were voided; releasing them is expected

    @property
    def reserved_bytes(self) -> int:
        with self._lock:
            return self._reserved()

    @property
    def free_bytes(self) -> int:
        with self._lock:
            return self._free(respects_others=True)

    def try_reserve(self, owner: str, nbytes: int, *, respects_others: bool = True) -> Reservation | None:
        """Memory for `owner`, or None, and nothing is changed, when there is not enough now.

        respects_others: False also reserves what other programs use, for a task that starts although memory is tight.
        """
        _require_not_negative(nbytes)
        with self._lock:
            if nbytes > self._free(respects_others):
                return None
            number = next(self._numbers)
            self._entries[number] = LedgerEntry(owner, nbytes)
            self._unreserved -= nbytes
            self._snapshot = None
            return Reservation(self, number, owner)

    def observe(self, used_bytes: int, others_bytes: int | None = None) -> None:
        """What was measured: used_bytes by this server's worker, others_bytes by other programs on the device.

        others_bytes: None when it was not measured, which keeps the last figure.
        """
        _require_not_negative(used_bytes)
        _require_not_negative(others_bytes or 0)
        with self._lock:
            self._used = used_bytes
            self._snapshot = None
            if others_bytes is not None:
                self._others = others_bytes

    def resize(self, total_bytes: int) -> bool:
        """Changes the size of the device; False while the reservations do not fit into it.

        They then stay, nothing new is reserved, and the size changes as soon as enough of them are released. A headroom
        larger than the new size leaves nothing to reserve.
        """
        _require_not_negative(total_bytes)
        with self._lock:
            self._shrinks_to = total_bytes
            self._snapshot = None
            self._shrink_when_possible()
            return self._shrinks_to is None

    def void_all(self) -> None:
        """Releases everything, because the process that held the memory is gone.

        Releasing one of these reservations later is harmless and not counted.
        """
        with self._lock:
            self._entries.clear()
            self._snapshot = None
            self._unreserved = self._total - self._effective_headroom()
            self._shrink_when_possible()
            self._used = 0
            self._first_live_number = next(self._numbers)

    def snapshot(self) -> PoolSnapshot:
        """The same one until something changes: a decision asks every device."""
        with self._lock:
            if self._snapshot is None:
                self._snapshot = PoolSnapshot(
                    device=self.device,
                    total=self._total,
                    headroom=self._effective_headroom(),
                    reserved=self._reserved(),
                    used=self._used,
                    others=self._others,
                    free=self._free(respects_others=True),
                    reservations=tuple(self._entries.values()),
                    double_releases=self._double_releases,
                    shrinks_to=self._shrinks_to,
                )
            return self._snapshot

    def check(self) -> None:
        """Raises RuntimeError with the numbers when reserved + unreserved + headroom is not the total: our own bug."""
        with self._lock:
            reserved, headroom = self._reserved(), self._effective_headroom()
            if reserved + self._unreserved + headroom != self._total or self._unreserved < 0:
                owners = ", ".join(f"{entry.owner}={entry.nbytes}" for entry in self._entries.values())
                raise RuntimeError(
                    f"{self.device}: the ledger does not add up: reserved {reserved} + unreserved {self._unreserved}"
                    f" + headroom {headroom} != total {self._total}; {owners}"
                )

    def _reserved(self) -> int:
        return sum(entry.nbytes for entry in self._entries.values())

    def _effective_headroom(self) -> int:
        return min(self._headroom, self._total)

    def _shrink_when_possible(self) -> None:
        """Adopts the device's new size once every reservation fits into it."""
        if self._shrinks_to is None:
            return
        unreserved = self._shrinks_to - min(self._headroom, self._shrinks_to) - self._reserved()
        if unreserved >= 0:
            self._total, self._unreserved, self._shrinks_to = self._shrinks_to, unreserved, None

    def _free(self, respects_others: bool) -> int:
        if self._shrinks_to is not None:
            return 0
        if not respects_others:
            return self._unreserved
        return max(0, self._unreserved - self._others)

    def _reserved_by(self, number: int) -> int:
        with self._lock:
            entry = self._entries.get(number)
            return 0 if entry is None else entry.nbytes

    def _try_resize(self, number: int, nbytes: int) -> bool:
        _require_not_negative(nbytes)
        with self._lock:
            entry = self._entries.get(number)
            if entry is None:
                return False
            growth = nbytes - entry.nbytes
            if growth > 0 and growth > self._free(respects_others=True):
                return False
            self._entries[number] = LedgerEntry(entry.owner, nbytes)
            self._unreserved -= growth
            self._snapshot = None
            self._shrink_when_possible()
            return True

    def _release(self, number: int, owner: str) -> None:
        with self._lock:
            entry = self._entries.pop(number, None)
            if entry is not None:
                self._unreserved += entry.nbytes
                self._snapshot = None
                self._shrink_when_possible()
                return
            if number < self._first_live_number:
                return
            self._double_releases += 1
            self._snapshot = None
        log.debug("event=released_again device=%s owner=%s", self.device, owner)


def _require_not_negative(nbytes: int) -> None:
    if nbytes < 0:
        raise ValueError(f"bytes must not be negative: {nbytes}")
