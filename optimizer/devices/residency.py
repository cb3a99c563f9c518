"""Which models are in one device's memory, and how much of it is reserved for each."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from errors import WorkerDiedError
from optimizer.common.clock import Clock
from optimizer.devices.status import ModelOnDevice, ModelState
from optimizer.devices.worker_process import Worker
from optimizer.memory.ledger import GPUMemoryPool, Reservation, model_owner
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)


_NEWSWORTHY_GROWTH = 1.05
LACKING_S = 300.0  # until a machine that could not get a model's weights is asked for them again


@dataclass(frozen=True)
class ModelShortfall:
    """A loaded model takes more than was reserved for it."""

    device: str
    model: str
    reserved_bytes: int
    needed_bytes: int
    was_raised: bool  # False: the device has no room to reserve more


@dataclass
class _Resident:
    """A model that takes memory of the device."""

    reservation: Reservation
    last_used_at: float  # monotonic seconds
    state: ModelState = ModelState.LOADING
    is_too_small: bool = False  # its reservation, which was logged
    slots: int = 0  # that it holds; 0 when it holds none


class ModelResidency:
    """A model is loading, then loaded, then perhaps evicting; its memory is reserved all the while.

    Belongs to the scheduler's thread; any thread may call `statuses`.
    """

    def __init__(self, pool: GPUMemoryPool, worker: Worker, clock: Clock, models_dir: Path) -> None:
        self._pool = pool
        self._worker = worker
        self._clock = clock
        self._models_dir = models_dir
        self._residents: dict[str, _Resident] = {}
        self._fewer_slots: dict[str, int] = {}
        self._lacking_until: dict[str, float] = {}

    def __contains__(self, model: str) -> bool:
        """Whether it takes memory, loaded or not."""
        return model in self._residents

    @property
    def loaded(self) -> set[str]:
        """The models that tasks can use, without those that are being evicted."""
        return {model for model, resident in self._residents.items() if resident.state is ModelState.LOADED}

    @property
    def is_evicting(self) -> bool:
        return any(resident.state is ModelState.EVICTING for resident in self._residents.values())

    @property
    def slots(self) -> dict[str, int]:
        """How many each model holds, of those that hold any."""
        return {model: resident.slots for model, resident in self._residents.items() if resident.slots}

    @property
    def fewer_slots(self) -> dict[str, int]:
        """No more than so many are to be held by these models the next time, since memory ran out with more."""
        return dict(self._fewer_slots)

    @property
    def lacking(self) -> frozenset[str]:
        """Models whose weights the device's machine could not get lately."""
        now = self._clock.monotonic()
        return frozenset(model for model, until in self._lacking_until.items() if now < until)

    # --- commands ----------------------------------------------------------------------------------------------

    def load(self, model: str, nbytes: int, slots: int = 0, *, respects_others: bool = True) -> bool:
        """Reserve the model's memory and have it loaded; False, and nothing changed, when it does not fit now.

        slots: that it holds from then on, for which the bytes are; 0 when it holds none. Raises WorkerDiedError;
        nothing is reserved then.
        """
        reservation = self._pool.try_reserve(model_owner(model), nbytes, respects_others=respects_others)
        if reservation is None:
            return False
        try:
            self._worker.send(protocol.LoadModel(model, str(self._models_dir), slots))
        except WorkerDiedError:
            reservation.release()
            raise
        self._residents[model] = _Resident(reservation, self._clock.monotonic(), slots=slots)
        return True

    def evict(self, model: str) -> None:
        """Have an idle model unloaded; its memory is free once the worker says so. Raises WorkerDiedError."""
        resident = self._residents.get(model)
        if resident is not None and resident.state is not ModelState.EVICTING:
            resident.state = ModelState.EVICTING
            self._worker.send(protocol.UnloadModel(model))

    # --- what becomes of them ----------------------------------------------------------------------------------

    def mark_loaded(self, model: str) -> None:
        self._fewer_slots.pop(model, None)
        self._lacking_until.pop(model, None)
        resident = self._residents.get(model)
        if resident is not None and resident.state is ModelState.LOADING:  # not one that is to be evicted at once
            resident.state = ModelState.LOADED

    def mark_lacking(self, model: str) -> None:
        """Its weights could not be had there. Elsewhere they may be, and a device that fails at once is always idle."""
        self._lacking_until[model] = self._clock.monotonic() + LACKING_S

    def mark_short(self, model: str) -> None:
        """Memory ran out while it was loaded: the next time it holds half as many slots."""
        resident = self._residents.get(model)
        if resident is not None and resident.slots:
            self._fewer_slots[model] = max(1, resident.slots // 2)

    def mark_used(self, model: str) -> None:
        """A task used it until now."""
        if (resident := self._residents.get(model)) is not None:
            resident.last_used_at = self._clock.monotonic()

    def resize_reservation(self, model: str, nbytes: int) -> ModelShortfall | None:
        """Reserve what the model is now known to take instead of what was estimated, as far as that fits.

        Returns by how much the reservation was too small, where that is news: not for a little growth, which may come
        with every measurement, and not again as long as there is no room for more.
        """
        resident = self._residents.get(model)
        before = resident.reservation.nbytes if resident is not None else 0
        if resident is None or before in (0, nbytes):
            return None
        was_raised = resident.reservation.try_resize(nbytes)
        is_news = nbytes >= _NEWSWORTHY_GROWTH * before if was_raised else not resident.is_too_small
        resident.is_too_small = not was_raised
        if not is_news:
            return None
        if not was_raised:
            log.warning("device=%s event=reservation_too_small model=%s bytes=%d", self._pool.device, model, nbytes)
        return ModelShortfall(self._pool.device, model, before, nbytes, was_raised)

    def remove(self, model: str) -> None:
        """It was unloaded, or could not be loaded."""
        if (resident := self._residents.pop(model, None)) is not None:
            resident.reservation.release()

    def clear(self) -> None:
        """The worker is gone, and every model with it. The ledger's reservations are the caller's to void."""
        self._residents.clear()
        self._fewer_slots.clear()

    # --- who asks ----------------------------------------------------------------------------------------------

    def idle_for(self, min_idle_s: float, in_use: Collection[str]) -> dict[str, float]:
        """The loaded models that no task has used for at least min_idle_s, with the seconds since."""
        now = self._clock.monotonic()
        idle = {model: now - self._residents[model].last_used_at for model in self.loaded - set(in_use)}
        return {model: idle_s for model, idle_s in idle.items() if idle_s >= min_idle_s}

    def statuses(self, in_use: Collection[str]) -> tuple[ModelOnDevice, ...]:
        """By name."""
        return tuple(
            ModelOnDevice(model, resident.reservation.nbytes, resident.state, model in in_use, resident.slots)
            for model, resident in sorted(self._residents.copy().items())
        )
