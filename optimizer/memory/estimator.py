"""How many bytes a task will need: the formula first, corrected by what was measured, and kept over restarts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from threading import Lock
from typing import Any

from errors import TranscriptionServerError
from optimizer.common.kinds import DeviceKind
from optimizer.memory.cost_model_store import PREFIX, CostModelStore
from optimizer.memory.formula import CONTEXT_BYTES, costs_formula, weights_formula
from optimizer.memory.regression import Batch, Costs
from optimizer.storage.documents import DocumentStore

log = logging.getLogger(__name__)

_RELIEF_PER_TICK = 0.97  # of the rise after a shortage, so that half of it is gone after twelve minutes of 30 s ticks


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device. context: of its worker process, once. weights: of the model, once, with the workspace that
    its tasks share. task: of each task.

    is_measured: whether `task` follows measurements of this model on this kind of device.
    """

    context: int
    weights: int
    task: int
    is_measured: bool

    @property
    def total(self) -> int:
        return self.context + self.weights + self.task


class MemoryEstimationPool:
    """Estimates per model, kind of device (`cpu` in fp32, `cuda` in fp16) and word timestamps. Any thread.

    An estimate is what is to be promised: the formula times `calibration_factor` while there are few measurements, then
    the regression of those of that model on devices of that title, with a margin that covers nearly all of them. Where
    devices of one kind have several titles, the largest holds. Estimates never shrink as audio_seconds grow.

    Costs stay fractions of a byte until the moment of the promise and are rounded up there, once: a promise is never
    below its estimate, and bounds that hold for costs hold for promises (4·⌈x⌉ is at least ⌈4·x⌉).
    """

    def __init__(self, calibration_factor: float, document_store: DocumentStore | None = None) -> None:
        """document_store: where measurements are kept over restarts; None forgets them."""
        if calibration_factor < 1:
            raise ValueError(f"calibration_factor must be at least 1, not {calibration_factor}")
        self._calibration_factor = calibration_factor
        self._document_store = document_store
        self._lock = Lock()
        self._book = CostModelStore(calibration_factor)
        self._weights: dict[tuple[str, DeviceKind], int] = {}
        # Read without the lock, thousands of times in a decision; entries are replaced, never changed or removed.
        self._task_promises: dict[tuple[str, DeviceKind, bool], Costs] = {}
        self._workspaces: dict[tuple[str, DeviceKind], int] = {}

    # --- estimates ---------------------------------------------------------------------------------------------

    def context_bytes(self, kind: DeviceKind) -> int:
        """What a device's worker takes before any model is loaded."""
        return CONTEXT_BYTES[kind]

    def weights_bytes(self, model: str, kind: DeviceKind) -> int:
        """What `model` takes while it is resident: its weights, and the workspace that its tasks share, so that the
        first of them finds it promised. Raises UnknownModelError."""
        weights = self._weights.get((model, kind))
        if weights is None:
            weights = ceil(weights_formula(model, kind) * self._calibration_factor)
        return weights + self._workspace(model, kind)

    def task_bytes(self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False) -> int:
        """What one task takes while it runs, beyond its model. Raises UnknownModelError."""
        costs = self._task_promises.get((model, kind, word_timestamps))
        if costs is None:
            self._publish(model, kind)
            costs = self._task_promises[model, kind, word_timestamps]
        return ceil(costs.own(audio_seconds))

    def estimate(
        self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False
    ) -> MemoryEstimate:
        """Everything that one task needs on an empty device, in parts. Raises UnknownModelError."""
        with self._lock:
            is_measured = any(memory.count for memory in self._book.here(model, kind, word_timestamps))
        return MemoryEstimate(
            context=self.context_bytes(kind),
            weights=self.weights_bytes(model, kind),
            task=self.task_bytes(model, kind, audio_seconds, word_timestamps),
            is_measured=is_measured,
        )

    # --- learning ----------------------------------------------------------------------------------------------

    def know_device(self, name: str, kind: DeviceKind, title: str) -> None:
        """Measurements from the device `name` are those of all devices with that title, now and after a restart."""
        with self._lock:
            self._book.know_device(name, kind, title)
        for model, known_kind in list(self._workspaces):
            self._publish(model, known_kind)

    def record(
        self,
        model: str,
        kind: DeviceKind,
        batch: Batch,
        *,
        peak_bytes: int,
        reserved_bytes: int = 0,
        word_timestamps: bool = False,
        device: str = "",
    ) -> None:
        """What a finished task really took beyond the weights. Peaks that are not positive were not measured: ignored.

        peak_bytes: the growth of all that ran together, divided by their number. batch: those that ran together.
        reserved_bytes: what had been promised to the task itself. device: its name.
        """
        if peak_bytes <= 0:
            return
        workspace = self._workspace(model, kind)
        with self._lock:
            key = self._book.key(device, model, kind, word_timestamps)
            memory = self._book.to_change(key)
            last = memory.record(batch, peak_bytes * batch.tasks, reserved_bytes + workspace // batch.tasks)
        self._publish(model, kind)
        log.debug(
            "event=memory_measured model=%s title=%r tasks=%d predicted_mb=%.0f reserved_mb=%.0f measured_mb=%.0f",
            model, key.title, batch.tasks, last.predicted / 1e6, last.reserved / 1e6, last.measured / 1e6,
        )  # fmt: skip

    def record_out_of_memory(
        self,
        model: str,
        kind: DeviceKind,
        audio_seconds: float,
        word_timestamps: bool,
        reserved_bytes: int,
        device: str = "",
    ) -> None:
        """Memory ran out for a task under a promise of `reserved_bytes`: the next promise to one like it is larger.

        The rise is bounded. It goes with every task that then runs well, and with time, so that a promise which has
        grown beyond the device does not keep such tasks waiting for ever.
        """
        promised = self.task_bytes(model, kind, audio_seconds, word_timestamps)
        with self._lock:
            key = self._book.key(device, model, kind, word_timestamps)
            memory = self._book.to_change(key)
            memory.ran_out(promised, reserved_bytes)
            pressure = memory.pressure
        self._publish(model, kind)
        log.warning(
            "event=memory_ran_out model=%s title=%r reserved_mb=%.0f pressure=%.2f",
            model, key.title, reserved_bytes / 1e6, pressure,
        )  # fmt: skip

    def record_weights(self, model: str, kind: DeviceKind, nbytes: int) -> None:
        """What the tensors of a loaded model hold, without workspace. Figures that are not positive are ignored.

        Never taken for less than half of the formula: such a figure is not of the model's weights.
        """
        if nbytes <= 0:
            return
        formula = weights_formula(model, kind)
        # Allocators hold up to a twentieth more than the tensors (tiny: 154 for 142 MiB).
        measured = max(nbytes + formula // 20, formula // 2)
        with self._lock:
            self._weights[model, kind] = measured

    def relieve(self) -> None:
        """Once in every PERFORMANCE_MONITOR_INTERVAL: what was raised for a shortage falls a little."""
        with self._lock:
            eased = self._book.relieve(_RELIEF_PER_TICK)
        for key in eased:
            self._publish(key.model, key.kind)

    def accuracy(self) -> list[dict[str, Any]]:
        """How well tasks' memory was foretold, per device title and model: `device`, `model`, and task_memory's
        `accuracy_of`."""
        with self._lock:
            return self._book.accuracy()

    # --- kept over restarts ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take up what earlier runs of this version learned. Raises StoreBusyError, DatabaseDamagedError."""
        if self._document_store is None:
            return
        documents = self._document_store.read(PREFIX)
        with self._lock:
            restored = self._book.restore(documents)
        for key in restored:
            self._publish(key.model, key.kind)

    def save(self) -> None:
        """Write down what was learned since the last time. What cannot be stored now is tried again the next time."""
        if self._document_store is None:
            return
        with self._lock:
            documents = self._book.take_unsaved()
        try:
            self._document_store.write({key.name: document for key, document in documents.items()})
        except TranscriptionServerError as error:
            log.warning("event=memory_not_written code=%s", error.code)
            with self._lock:
                self._book.put_back(set(documents))

    # --- inside ------------------------------------------------------------------------------------------------

    def _workspace(self, model: str, kind: DeviceKind) -> int:
        if (model, kind) not in self._workspaces:
            self._publish(model, kind)
        return self._workspaces[model, kind]

    def _publish(self, model: str, kind: DeviceKind) -> None:
        """What is promised from now on. Raises UnknownModelError.

        With the model goes what tasks without word timestamps share; what others share beyond that goes with each of
        them, since nobody knows whether any will come.
        """
        with self._lock:
            plain, words = (self._promised(model, kind, word_timestamps) for word_timestamps in (False, True))
            for word_timestamps, costs in ((False, plain), (True, words)):
                beyond = max(0.0, costs.shared - plain.shared)
                own = costs._replace(shared=0.0, per_task=costs.per_task + beyond)
                self._task_promises[model, kind, word_timestamps] = own
            self._workspaces[model, kind] = ceil(plain.shared)

    def _promised(self, model: str, kind: DeviceKind, word_timestamps: bool) -> Costs:
        """Under the lock."""
        formula = costs_formula(model, kind, word_timestamps=word_timestamps)
        memories = self._book.here(model, kind, word_timestamps)
        if not memories:
            return formula.times(self._calibration_factor)
        promised = _largest(memory.promised for memory in memories)
        # Keys and values of half a window are there, whatever was measured.
        return promised._replace(per_task=max(promised.per_task, formula.per_task / 2))


def _largest(costs: Iterable[Costs]) -> Costs:
    """Enough for each of them. At least one."""
    return Costs(*(max(parts) for parts in zip(*costs, strict=True)))
