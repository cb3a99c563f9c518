"""Which models are in one device's memory, and how much of it is reserved for each."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from errors import WorkerDiedError
from optimizer.common.clock import Clock
from optimizer.devices.status import ModelOnDevice
from optimizer.devices.worker_process import Worker
from optimizer.memory.ledger import GPUMemoryPool, Reservation, model_owner
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)


_NEWSWORTHY_GROWTH = 1.05


@dataclass(frozen=True)
class ModelShortfall:
    """A loaded model takes more than was reserved for it."""

    device: str
    model: str
    reserved_bytes: int
    needed_bytes: int
    was_raised: bool  # False: the device has no room to reserve more


class ModelResidency:
    """A model is loading, then loaded, then perhaps evicting; its memory is reserved all the while.

    Belongs to the scheduler's thread; any thread may call `statuses`.
    """

    def __init__(self, pool: GPUMemoryPool, worker: Worker, clock: Clock, models_dir: Path) -> None:
        self.resident: dict[str, Reservation] = {}  # loading, loaded or evicting
        self.loaded: set[str] = set()
        self.evicting: set[str] = set()
        self._pool = pool
        self._worker = worker
        self._clock = clock
        self._models_dir = models_dir
        self._last_used: dict[str, float] = {}  # monotonic seconds
        self._too_small: set[str] = set()  # models whose reservation was logged as too small

    # --- commands ----------------------------------------------------------------------------------------------

    def load(self, model: str, nbytes: int, *, respects_others: bool = True) -> bool:
        """Reserve the weights' memory and have them loaded; False, and nothing changed, when they do not fit now.

        Raises WorkerDiedError; nothing is reserved then.
        """
        reservation = self._pool.try_reserve(model_owner(model), nbytes, respects_others=respects_others)
        if reservation is None:
            return False
        try:
            self._worker.send(protocol.LoadModel(model, str(self._models_dir)))
        except WorkerDiedError:
            reservation.release()
            raise
        self.resident[model] = reservation
        self.mark_used(model)
        return True

    def evict(self, model: str) -> None:
        """Have an idle model unloaded; its memory is free once the worker says so. Raises WorkerDiedError."""
        if model in self.resident and model not in self.evicting:
            self.evicting.add(model)
            self._worker.send(protocol.UnloadModel(model))

    # --- what becomes of them ----------------------------------------------------------------------------------

    def mark_loaded(self, model: str) -> None:
        self.loaded.add(model)

    def mark_used(self, model: str) -> None:
        """A task used it until now."""
        self._last_used[model] = self._clock.monotonic()

    def resize_reservation(self, model: str, nbytes: int) -> ModelShortfall | None:
        """Reserve what the model is now known to take instead of what was estimated, as far as that fits.

        Returns by how much the reservation was too small, where that is news: not for a little growth, which may come
        with every measurement, and not again as long as there is no room for more.
        """
        reservation = self.resident.get(model)
        if reservation is None or reservation.nbytes in (0, nbytes):
            return None
        before = reservation.nbytes
        was_raised = reservation.try_resize(nbytes)
        if was_raised:
            self._too_small.discard(model)
            is_news = nbytes >= _NEWSWORTHY_GROWTH * before
        else:
            is_news = model not in self._too_small
            self._too_small.add(model)
        if not is_news:
            return None
        if not was_raised:
            log.warning("device=%s event=reservation_too_small model=%s bytes=%d", self._pool.device, model, nbytes)
        return ModelShortfall(self._pool.device, model, before, nbytes, was_raised)

    def remove(self, model: str) -> None:
        """It was unloaded, or could not be loaded."""
        self.loaded.discard(model)
        self.evicting.discard(model)
        if (reservation := self.resident.pop(model, None)) is not None:
            reservation.release()

    def clear(self) -> None:
        """The worker is gone, and every model with it. The ledger's reservations are the caller's to void."""
        self.resident.clear()
        self.loaded.clear()
        self.evicting.clear()

    # --- who asks ----------------------------------------------------------------------------------------------

    def idle_for(self, min_idle_s: float, in_use: Collection[str]) -> dict[str, float]:
        """The loaded models that no task has used for at least min_idle_s, with the seconds since."""
        now = self._clock.monotonic()
        idle = {model: now - self._last_used.get(model, now) for model in self.loaded - set(in_use) - self.evicting}
        return {model: idle_s for model, idle_s in idle.items() if idle_s >= min_idle_s}

    def statuses(self, in_use: Collection[str]) -> tuple[ModelOnDevice, ...]:
        return tuple(self._status(model, model in in_use) for model in sorted(self.resident.copy()))

    def _status(self, model: str, is_used: bool) -> ModelOnDevice:
        reservation = self.resident.get(model)
        state = "evicting" if model in self.evicting else "loaded" if model in self.loaded else "loading"
        return ModelOnDevice(model, reservation.nbytes if reservation else 0, state, is_used)
