"""Estimates, and how measurements move them."""

from __future__ import annotations

import os
from dataclasses import asdict
from math import ceil
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UnknownModelError
from optimizer.common.kinds import DeviceKind
from optimizer.memory.costs import ConcurrentTasks
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.formula import costs_formula, held_formula, weights_formula, workspace_formula
from optimizer.memory.regression import FEW_MEASUREMENTS
from tests.optimizer.memory.helpers import MIB, ONE_MINUTE, formula, own, teach, total_bytes
from tests.whisper_core.brought_folders import write_folder
from whisper_core.models.catalogue import MODEL_NAMES, model_info
from whisper_core.models.registry import ModelRegistry

GB = 1_000_000_000


def test_the_estimates_stay_far_below_the_published_table() -> None:
    """Those figures (10 GB for large) are of one task, as here the model with one slot."""
    pool = MemoryEstimationPool(1.2)
    assert total_bytes(pool, "large-v3", "cuda", 3600.0) < 7.5 * GB
    assert pool.task_bytes("large-v3", "cuda", 3600.0) < 0.01 * GB


@given(
    model=st.sampled_from(MODEL_NAMES),
    kind=st.sampled_from(["cpu", "cuda"]),
    words=st.booleans(),
    lengths=st.lists(st.floats(0, 1e6), min_size=2, max_size=2).map(sorted),
)
def test_a_longer_recording_never_needs_less(model: str, kind: DeviceKind, words: bool, lengths: list[float]) -> None:
    pool = MemoryEstimationPool(1.2)
    for seconds, peak in ((60.0, 300 * MIB), (5.0, 400 * MIB), (900.0, 200 * MIB)):
        pool.record(model, kind, ConcurrentTasks.of([seconds]), peak_bytes=peak, word_timestamps=words)
    shorter, longer = (pool.task_bytes(model, kind, seconds, words) for seconds in lengths)
    assert 0 < shorter <= longer


def test_the_calibration_factor_multiplies_what_was_never_measured() -> None:
    pool = MemoryEstimationPool(1.5)
    assert pool.task_bytes("base", "cpu", 60.0) == int(1.5 * own("base", "cpu", 60.0))
    expected = int(1.5 * weights_formula(model_info("base"), "cpu")) + int(
        1.5 * workspace_formula(model_info("base"), "cpu")
    )
    assert pool.weights_bytes("base", "cpu") == expected
    assert pool.accuracy() == []


@pytest.mark.parametrize("tasks", [1, 8])
def test_what_a_task_is_told_of_its_memory_is_what_the_accuracy_counts(tasks: int) -> None:
    pool = MemoryEstimationPool(1.2)
    concurrent = ConcurrentTasks.of([60.0] * tasks)
    how: Any = {"peak_bytes": 90 * MIB, "reserved_bytes": 50 * MIB, "word_timestamps": False, "device": "cpu"}
    for _ in range(3):
        memory = pool.memory_of("base", "cpu", concurrent, **how)
        pool.record("base", "cpu", concurrent, **how)
        assert pool.accuracy()[0]["last"] == asdict(memory)
    assert memory.reserved is not None
    assert memory.reserved > 50 * MIB
    assert memory.measured == 90 * MIB


def measurements(pool: MemoryEstimationPool) -> int:
    """Of the single kind of tasks that was measured."""
    (row,) = pool.accuracy()
    count: int = row["count"]
    return count


def estimated(pool: MemoryEstimationPool, lengths: list[float]) -> int:
    """For tasks of `base` that run together on the CPU, without the weights."""
    weights = int(pool._calibration_factor * weights_formula(model_info("base"), "cpu"))
    return pool.weights_bytes("base", "cpu") - weights + sum(pool.task_bytes("base", "cpu", each) for each in lengths)


@pytest.mark.parametrize("lengths", [[60.0], [20.0] * 4, [300.0] * 16])
@pytest.mark.parametrize("factor", [0.6, 1.0, 3.0])
def test_measurements_take_the_calibration_factors_place_with_a_margin(lengths: list[float], factor: float) -> None:
    pool = MemoryEstimationPool(2.0)
    concurrent = ConcurrentTasks.of(lengths)
    teach(pool, concurrent, factor)
    grown = factor * costs_formula(model_info("base"), "cpu").growth(concurrent)
    assert measurements(pool) == FEW_MEASUREMENTS
    assert 0.999 * grown < estimated(pool, lengths) < 1.25 * grown


