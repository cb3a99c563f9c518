"""The regression: on made-up figures with noise and outliers, and what it must never do."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.memory.costs import ConcurrentTasks, Costs
from optimizer.memory.formula import costs_formula
from optimizer.memory.regression import FEW_MEASUREMENTS, HALF_LIFE, KEPT_PER_SIZE, Calibration
from whisper_core.models.catalogue import model_info

PRIOR = costs_formula(model_info("base"), "cpu")
PRIORS = {
    "cpu": PRIOR,
    "cuda": costs_formula(model_info("base"), "cuda"),
    "cuda, slots not held": costs_formula(model_info("base"), "cuda", holds_slots=False),
}
ONE = ConcurrentTasks.of([60.0])

Sizes = Callable[[random.Random], int]
SIZES: dict[str, Sizes] = {
    "one at a time": lambda choose: 1,
    "one to eight": lambda choose: choose.randint(1, 8),
    "always sixteen": lambda choose: 16,
}
# What tasks really take, as multiples of the formula's parts; the third is bytes per second of sound, in proportion to
# what a task takes by the formula beside one on the CPU.
TRUTHS = {
    "larger slots, smaller workspace": (0.6, 1.5, 20_000, 2.0),
    "half of everything": (0.4, 0.5, 0, 0.5),
    "twice everything": (2.0, 2.0, 0, 1.0),
    "samples held in memory": (1.0, 0.3, 100_000, 1.0),
}


def truth_of(prior: Costs, name: str) -> Costs:
    shared, per_task, per_second, per_longer = TRUTHS[name]
    seconds = per_second * prior.per_task / PRIOR.per_task
    return Costs(prior.shared * shared, prior.per_task * per_task, seconds, prior.per_longer * per_longer)


def errors_of_forecasts(prior: Costs, truth: Costs, sizes: Sizes, seed: int, tasks: int) -> list[float]:
    """One task after the other: what was predicted, compared with what was then measured.

    Lengths are log-normal; a measurement is off by 7 %, and one in ten is a blunder, by three times either way.
    """
    choose, calibration, errors = random.Random(seed), Calibration(prior), []
    for _ in range(tasks):
        concurrent = ConcurrentTasks.of([choose.lognormvariate(4.0, 1.2) for _ in range(sizes(choose))])
        measured = truth.growth(concurrent) * choose.lognormvariate(0, 0.07)
        if choose.random() < 0.1:
            measured *= choose.choice((1 / 3, 3.0))
        errors.append(abs(calibration.costs.growth(concurrent) / measured - 1))
        calibration.add(concurrent, measured)
    return errors


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("kind", PRIORS)
def test_after_twenty_tasks_the_median_error_is_below_a_tenth(name: str, kind: str, sizes: str) -> None:
    """In six runs of forty tasks; the outliers themselves cannot be predicted."""
    prior = PRIORS[kind]
    truth = truth_of(prior, name)
    later = [
        error for seed in range(6) for error in errors_of_forecasts(prior, truth, SIZES[sizes], seed, tasks=40)[20:]
    ]
    assert median(later) < 0.1


def test_a_formula_that_was_right_all_along_stays() -> None:
    calibration = Calibration(PRIOR)
    for count in (1, 2, 4, 8, 16) * 4:
        concurrent = ConcurrentTasks.of([90.0] * count)
        calibration.add(concurrent, PRIOR.growth(concurrent))
    assert calibration.costs == pytest.approx(PRIOR, rel=1e-6)
    assert calibration.margin == pytest.approx(0.05 + 0.15 / 20)


def test_the_parts_are_found_when_sizes_and_lengths_differ() -> None:
    calibration, choose = Calibration(PRIOR), random.Random(5)
    truth = Costs(0.5 * PRIOR.shared, 1.4 * PRIOR.per_task, 30_000.0, 1.5 * PRIOR.per_longer)
    for _ in range(100):
        concurrent = ConcurrentTasks.of([choose.lognormvariate(4.0, 1.2) for _ in range(choose.randint(1, 16))])
        calibration.add(concurrent, truth.growth(concurrent))
    assert calibration.costs == pytest.approx(truth, rel=0.1)


def test_equal_measurements_divide_the_growth_as_the_formula_does_and_predict_it_exactly() -> None:
    calibration = Calibration(PRIOR)
    for _ in range(30):
        calibration.add(ONE, 2 * PRIOR.growth(ONE))
    assert calibration.costs.growth(ONE) == pytest.approx(2 * PRIOR.growth(ONE), rel=0.02)
    eight = ConcurrentTasks.of([60.0] * 8)
    assert 0.7 < calibration.costs.growth(eight) / (2 * PRIOR.growth(eight)) < 1.1


def test_a_formula_that_is_wrong_by_three_is_left_behind_at_once() -> None:
    calibration = Calibration(PRIOR)
    for _ in range(FEW_MEASUREMENTS):
        calibration.add(ONE, 3 * PRIOR.growth(ONE))
    assert calibration.costs.growth(ONE) == pytest.approx(3 * PRIOR.growth(ONE), rel=0.05)


def test_a_burst_is_one_measurement_of_those_that_the_margin_is_taken_from() -> None:
    """All its tasks are above their reservations together, so they say as little of the error as one task does."""
    calibration, burst = Calibration(PRIOR), [60.0] * 8
    for period in range(1, FEW_MEASUREMENTS + 1):
        assert not calibration.is_calibrated
        for _ in burst:
            calibration.add(ConcurrentTasks.of(burst, period), PRIOR.growth(ConcurrentTasks.of(burst)))
    assert calibration.is_calibrated
    assert calibration.count == len(burst) * FEW_MEASUREMENTS


def test_a_busy_period_that_grows_is_one_measurement_too() -> None:
    calibration = Calibration(PRIOR)
    for tasks in (1, 2, 4, 8, 16):
        concurrent = ConcurrentTasks.of([60.0] * tasks, period=1)
        calibration.add(concurrent, PRIOR.growth(concurrent))
    assert not calibration.is_calibrated


def test_of_one_busy_period_the_last_measurement_counts_and_it_counts_once() -> None:
    """Within it the peak never falls, so earlier figures are of the same peak or of a lower one."""
    calibration = Calibration(PRIOR)
    for share in (0.2, 0.5, 1.0, 1.0, 1.0, 1.0):
        calibration.add(ConcurrentTasks.of([60.0], period=1), share * PRIOR.growth(ONE))
    assert calibration.costs.growth(ONE) == pytest.approx(PRIOR.growth(ONE), rel=0.001)
    assert calibration.count == 6
    assert len(calibration.to_json()) == 1
    calibration.add(ConcurrentTasks.of([60.0], period=2), PRIOR.growth(ONE))
    assert len(calibration.to_json()) == 2


def test_the_same_peak_of_a_busy_period_again_changes_nothing() -> None:
    calibration = Calibration(PRIOR)
    calibration.add(ConcurrentTasks.of([60.0, 60.0], period=1), 2 * PRIOR.growth(ONE))
    calibration.add(ConcurrentTasks.of([60.0], period=2), 1.5 * PRIOR.growth(ONE))
    learned = (calibration.costs, calibration.margin)
    for _ in range(50):
        calibration.add(ConcurrentTasks.of([60.0], period=2), 1.5 * PRIOR.growth(ONE))
    assert (calibration.costs, calibration.margin) == learned
    calibration.add(ConcurrentTasks.of([60.0], period=2), 1.6 * PRIOR.growth(ONE))
    assert calibration.costs.growth(ONE) > learned[0].growth(ONE)


def test_the_fewer_measurements_the_wider_the_margin() -> None:
    calibration, margins = Calibration(PRIOR), []
    for _ in range(5):
        calibration.add(ONE, PRIOR.growth(ONE))
        margins.append(calibration.margin)
    assert margins == pytest.approx([0.2, 0.125, 0.1, 0.0875, 0.08])


def test_old_measurements_are_forgotten_slowly() -> None:
    """After three half-lives new measurements decide, although those of another number of tasks are still kept."""
    calibration, small = Calibration(PRIOR), ConcurrentTasks.of([60.0])
    large = ConcurrentTasks.of([60.0] * 16)
    for _ in range(KEPT_PER_SIZE):
        calibration.add(small, PRIOR.growth(small))
    for _ in range(3 * HALF_LIFE):
        calibration.add(large, 2 * PRIOR.growth(large))
    assert calibration.costs.growth(large) == pytest.approx(2 * PRIOR.growth(large), rel=0.02)
    for _ in range(KEPT_PER_SIZE):
        calibration.add(small, 3 * PRIOR.growth(small))
    assert calibration.costs.growth(small) == pytest.approx(3 * PRIOR.growth(small), rel=0.1)


def test_the_margin_covers_nearly_all_that_was_measured() -> None:
    calibration, choose = Calibration(PRIOR), random.Random(3)
    for _ in range(KEPT_PER_SIZE):
        calibration.add(ONE, PRIOR.growth(ONE) * choose.lognormvariate(0, 0.2))
    assert 0.15 < calibration.margin < 0.5


MEASUREMENTS = st.lists(
    st.tuples(st.lists(st.floats(0, 20_000), min_size=1, max_size=20), st.floats(1, 1e12)), max_size=12
)


@given(measurements=MEASUREMENTS, lengths=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)).map(sorted))
def test_whatever_is_measured_no_part_is_negative_and_longer_never_means_less(
    measurements: list[tuple[list[float], float]], lengths: list[float]
) -> None:
    calibration = Calibration(PRIOR)
    for seconds, growth in measurements:
        calibration.add(ConcurrentTasks.of(seconds), growth)
    assert all(0 <= cost < 1e15 for cost in calibration.costs)
    assert 0.05 <= calibration.margin <= 0.5
    shorter, longer = (calibration.costs.own(seconds) for seconds in lengths)
    assert shorter <= longer


@given(measurements=MEASUREMENTS)
def test_a_restored_calibration_gives_the_same_again(measurements: list[tuple[list[float], float]]) -> None:
    calibration, again = Calibration(PRIOR), Calibration(PRIOR)
    for seconds, growth in measurements:
        calibration.add(ConcurrentTasks.of([round(each) for each in seconds]), growth)
    again.restore(calibration.to_json())
    assert again.count == calibration.count
    assert again.to_json() == calibration.to_json()
