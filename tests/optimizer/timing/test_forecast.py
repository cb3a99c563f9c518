"""The queue played forward, and how far such forecasts turn out to be off."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from optimizer.common.kinds import AUTO_DEVICE
from optimizer.timing.forecast import Expected, Places, forecast
from optimizer.timing.forecast_accuracy import ENOUGH, ForecastTracker, Interval
from optimizer.timing.speeds import SpeedTable


class Waiting(NamedTuple):
    id: str
    model: str
    audio_left_seconds: float
    device: str = AUTO_DEVICE


def speeds() -> SpeedTable:
    """base runs 10 times as fast as the sound plays on the CPU, 20 times on the card, at any concurrency."""
    book = SpeedTable()
    book.load({"cpu": {"base": 10.0}, "cuda:0": {"base": 20.0}})
    return book


def played(
    waiting: list[Waiting], *places: Places, most_running: int = 8, **load_seconds: float
) -> dict[str, Expected]:
    return forecast(waiting, places, speeds(), most_running=most_running, load_seconds=load_seconds)


def test_a_task_begins_when_a_place_is_free_and_ends_when_its_work_is_done() -> None:
    busy = Places("cpu", 1, [("base", 50.0)])
    assert played([Waiting("a", "base", 100.0), Waiting("b", "base", 30.0)], busy) == {
        "a": Expected(5.0, 15.0),
        "b": Expected(15.0, 18.0),
    }


def test_free_places_are_taken_at_once_up_to_the_limit() -> None:
    waiting = [Waiting(name, "base", 100.0) for name in "abc"]
    starts = {name: each.start for name, each in played(waiting, Places("cpu", 4), most_running=2).items()}
    assert starts == {"a": 0.0, "b": 0.0, "c": 10.0}


def test_tasks_that_begin_together_take_longer_than_one_was_measured_to_take() -> None:
    """Eight begin beside one that runs; the ninth place stays free."""
    book = SpeedTable()
    book.record("base", "cpu", 30.0, 3.0)
    waiting = [Waiting(str(number), "base", 100.0) for number in range(8)]
    places = [Places("cpu", 16, [("base", 50.0)])]
    found = forecast(waiting, places, book, most_running=16, load_seconds={})
    assert [each.end for each in found.values()] == pytest.approx([10.0 * 9**0.7] * 8)


def test_each_device_works_at_its_own_speed() -> None:
    found = played(
        [Waiting("a", "base", 100.0, "cuda:0"), Waiting("b", "base", 100.0, "cpu")],
        Places("cpu", 1),
        Places("cuda:0", 1),
    )
    assert found == {"a": Expected(0.0, 5.0), "b": Expected(0.0, 10.0)}


def test_a_task_for_a_device_that_is_not_there_has_no_forecast() -> None:
    assert played([Waiting("a", "base", 100.0, "cuda:7"), Waiting("b", "base", 40.0)], Places("cpu", 1)) == {
        "b": Expected(0.0, 4.0)
    }


def test_a_model_that_was_never_measured_has_no_forecast_and_holds_up_none() -> None:
    assert played([Waiting("a", "small", 100.0), Waiting("b", "base", 40.0)], Places("cpu", 1)) == {
        "b": Expected(0.0, 4.0)
    }


def test_the_first_task_of_a_model_that_is_not_loaded_waits_for_it() -> None:
    waiting = [Waiting("a", "base", 40.0), Waiting("b", "base", 40.0)]
    assert played(waiting, Places("cpu", 1), base=3.0) == {"a": Expected(0.0, 7.0), "b": Expected(7.0, 11.0)}


def test_a_recording_shorter_than_a_window_takes_more_than_its_part_of_one() -> None:
    found = played([Waiting("a", "base", 3.0)], Places("cpu", 1, [("base", 10.0)]))
    assert found["a"].start == 2.0
    assert found["a"].end == pytest.approx(2.0 + 1.65)


def test_without_places_there_is_nothing_to_say() -> None:
    assert played([Waiting("a", "base", 10.0)]) == {}


def test_the_interval_is_a_guess_until_there_are_measurements() -> None:
    assert ForecastTracker().interval(Expected(4.0, 10.0)) == Interval(4.0, 10.0, 5.0, 20.0)


def test_the_interval_follows_how_far_earlier_forecasts_were_off() -> None:
    record = ForecastTracker()
    for number in range(ENOUGH):
        record.record_forecast(f"t{number}", Expected(0.0, 10.0), now=0.0)
        record.record_end(f"t{number}", now=9.0 + 0.1 * number)  # 9.0 to 10.9 s
    interval = record.interval(Expected(0.0, 100.0))
    assert (interval.earliest_end, interval.latest_end) == (pytest.approx(92.0), pytest.approx(107.0))
    accuracy = record.accuracy()
    assert (accuracy.count, accuracy.within_interval) == (ENOUGH, 1.0)
    assert accuracy.median_error_seconds == pytest.approx(0.5, abs=0.06)
    assert accuracy.median_error == pytest.approx(0.05, abs=0.006)


def test_the_first_forecast_of_a_task_counts() -> None:
    record = ForecastTracker()
    record.record_forecast("a", Expected(0.0, 10.0), now=0.0)
    record.record_forecast("a", Expected(0.0, 1.0), now=19.0)
    record.record_end("a", now=20.0)
    assert record.accuracy().median_error_seconds == 10.0


def test_tasks_without_a_forecast_or_called_off_are_not_counted() -> None:
    record = ForecastTracker()
    record.record_forecast("a", Expected(0.0, 10.0), now=0.0)
    record.discard("a")
    record.record_end("a", now=5.0)
    record.record_end("b", now=5.0)
    assert record.accuracy().count == 0


def test_outcomes_outlive_a_restart() -> None:
    record, later = ForecastTracker(), ForecastTracker()
    record.record_forecast("a", Expected(0.0, 10.0), now=0.0)
    record.record_end("a", now=30.0)
    later.load(record.dump())
    assert later.accuracy() == record.accuracy()