def test_the_calibration_factor_holds_while_there_are_few_measurements() -> None:
    pool = MemoryEstimationPool(2.0)
    before = estimated(pool, [60.0])
    teach(pool, ONE_MINUTE, 1.0, FEW_MEASUREMENTS - 1)
    assert estimated(pool, [60.0]) == pytest.approx(before, rel=0.01)
    assert measurements(pool) == FEW_MEASUREMENTS - 1


def test_a_few_measurements_raise_what_is_reserved_and_do_not_lower_it() -> None:
    """Bursts of one and two, as they come first, say little of a burst of eight."""
    pool = MemoryEstimationPool(1.2)
    before = estimated(pool, [60.0] * 8)
    teach(pool, ONE_MINUTE, 0.5, FEW_MEASUREMENTS - 1)
    assert estimated(pool, [60.0] * 8) == before
    teach(pool, ONE_MINUTE, 0.5, 1)
    assert estimated(pool, [60.0] * 8) < 0.8 * before
    other = MemoryEstimationPool(1.2)
    teach(other, ONE_MINUTE, 2.0, FEW_MEASUREMENTS - 1)
    assert estimated(other, [60.0] * 8) > 1.2 * before


def test_different_numbers_of_tasks_tell_the_shared_part_from_each_tasks_own() -> None:
    pool = MemoryEstimationPool(1.0)
    formula = costs_formula(model_info("base"), "cpu")
    for count in (1, 4, 16) * 5:
        concurrent = ConcurrentTasks.of([60.0] * count)
        grown = 2 * formula.shared + 0.7 * (formula.growth(concurrent) - formula.shared)
        pool.record("base", "cpu", concurrent, peak_bytes=int(grown / count))
    shared = pool.weights_bytes("base", "cpu") - weights_formula(model_info("base"), "cpu")
    assert shared == pytest.approx(1.05 * 2 * formula.shared, rel=0.05)
    assert pool.task_bytes("base", "cpu", 60.0) == pytest.approx(1.05 * 0.7 * formula.own(60.0), rel=0.05)


def test_the_pass_for_word_timestamps_is_in_the_estimate_of_each_task_that_needs_it() -> None:
    pool = MemoryEstimationPool(1.0)
    teach(pool, ONE_MINUTE, 1.5, word_timestamps=True)
    needed = 1.5 * costs_formula(model_info("base"), "cpu", word_timestamps=True).growth(ONE_MINUTE)
    workspace = pool.weights_bytes("base", "cpu") - weights_formula(model_info("base"), "cpu")
    assert needed < workspace + pool.task_bytes("base", "cpu", 60.0, word_timestamps=True) < 1.2 * needed


def test_a_measurement_of_one_kind_of_work_says_nothing_about_another() -> None:
    pool = MemoryEstimationPool(1.2)
    kinds: list[tuple[str, DeviceKind, bool]] = [("base", "cuda", False), ("small", "cpu", False)]
    before = [pool.task_bytes(model, kind, 60.0, words) for model, kind, words in kinds]
    teach(pool, ONE_MINUTE, 5.0)
    assert [pool.task_bytes(model, kind, 60.0, words) for model, kind, words in kinds] == before


def test_of_several_titles_of_one_kind_the_largest_holds() -> None:
    pool = MemoryEstimationPool(1.0)
    pool.add_device("cuda:0", "cuda", "H100")
    pool.add_device("cuda:1", "cuda", "H200")
    formula = costs_formula(model_info("base"), "cuda").growth(ONE_MINUTE)
    for _ in range(FEW_MEASUREMENTS):
        pool.record("base", "cuda", ONE_MINUTE, peak_bytes=int(formula), device="cuda:0")
    one = total_bytes(pool, "base", "cuda", 60.0)
    for _ in range(FEW_MEASUREMENTS):
        pool.record("base", "cuda", ONE_MINUTE, peak_bytes=int(2 * formula), device="cuda:1")
    assert total_bytes(pool, "base", "cuda", 60.0) - one == pytest.approx(1.05 * formula, rel=0.05)
    assert [row["device"] for row in pool.accuracy()] == ["H100", "H200"]


