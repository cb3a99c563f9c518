"""Estimates: the formula against measurements of the real thing, and how measurements move it."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UnknownModelError
from optimizer.memory_estimation import MemoryEstimationPool
from optimizer.memory_formula import slot_bytes, task_formula, weights_formula, workspace_formula
from whisper_core.models import MODEL_NAMES, model_info

MIB = 2**20
GB = 1_000_000_000

# Of the reference engine, which runs one task at a time. Growth of resident memory at its peak, openai-whisper 20250625
# with random weights, torch 2.13, 2 cores: a window with the longest prompt (and 224 sampled tokens, small 40); the
# pass for word timestamps with 220 tokens.
MEASURED_ON_CPU = {"tiny": (168 * MIB, 401 * MIB), "base": (193 * MIB, 524 * MIB), "small": (260 * MIB, 688 * MIB)}


@pytest.mark.parametrize("model", MEASURED_ON_CPU)
def test_the_formula_is_above_what_a_task_takes_and_below_twice_that(model: str) -> None:
    peak, _ = MEASURED_ON_CPU[model]
    assert peak < task_formula(model, "cpu", 30.0) + workspace_formula(model, "cpu") < 2 * peak


@pytest.mark.parametrize("model", MEASURED_ON_CPU)
def test_the_formula_for_word_timestamps_is_above_what_they_take_and_below_twice_that(model: str) -> None:
    _, peak = MEASURED_ON_CPU[model]
    formula = task_formula(model, "cpu", 30.0, word_timestamps=True) + workspace_formula(model, "cpu")
    assert peak < formula < 2 * peak


@pytest.mark.parametrize(
    ("model", "cross_mb", "self_mb"),
    [("tiny", 9.2, 2.8), ("base", 18.4, 5.5), ("small", 55, 16.5), ("medium", 147, 44), ("large-v3", 246, 73),
     ("turbo", 31, 9.2)],
)  # fmt: skip
def test_a_slot_holds_the_keys_and_values_of_a_window(model: str, cross_mb: float, self_mb: float) -> None:
    assert slot_bytes(model_info(model).dimensions, "cuda") == pytest.approx((cross_mb + self_mb) * 1e6, rel=0.01)


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_a_task_is_promised_its_slot_and_little_else(model: str) -> None:
    """What several tasks share is promised once, with the model, however many there are."""
    dims = model_info(model).dimensions
    for kind in ("cpu", "cuda"):
        slot = slot_bytes(dims, kind)
        assert slot < task_formula(model, kind, 30.0) <= 2 * slot + 10_000_000


@pytest.mark.parametrize(("count", "grown_mb"), [(1, 129), (8, 245)])
def test_the_formula_is_above_what_the_batch_engine_took(count: int, grown_mb: int) -> None:
    """Growth of resident memory with so many tasks at once, tiny.en on 2 cores, torch 2.13."""
    formula = workspace_formula("tiny.en", "cpu") + count * task_formula("tiny.en", "cpu", 68.0)
    assert grown_mb * 1e6 < formula < 2 * grown_mb * 1e6


@pytest.mark.parametrize(("model", "grown_by"), [("tiny", 154 * MIB), ("base", 287 * MIB), ("small", 933 * MIB)])
def test_the_weights_formula_is_what_loading_takes_and_the_decoders_second_layout(model: str, grown_by: int) -> None:
    """grown_by: of upstream's model alone. The second layout has the MLP, six other matrices and the vocabulary, which
    lies there twice."""
    dims = model_info(model).dimensions
    anew = 4 * (14 * dims.n_text_layer * dims.n_text_state**2 + 2 * dims.n_vocab * dims.n_text_state)
    assert grown_by < weights_formula(model, "cpu") - anew < 1.1 * grown_by


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_a_gpu_holds_little_more_than_the_published_fp16_file(model: str) -> None:
    """Matrices are in fp16 as in the file; embeddings, norms and the position table stay in fp32. Once more there are
    the vocabulary in fp16 and the fused queries, keys and values."""
    published = model_info(model).size_bytes
    assert published < weights_formula(model, "cuda") < 1.3 * published + 128_000_000


def test_the_estimates_stay_far_below_the_published_table() -> None:
    """Those figures (10 GB for large) are of one task; here it is one of up to 64 that share a workspace."""
    estimate = MemoryEstimationPool(1.2).estimate("large-v3", "cuda", 3600.0)
    assert estimate.total < 7.5 * GB
    assert estimate.task < 0.8 * GB


def test_a_larger_model_takes_more() -> None:
    sizes = [task_formula(model, "cuda", 60.0) for model in ("tiny", "base", "small", "medium", "large-v3")]
    assert sizes == sorted(set(sizes))


@given(
    model=st.sampled_from(MODEL_NAMES),
    kind=st.sampled_from(["cpu", "cuda"]),
    words=st.booleans(),
    lengths=st.lists(st.floats(0, 1e6), min_size=2, max_size=2).map(sorted),
)
def test_a_longer_recording_never_needs_less(model: str, kind: str, words: bool, lengths: list[float]) -> None:
    pool = MemoryEstimationPool(1.2)
    pool.record(model, kind, 60.0, peak_bytes=300 * MIB, word_timestamps=words)
    shorter, longer = (pool.task_bytes(model, kind, seconds, words) for seconds in lengths)
    assert 0 < shorter <= longer


def test_the_calibration_factor_multiplies_what_was_never_measured() -> None:
    pool = MemoryEstimationPool(1.5)
    assert pool.task_bytes("base", "cpu", 60.0) == int(1.5 * task_formula("base", "cpu", 60.0))
    expected = int(1.5 * weights_formula("base", "cpu")) + int(1.5 * workspace_formula("base", "cpu"))
    assert pool.weights_bytes("base", "cpu") == expected
    assert not pool.estimate("base", "cpu", 60.0).is_measured


def test_a_measurement_takes_the_calibration_factors_place_with_a_margin() -> None:
    pool = MemoryEstimationPool(2.0)
    own = task_formula("base", "cpu", 60.0)
    pool.record("base", "cpu", 60.0, peak_bytes=own + workspace_formula("base", "cpu"))
    assert pool.estimate("base", "cpu", 60.0).is_measured
    assert own < pool.task_bytes("base", "cpu", 60.0) < 1.2 * own


@pytest.mark.parametrize("side_by_side", [1, 2, 8])
def test_what_tasks_share_is_not_counted_as_each_ones_own(side_by_side: int) -> None:
    """peak_bytes is the growth of all of them, divided by their number."""
    pool = MemoryEstimationPool(1.2)
    own = 2 * task_formula("base", "cpu", 60.0)
    peak = own + workspace_formula("base", "cpu") // side_by_side
    pool.record("base", "cpu", 60.0, peak_bytes=peak, side_by_side=side_by_side)
    assert pool.task_bytes("base", "cpu", 60.0) == pytest.approx(1.15 * own, rel=0.001)


@given(
    model=st.sampled_from(MODEL_NAMES),
    kind=st.sampled_from(["cpu", "cuda"]),
    count=st.integers(1, 64),
    factor=st.floats(0.1, 5.0),
)
def test_after_a_measurement_what_is_promised_in_all_covers_what_was_used_in_all(
    model: str, kind: str, count: int, factor: float
) -> None:
    pool = MemoryEstimationPool(1.2)
    grown = int(factor * (workspace_formula(model, kind) + count * task_formula(model, kind, 60.0)))
    pool.record(model, kind, 60.0, peak_bytes=grown // count, side_by_side=count)
    assert workspace_formula(model, kind) + count * (pool.task_bytes(model, kind, 60.0) + 2) >= grown


def test_a_measurement_of_one_kind_of_work_says_nothing_about_another() -> None:
    pool = MemoryEstimationPool(1.2)
    others = [("base", "cpu", True), ("base", "cuda", False), ("small", "cpu", False)]
    before = [pool.task_bytes(model, kind, 60.0, words) for model, kind, words in others]
    pool.record("base", "cpu", 60.0, peak_bytes=5 * GB)
    assert [pool.task_bytes(model, kind, 60.0, words) for model, kind, words in others] == before


def test_the_largest_recent_measurement_decides() -> None:
    pool = MemoryEstimationPool(1.2)
    high = 2 * (task_formula("base", "cuda", 60.0) + workspace_formula("base", "cuda"))
    for peak in (high, high // 4, high // 8):
        pool.record("base", "cuda", 60.0, peak_bytes=peak)
    assert pool.task_bytes("base", "cuda", 60.0) > high - workspace_formula("base", "cuda")


def test_an_odd_measurement_is_forgotten_after_enough_ordinary_ones() -> None:
    pool = MemoryEstimationPool(1.2)
    formula = task_formula("base", "cuda", 60.0)
    pool.record("base", "cuda", 60.0, peak_bytes=10 * formula)
    for _ in range(32):
        pool.record("base", "cuda", 60.0, peak_bytes=formula)
    assert pool.task_bytes("base", "cuda", 60.0) < 2 * formula


def test_low_measurements_lower_an_estimate_only_so_far() -> None:
    """On the CPU a task reuses what an earlier one left with the allocator, so its own growth can be almost nothing."""
    pool = MemoryEstimationPool(1.2)
    for _ in range(100):
        pool.record("base", "cpu", 60.0, peak_bytes=1)
    assert pool.task_bytes("base", "cpu", 60.0) >= 0.69 * task_formula("base", "cpu", 60.0)


def test_measured_weights_take_the_formulas_place() -> None:
    pool = MemoryEstimationPool(2.0)
    held = 560 * MIB
    pool.record_weights("base", "cpu", held)
    assert held < pool.weights_bytes("base", "cpu") - 2 * workspace_formula("base", "cpu") < 1.06 * held


@pytest.mark.parametrize("nonsense", [0, -1])
def test_what_was_not_measured_is_ignored(nonsense: int) -> None:
    pool = MemoryEstimationPool(1.2)
    before = pool.estimate("base", "cpu", 60.0)
    pool.record("base", "cpu", 60.0, peak_bytes=nonsense)
    pool.record_weights("base", "cpu", nonsense)
    assert pool.estimate("base", "cpu", 60.0) == before


def test_weights_are_never_taken_for_a_fraction_of_the_model() -> None:
    pool = MemoryEstimationPool(1.2)
    pool.record_weights("base", "cpu", 1)
    assert pool.weights_bytes("base", "cpu") >= weights_formula("base", "cpu") // 2


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownModelError):
        MemoryEstimationPool(1.2).task_bytes("enormous", "cpu", 60.0)


def test_a_calibration_factor_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.5"):
        MemoryEstimationPool(0.5)


def test_records_and_estimates_from_many_threads_do_not_disturb_each_other() -> None:
    pool = MemoryEstimationPool(1.2)
    formula = task_formula("base", "cpu", 60.0)
    barrier = Barrier(8)
    seen: list[int] = []

    def work() -> None:
        barrier.wait(timeout=30)
        for _ in range(100):
            pool.record("base", "cpu", 60.0, peak_bytes=formula)
            seen.append(pool.task_bytes("base", "cpu", 60.0))

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(seen) == 800
    assert set(seen) == {pool.task_bytes("base", "cpu", 60.0)}
