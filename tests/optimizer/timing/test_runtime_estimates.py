"""How long work and loads take: measured where they were, guessed in proportion where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.timing.speeds import SpeedTable
from whisper_core.models.catalogue import model_info
from whisper_core.models.registry import ModelRegistry


def test_work_goes_by_the_fastest_device_that_was_measured() -> None:
    speeds = SpeedTable()
    speeds.record("base", "cpu", 30.0, 6.0)
    speeds.record("base", "cuda:0", 30.0, 1.0)
    assert RuntimeEstimates(speeds).work_seconds("base", 60.0) == pytest.approx(2.0)


def test_a_model_without_a_measurement_is_taken_in_proportion_to_one_with() -> None:
    speeds = SpeedTable()
    speeds.record("base", "cpu", 30.0, 3.0)
    ratio = model_info("small").parameters / model_info("base").parameters
    assert RuntimeEstimates(speeds).work_seconds("small", 60.0) == pytest.approx(6.0 * ratio)


def test_an_int8_model_takes_as_long_as_its_model_until_either_is_measured() -> None:
    speeds = SpeedTable()
    times = RuntimeEstimates(speeds)
    works = [times.work_seconds(model, 60.0) for model in ("tiny", "tiny-int8", "base", "base-int8", "small")]
    assert works == sorted(works)
    assert (works[0], works[2]) == (works[1], works[3])

    speeds.record("base", "cpu", 30.0, 6.0)
    times.refresh()
    assert times.work_seconds("base-int8", 60.0) == pytest.approx(12.0)
    speeds.record("base-int8", "cpu", 30.0, 3.0)
    times.refresh()
    assert times.work_seconds("base-int8", 60.0) == pytest.approx(6.0)
    assert times.work_seconds("base", 60.0) == pytest.approx(12.0)


def test_without_any_measurement_larger_models_still_take_longer() -> None:
    times = RuntimeEstimates(SpeedTable())
    works = [times.work_seconds(model, 60.0) for model in ("tiny", "base", "small", "medium", "large-v3")]
    assert works == sorted(works)
    assert works[0] > 0


def test_what_is_measured_counts_after_a_refresh() -> None:
    speeds = SpeedTable()
    times = RuntimeEstimates(speeds)
    times.work_seconds("base", 60.0)
    speeds.record("base", "cpu", 30.0, 3.0)
    times.refresh()
    assert times.work_seconds("base", 60.0) == pytest.approx(6.0)


def test_a_load_takes_what_it_took_last() -> None:
    times = RuntimeEstimates(SpeedTable())
    assert times.load_seconds("large-v3") > times.load_seconds("tiny") > 0
    times.record_load("tiny", 7.5)
    assert times.load_seconds("tiny") == 7.5


def test_a_model_that_is_gone_has_a_guess_and_its_speed_says_nothing_of_others(tmp_path: Path) -> None:
    speeds, registry = SpeedTable(), ModelRegistry(tmp_path)
    guess = RuntimeEstimates(speeds, registry).work_seconds("base", 60.0)
    speeds.record("gone", "cpu", 300.0, 1.0)
    times = RuntimeEstimates(speeds, registry)
    assert times.work_seconds("base", 60.0) == guess
    assert times.load_seconds("lost") == times.load_seconds("large-v3") > 0
    speeds.forget("gone")
    assert times.work_seconds("gone", 60.0) == times.work_seconds("large-v3", 60.0)