def test_low_measurements_leave_every_task_half_a_slot_at_least() -> None:
    pool = MemoryEstimationPool(1.2)
    for _ in range(100):
        pool.record("base", "cpu", ONE_MINUTE, peak_bytes=1)
    assert pool.task_bytes("base", "cpu", 60.0) >= 0.49 * costs_formula(model_info("base"), "cpu").per_task


def test_one_odd_measurement_changes_little() -> None:
    pool = MemoryEstimationPool(1.2)
    teach(pool, ONE_MINUTE, 1.0, 20)
    before = estimated(pool, [60.0])
    teach(pool, ONE_MINUTE, 10.0, 1)
    assert estimated(pool, [60.0]) < 1.1 * before


def test_the_error_is_of_predictions_made_before_the_measurement() -> None:
    pool = MemoryEstimationPool(1.2)
    pool.add_device("cpu", "cpu", "CPU, 2 threads")
    teach(pool, ONE_MINUTE, 2.0, 1, device="cpu", reserved_bytes=700)
    (row,) = pool.accuracy()
    measured = int(2 * costs_formula(model_info("base"), "cpu").growth(ONE_MINUTE))
    assert row == {
        "device": "CPU, 2 threads",
        "model": "base",
        "count": 1,
        "median_error": 0.5,
        "is_calibrated": False,
        "margin": pytest.approx(0.2),
        "last": {
            "predicted": pytest.approx(measured / 2, rel=0.001),
            "reserved": 700 + ceil(1.2 * workspace_formula(model_info("base"), "cpu")),
            "measured": measured,
        },
    }
    teach(pool, ONE_MINUTE, 2.0, 20)
    (row,) = pool.accuracy()
    assert (row["count"], row["is_calibrated"]) == (21, True)
    assert row["median_error"] < 0.02


def test_tasks_with_and_without_word_timestamps_are_one_row() -> None:
    pool = MemoryEstimationPool(1.2)
    teach(pool, ONE_MINUTE, 1.0, 6)
    teach(pool, ONE_MINUTE, 1.0, 2, word_timestamps=True)
    (row,) = pool.accuracy()
    assert (row["count"], row["is_calibrated"]) == (8, True)


# --- what a model holds with its slots --------------------------------------------------------------------------------


def test_what_a_model_holds_is_promised_with_it_and_multiplied_like_the_rest() -> None:
    pool, info = MemoryEstimationPool(1.5), model_info("turbo")
    for slots in (1, 8, 64):
        assert pool.held_bytes("turbo", "cuda", slots) == ceil(1.5 * held_formula(info, "cuda", slots))
        promised = 1.5 * (weights_formula(info, "cuda") + workspace_formula(info, "cuda")) + 1.5 * held_formula(
            info, "cuda", slots
        )
        assert pool.weights_bytes("turbo", "cuda", slots) == pytest.approx(promised, abs=3)
    assert pool.weights_bytes("turbo", "cuda") == pool.weights_bytes("turbo", "cuda", 1)
    assert pool.weights_bytes("turbo", "cuda", 0) == pool.weights_bytes("turbo", "cuda", 64)  # as many as there can be
    assert {pool.held_bytes("turbo", "cpu", slots) for slots in (0, 1, 64)} == {0}


def test_what_is_learned_of_tasks_and_weights_leaves_what_is_held_alone() -> None:
    """Measurements begin when it is held, so they are of what comes on top of it."""
    pool, info = MemoryEstimationPool(1.2), model_info("base")
    held = [pool.held_bytes("base", "cuda", slots) for slots in (1, 64)]
    prior = costs_formula(info, "cuda")
    for period, count in enumerate((1, 4, 16) * 5, 1):
        concurrent = ConcurrentTasks.of([60.0] * count, period)
        pool.record("base", "cuda", concurrent, peak_bytes=int(2 * prior.growth(concurrent) / count))
    pool.record_weights("base", "cuda", 200 * MIB)
    assert [pool.held_bytes("base", "cuda", slots) for slots in (1, 64)] == held
    shared = pool.weights_bytes("base", "cuda", 64) - held[1] - 200 * MIB - weights_formula(info, "cuda") // 20
    assert shared == pytest.approx(1.05 * 2 * prior.shared, rel=0.05)
    assert pool.task_bytes("base", "cuda", 60.0) == pytest.approx(1.05 * 2 * prior.own(60.0), rel=0.05)


