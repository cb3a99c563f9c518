"""What another engine says that its models and tasks take, and what is made of nonsense."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from optimizer.memory.costs import ConcurrentTasks
from optimizer.memory.engine_formula import BatchFormula, EngineFormula
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.formula import costs_formula, slot_bytes
from whisper_core.models.catalogue import model_info
from whisper_core.worker.engine_spec import MemoryNeeds

NEEDS = MemoryNeeds(weights=1000.5, shared=300, task=200, second=2, words=50, beam=7)
BASE = model_info("base")


def test_what_is_reserved_follows_from_what_the_engine_says() -> None:
    pool = MemoryEstimationPool(2.0, formula=EngineFormula(lambda model, kind: NEEDS))
    assert pool.weights_bytes("base", "cpu") == 2 * (1001 + 300)
    assert pool.task_bytes("base", "cpu", 10.0) == 2 * (200 + 20)
    assert pool.task_bytes("base", "cpu", 10.0, word_timestamps=True) == 2 * (200 + 50 + 20)
    assert pool.task_bytes("base", "cpu", 10.0, beams=5) == 2 * (200 + 20 + 35)


def test_a_model_of_another_engine_holds_no_slots() -> None:
    for formula in (EngineFormula(lambda model, kind: NEEDS), BatchFormula(holds_slots=False)):
        pool = MemoryEstimationPool(2.0, formula=formula)
        assert [pool.held_bytes("base", "cuda", slots) for slots in (0, 1, 64)] == [0, 0, 0]
        assert pool.weights_bytes("base", "cuda", 64) == pool.weights_bytes("base", "cuda", 1)


def test_an_engine_that_says_nothing_of_a_gpu_gets_a_slot_with_each_task() -> None:
    nothing: Any = lambda model, kind: None  # noqa: E731
    for kind in ("cpu", "cuda"):
        costs = EngineFormula(nothing).costs(BASE, kind, word_timestamps=False)
        assert costs == costs_formula(BASE, kind, holds_slots=False)
        assert costs.per_task > slot_bytes(BASE.dimensions, kind)


def test_what_is_measured_replaces_it() -> None:
    needs = MemoryNeeds(weights=1e8, task=2e7)
    pool = MemoryEstimationPool(1.2, formula=EngineFormula(lambda model, kind: needs))
    assert pool.task_bytes("base", "cpu", 10.0) == 24_000_000
    for period in range(1, 20):
        pool.record("base", "cpu", ConcurrentTasks.of([10.0], period), peak_bytes=40_000_000)
    assert 40_000_000 < pool.task_bytes("base", "cpu", 10.0) < 60_000_000


@pytest.mark.parametrize(
    "memory",
    [
        lambda model, kind: None,
        lambda model, kind: 1 / 0,
        lambda model, kind: sys.exit(),
        lambda model, kind: MemoryNeeds(weights=-1, task=1),
        lambda model, kind: MemoryNeeds(weights=1, task=float("inf")),
        lambda model, kind: MemoryNeeds(weights="1", task=1),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_named_once_and_the_batch_engines_formula_holds(
    memory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    formula, batch = EngineFormula(memory), BatchFormula()
    for _ in range(2):
        assert formula.weights(BASE, "cpu") == batch.weights(BASE, "cpu")
        assert formula.costs(BASE, "cpu", word_timestamps=True) == batch.costs(BASE, "cpu", word_timestamps=True)
        assert formula.beams(BASE, "cpu", 5) == batch.beams(BASE, "cpu", 5)
    assert len(caplog.records) == 1
