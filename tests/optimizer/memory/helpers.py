"""What the formula says, and ways to teach a pool something else."""

from __future__ import annotations

from typing import Any

from optimizer.common.kinds import DeviceKind
from optimizer.memory.costs import ConcurrentTasks
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.formula import costs_formula
from optimizer.memory.regression import FEW_MEASUREMENTS
from whisper_core.models.catalogue import model_info

MIB = 2**20
ONE_MINUTE = ConcurrentTasks.of([60.0])


def formula(model: str, kind: DeviceKind, seconds: float, *, words: bool = False) -> float:
    """Of one task alone, with all that tasks share."""
    return costs_formula(model_info(model), kind, word_timestamps=words).growth(ConcurrentTasks.of([seconds]))


def own(model: str, kind: DeviceKind, seconds: float) -> float:
    return costs_formula(model_info(model), kind).own(seconds)


def total_bytes(
    pool: MemoryEstimationPool, model: str, kind: DeviceKind, seconds: float, word_timestamps: bool = False
) -> int:
    """All that one task takes on an empty device, its worker and its model included."""
    task = pool.task_bytes(model, kind, seconds, word_timestamps)
    return pool.context_bytes(kind) + pool.weights_bytes(model, kind) + task


def teach(
    pool: MemoryEstimationPool, concurrent: ConcurrentTasks, factor: float, times: int = FEW_MEASUREMENTS, **how: Any
) -> None:
    """So many measurements of `base` on the CPU that are `factor` times what the formula says."""
    grown = factor * costs_formula(model_info("base"), "cpu", word_timestamps=how.get("word_timestamps", False)).growth(
        concurrent
    )
    for _ in range(times):
        pool.record("base", "cpu", concurrent, peak_bytes=int(grown / concurrent.tasks), **how)


def run_out(pool: MemoryEstimationPool, reserved: int) -> int:
    """The next estimate for a task like it."""
    pool.record_out_of_memory("base", "cpu", 60.0, False, reserved)
    return pool.task_bytes("base", "cpu", 60.0)