def test_tasks_that_seem_to_take_nothing_take_back_nothing_of_what_is_held() -> None:
    pool = MemoryEstimationPool(1.2)
    before = pool.weights_bytes("turbo", "cuda", 8)
    for period in range(1, 50):
        pool.record("turbo", "cuda", ConcurrentTasks.of([60.0], period), peak_bytes=1)
    shared = ceil(1.2 * workspace_formula(model_info("turbo"), "cuda"))
    assert before - shared <= pool.weights_bytes("turbo", "cuda", 8) < before


# --- odd values ------------------------------------------------------------------------------------------------------


def test_measured_weights_take_the_formulas_place() -> None:
    pool = MemoryEstimationPool(2.0)
    held = 560 * MIB
    pool.record_weights("base", "cpu", held)
    assert held < pool.weights_bytes("base", "cpu") - 2 * workspace_formula(model_info("base"), "cpu") < 1.06 * held


@pytest.mark.parametrize("nonsense", [0, -1])
def test_what_was_not_measured_is_ignored(nonsense: int) -> None:
    pool = MemoryEstimationPool(1.2)
    before = total_bytes(pool, "base", "cpu", 60.0)
    pool.record("base", "cpu", ONE_MINUTE, peak_bytes=nonsense)
    pool.record_weights("base", "cpu", nonsense)
    assert total_bytes(pool, "base", "cpu", 60.0) == before
    assert pool.accuracy() == []


def test_weights_are_never_taken_for_a_fraction_of_the_model() -> None:
    pool = MemoryEstimationPool(1.2)
    pool.record_weights("base", "cpu", 1)
    assert pool.weights_bytes("base", "cpu") >= weights_formula(model_info("base"), "cpu") // 2


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownModelError):
        MemoryEstimationPool(1.2).task_bytes("enormous", "cpu", 60.0)


def test_a_calibration_factor_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.5"):
        MemoryEstimationPool(0.5)


def test_records_and_estimates_from_many_threads_do_not_disturb_each_other() -> None:
    pool = MemoryEstimationPool(1.2)
    peak = int(formula("base", "cpu", 60.0))
    barrier = Barrier(8)
    seen: list[int] = []

    def work() -> None:
        barrier.wait(timeout=30)
        for _ in range(10):
            pool.record("base", "cpu", ONE_MINUTE, peak_bytes=peak)
            pool.record_out_of_memory("base", "cpu", 60.0, True, 1)
            seen.append(pool.task_bytes("base", "cpu", 60.0))
            pool.accuracy()
            pool.relieve()

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(seen) == 80
    assert [row["count"] for row in pool.accuracy()] == [80]
    assert pool.task_bytes("base", "cpu", 60.0) == pytest.approx(1.05 * own("base", "cpu", 60.0), rel=0.01)


def test_what_was_learned_of_a_model_is_forgotten_when_its_files_are_others(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine")
    registry = ModelRegistry(tmp_path)
    pool = MemoryEstimationPool(1.5, registry)
    registry.add_listener(pool.forget)
    registry.models()
    at_first = pool.weights_bytes("mine", "cpu"), pool.task_bytes("mine", "cpu", 60.0)
    pool.record_weights("mine", "cpu", 7_000_000_000)
    pool.record_out_of_memory("mine", "cpu", 60.0, word_timestamps=False, reserved_bytes=at_first[1])
    learned = pool.weights_bytes("mine", "cpu"), pool.task_bytes("mine", "cpu", 60.0)
    assert learned > at_first
    registry.models()
    assert (pool.weights_bytes("mine", "cpu"), pool.task_bytes("mine", "cpu", 60.0)) == learned
    os.utime(tmp_path / "mine" / "config.json", ns=(1, 1))
    registry.models()
    assert (pool.weights_bytes("mine", "cpu"), pool.task_bytes("mine", "cpu", 60.0)) == at_first


def test_a_model_that_is_gone_has_estimates_so_that_others_can_be_planned(tmp_path: Path) -> None:
    pool = MemoryEstimationPool(1.5, ModelRegistry(tmp_path))
    assert pool.weights_bytes("gone", "cpu") == pool.weights_bytes("large-v3", "cpu")
    assert pool.task_bytes("gone-int8", "cpu", 60.0) == pool.task_bytes("large-v3-int8", "cpu", 60.0)
