"""What a model and its tasks take with the engine in use, before anything was measured."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

from optimizer.common.kinds import DeviceKind
from optimizer.memory.costs import Costs
from optimizer.memory.formula import beams_formula, costs_formula, held_formula, weights_formula
from whisper_core.common.extensions import in_one_line
from whisper_core.models.catalogue import ModelInfo
from whisper_core.worker.engine_spec import MemoryNeeds

log = logging.getLogger(__name__)

Needs = Callable[[ModelInfo, DeviceKind], MemoryNeeds]


class Formula(Protocol):
    def weights(self, model: ModelInfo, kind: DeviceKind) -> int: ...
    def held(self, model: ModelInfo, kind: DeviceKind, slots: int) -> int: ...
    def costs(self, model: ModelInfo, kind: DeviceKind, *, word_timestamps: bool) -> Costs: ...
    def beams(self, model: ModelInfo, kind: DeviceKind, beams: int) -> float: ...


class BatchFormula:
    """See `formula`."""

    def __init__(self, *, holds_slots: bool = True) -> None:
        """holds_slots: see EngineSpec."""
        self._holds_slots = holds_slots

    def weights(self, model: ModelInfo, kind: DeviceKind) -> int:
        return weights_formula(model, kind)

    def held(self, model: ModelInfo, kind: DeviceKind, slots: int) -> int:
        return held_formula(model, kind, slots) if self._holds_slots else 0

    def costs(self, model: ModelInfo, kind: DeviceKind, *, word_timestamps: bool) -> Costs:
        return costs_formula(model, kind, word_timestamps=word_timestamps, holds_slots=self._holds_slots)

    def beams(self, model: ModelInfo, kind: DeviceKind, beams: int) -> float:
        return beams_formula(model, kind, beams, holds_slots=self._holds_slots)


class EngineFormula:
    """By what an engine says of itself; the batch engine's formula for a model of which it says nothing usable. Its
    models hold no slots."""

    def __init__(self, needs: Needs) -> None:
        self._ask = needs
        self._batch = BatchFormula(holds_slots=False)
        self._known: dict[tuple[ModelInfo, DeviceKind], MemoryNeeds | None] = {}

    def weights(self, model: ModelInfo, kind: DeviceKind) -> int:
        needs = self._needs(model, kind)
        return self._batch.weights(model, kind) if needs is None else math.ceil(needs.weights)

    def held(self, model: ModelInfo, kind: DeviceKind, slots: int) -> int:
        return 0

    def costs(self, model: ModelInfo, kind: DeviceKind, *, word_timestamps: bool) -> Costs:
        needs = self._needs(model, kind)
        if needs is None:
            return self._batch.costs(model, kind, word_timestamps=word_timestamps)
        per_task = needs.task + (needs.words if word_timestamps else 0.0)
        return Costs(shared=needs.shared, per_task=per_task, per_second=needs.second, per_longer=0.0)

    def beams(self, model: ModelInfo, kind: DeviceKind, beams: int) -> float:
        needs = self._needs(model, kind)
        return self._batch.beams(model, kind, beams) if needs is None else needs.beam * beams

    def _needs(self, model: ModelInfo, kind: DeviceKind) -> MemoryNeeds | None:
        if (model, kind) not in self._known:
            self._known[model, kind] = self._asked(model, kind)
        return self._known[model, kind]

    def _asked(self, model: ModelInfo, kind: DeviceKind) -> MemoryNeeds | None:
        try:
            return _checked(self._ask(model, kind))
        except (Exception, SystemExit) as error:
            log.error(
                "event=engine_memory_failed model=%s kind=%s reason=%r", model.name, kind, in_one_line(error),
                exc_info=error,
            )  # fmt: skip
            return None


def _checked(needs: object) -> MemoryNeeds:
    """Raises TypeError, ValueError."""
    if not isinstance(needs, MemoryNeeds):
        raise TypeError(f"it returned {type(needs).__name__} where MemoryNeeds are wanted")
    if not all(math.isfinite(value) and value >= 0 for value in asdict(needs).values()):
        raise ValueError("bytes must be numbers from 0")
    return needs
