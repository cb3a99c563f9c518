"""How many bytes a task will need: by formula at first, then by what was measured, which is kept over restarts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from math import ceil
from threading import Lock
from typing import Any

from errors import TranscriptionServerError
from optimizer.common.kinds import DeviceKind
from optimizer.memory.cost_model_store import PREFIX, CostModelStore
from optimizer.memory.costs import ConcurrentTasks, Costs
from optimizer.memory.engine_formula import BatchFormula, Formula
from optimizer.memory.formula import CONTEXT_BYTES
from optimizer.storage.documents import DocumentStore
from optimizer.tasks.task import TaskMemory
from whisper_core.common.slots import SLOTS
from whisper_core.models.registry import ModelRegistry
from whisper_core.speakers.memory import memory_needed

log = logging.getLogger(__name__)

_RELIEF_PER_TICK = 0.97  # what is left of the rise after a shortage; half of it after twelve minutes of 30 s ticks


class MemoryEstimationPool:
    """Estimates per model (and so precision), kind of device and word timestamps. Any thread.

    An estimate is what is to be reserved: the formula times `calibration_factor` at first, and no less than that before
    five bursts were measured; then the regression of what was measured of that model on devices of that title, with a
    margin that covers nearly all of it. Where devices of one kind have several titles, the largest holds. Estimates
    never shrink as audio_seconds grow.

    Costs keep fractions of a byte and are rounded up once, when an estimate is given: what is reserved is never below
    them, and bounds that hold for costs hold for estimates (4·⌈x⌉ is at least ⌈4·x⌉).
    """

    def __init__(
        self, calibration_factor: float, models: ModelRegistry | None = None, formula: Formula | None = None
    ) -> None:
        """models: the server's; without one, openai-whisper's. formula: of the engine in use; None: the batch
        engine's."""
        if calibration_factor < 1:
            raise ValueError(f"calibration_factor must be at least 1, not {calibration_factor}")
        self._calibration_factor = calibration_factor
        self._lock = Lock()
        self._models = models or ModelRegistry()
        self._formula = formula or BatchFormula()
        self._cost_models = CostModelStore(calibration_factor, self._models, self._formula)
        self._weights: dict[tuple[str, DeviceKind], int] = {}
        # Read without the lock, thousands of times in a decision; entries are replaced, never changed or removed.
        self._task_costs: dict[tuple[str, DeviceKind, bool], Costs] = {}
        self._workspaces: dict[tuple[str, DeviceKind], int] = {}

    # --- estimates ---------------------------------------------------------------------------------------------

    def context_bytes(self, kind: DeviceKind) -> int:
        """What a device's worker takes before any model is loaded."""
        return CONTEXT_BYTES[kind]

    def weights_bytes(self, model: str, kind: DeviceKind, slots: int = 1) -> int:
        """What `model` takes while it is resident: its weights, what it holds with so many slots, and the workspace
        that its tasks share, so that it is reserved before the first of them starts. slots: as for `held_bytes`."""
        weights = self._weights.get((model, kind))
        if weights is None:
            weights = ceil(self._formula.weights(self._models.known(model), kind) * self._calibration_factor)
        return weights + self._workspace(model, kind) + self.held_bytes(model, kind, slots)

    def held_bytes(self, model: str, kind: DeviceKind, slots: int) -> int:
        """The part of `weights_bytes` that depends on the slots; 0 where a model holds none. By the formula: tasks'
        measurements begin when it is held already. slots: 0 for as many as the device decodes at most."""
        held = self._formula.held(self._models.known(model), kind, slots or SLOTS[kind])
        return ceil(held * self._calibration_factor)

    def task_bytes(
        self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False, beams: int = 0
    ) -> int:
        """What one task takes while it runs, beyond its model.

        What beams add is the formula's: nothing is learned from tasks that have some.
        """
        costs = self._task_costs.get((model, kind, word_timestamps))
        if costs is None:
            self._update_estimates(model, kind)
            costs = self._task_costs[model, kind, word_timestamps]
        added = self._formula.beams(self._models.known(model), kind, beams) if beams else 0.0
        return ceil(costs.own(audio_seconds) + self._calibration_factor * added)

    def speakers_bytes(self, kind: DeviceKind, audio_seconds: float) -> int:
        """What telling the speakers of one recording apart takes: of the machine's memory, and of no card's. Counted
        with each task that wants it, although a worker does it for one at a time."""
        return memory_needed(audio_seconds) if kind == "cpu" else 0

    # --- learning ----------------------------------------------------------------------------------------------

    def add_device(self, name: str, kind: DeviceKind, title: str) -> None:
        """A device that is here. Devices with the same title share their measurements, now and after a restart."""
        with self._lock:
            self._cost_models.add_device(name, kind, title)
        for model, known_kind in list(self._workspaces):
            self._update_estimates(model, known_kind)

    def record(
        self,
        model: str,
        kind: DeviceKind,
        concurrent: ConcurrentTasks,
        *,
        peak_bytes: int,
        reserved_bytes: int = 0,
        word_timestamps: bool = False,
        device: str = "",
    ) -> None:
        """What a finished task really took beyond the weights. A peak that is not positive was not measured: ignored.

        concurrent: the tasks that ran together. peak_bytes: their growth divided by their number.
        reserved_bytes: for one of them on average, without what they share. device: its name.
        """
        if peak_bytes <= 0:
            return
        reserved_bytes += self._share_of_workspace(model, kind, concurrent)
        with self._lock:
            key = self._cost_models.key(device, model, kind, word_timestamps)
            cost_model = self._cost_models.get_for_update(key)
            last = cost_model.record(concurrent, peak_bytes * concurrent.tasks, reserved_bytes)
        self._update_estimates(model, kind)
        log.debug(
            "event=memory_measured model=%s title=%r tasks=%d predicted_mb=%.0f reserved_mb=%.0f measured_mb=%.0f",
            model, key.title, concurrent.tasks, last.predicted / 1e6, last.reserved / 1e6, last.measured / 1e6,
        )  # fmt: skip

    def memory_of(
        self,
        model: str,
        kind: DeviceKind,
        concurrent: ConcurrentTasks,
        *,
        peak_bytes: int,
        reserved_bytes: int,
        word_timestamps: bool,
        device: str,
    ) -> TaskMemory:
        """What a finished task took, beside what was predicted and reserved for it. Arguments as for `record`, which
        comes afterwards."""
        reserved_bytes += self._share_of_workspace(model, kind, concurrent)
        with self._lock:
            key = self._cost_models.key(device, model, kind, word_timestamps)
            predicted = self._cost_models.get(key).predict(concurrent)
        return TaskMemory(predicted, reserved_bytes, peak_bytes)

    def record_out_of_memory(
        self,
        model: str,
        kind: DeviceKind,
        audio_seconds: float,
        word_timestamps: bool,
        reserved_bytes: int,
        device: str = "",
    ) -> None:
        """Memory ran out for a task that had `reserved_bytes`: from now on the estimate for one like it is larger.

        The rise is bounded. It falls with every task that then runs well, and with time, so that an estimate which has
        grown beyond the device does not keep such tasks waiting for ever.
        """
        estimate = self.task_bytes(model, kind, audio_seconds, word_timestamps)
        with self._lock:
            key = self._cost_models.key(device, model, kind, word_timestamps)
            cost_model = self._cost_models.get_for_update(key)
            cost_model.record_out_of_memory(estimate, reserved_bytes)
            pressure = cost_model.pressure
        self._update_estimates(model, kind)
        log.warning(
            "event=memory_ran_out model=%s title=%r reserved_mb=%.0f pressure=%.2f",
            model, key.title, reserved_bytes / 1e6, pressure,
        )  # fmt: skip

    def record_weights(self, model: str, kind: DeviceKind, nbytes: int) -> None:
        """What the tensors of a loaded model hold, without workspace. Figures that are not positive are ignored.

        Counts as at least half of the formula: a smaller figure cannot be all of the model's weights.
        """
        if nbytes <= 0:
            return
        formula = self._formula.weights(self._models.known(model), kind)
        # Allocators hold up to a twentieth more than the tensors (tiny: 154 for 142 MiB).
        measured = max(nbytes + formula // 20, formula // 2)
        with self._lock:
            self._weights[model, kind] = measured

    def forget(self, model: str) -> None:
        """Its files are others than they were, so nothing that was learned of it holds."""
        with self._lock:
            self._cost_models.forget(model)
            for key in [key for key in self._weights if key[0] == model]:
                del self._weights[key]
        for known, kind in list(self._workspaces):
            if known == model:
                self._update_estimates(model, kind)

    def relieve(self) -> None:
        """Once in every PERFORMANCE_MONITOR_INTERVAL: estimates that were raised after a shortage fall a little."""
        with self._lock:
            relieved = self._cost_models.relieve(_RELIEF_PER_TICK)
        for key in relieved:
            self._update_estimates(key.model, key.kind)

    def accuracy(self) -> list[dict[str, Any]]:
        """How well tasks' memory was predicted, per device title and model: `device`, `model` and what
        `cost_model.accuracy_of` gives."""
        with self._lock:
            return self._cost_models.accuracy()

    # --- kept over restarts ------------------------------------------------------------------------------------

    def open(self, document_store: DocumentStore) -> None:
        """Restores what earlier runs of this version learned. Raises StoreBusyError, DatabaseDamagedError."""
        documents = document_store.read(PREFIX)
        with self._lock:
            restored = self._cost_models.restore(documents)
        for key in restored:
            self._update_estimates(key.model, key.kind)

    def save(self, document_store: DocumentStore) -> None:
        """Stores what was learned since the last time. What cannot be stored now is tried again the next time."""
        with self._lock:
            documents = self._cost_models.pop_unsaved()
        try:
            document_store.write({key.name: document for key, document in documents.items()})
        except TranscriptionServerError as error:
            log.warning("event=memory_not_written code=%s", error.code)
            with self._lock:
                self._cost_models.mark_unsaved(set(documents))

    # --- inside ------------------------------------------------------------------------------------------------

    def _share_of_workspace(self, model: str, kind: DeviceKind, concurrent: ConcurrentTasks) -> int:
        """One task's part of what is reserved with the model for all tasks."""
        return self._workspace(model, kind) // concurrent.tasks

    def _workspace(self, model: str, kind: DeviceKind) -> int:
        if (model, kind) not in self._workspaces:
            self._update_estimates(model, kind)
        return self._workspaces[model, kind]

    def _update_estimates(self, model: str, kind: DeviceKind) -> None:
        """Sets the estimates that hold from now on.

        What tasks without word timestamps share is counted with the model. What the others share beyond that is counted
        with each of them, since nobody knows whether any will come.
        """
        with self._lock:
            plain, words = (self._costs_to_reserve(model, kind, word_timestamps) for word_timestamps in (False, True))
            for word_timestamps, costs in ((False, plain), (True, words)):
                beyond = max(0.0, costs.shared - plain.shared)
                own = costs._replace(shared=0.0, per_task=costs.per_task + beyond)
                self._task_costs[model, kind, word_timestamps] = own
            self._workspaces[model, kind] = ceil(plain.shared)

    def _costs_to_reserve(self, model: str, kind: DeviceKind, word_timestamps: bool) -> Costs:
        """Under the lock."""
        formula = self._formula.costs(self._models.known(model), kind, word_timestamps=word_timestamps)
        learned = self._cost_models.of_present_devices(model, kind, word_timestamps)
        if not learned:
            return formula.times(self._calibration_factor)
        costs = _largest(cost_model.to_reserve for cost_model in learned)
        # A task always takes half of what the formula says (on the CPU, keys and values of half a window), whatever
        # was measured.
        return costs._replace(per_task=max(costs.per_task, formula.per_task / 2))


def _largest(costs: Iterable[Costs]) -> Costs:
    """Enough for each of them. At least one."""
    return Costs(*(max(parts) for parts in zip(*costs, strict=True)))
