"""Measured speeds and the forecasts made from them."""

from __future__ import annotations

import pytest

from optimizer.throughput import SpeedBook


def test_nothing_is_known_before_a_measurement() -> None:
    book = SpeedBook()
    assert book.speed("base", "cpu") is None
    assert book.running_eta("base", "cpu", 60.0) is None


def test_the_first_measurement_is_the_speed() -> None:
    book = SpeedBook()
    book.record("base", "cpu", audio_seconds=30.0, seconds=3.0)
    assert book.speed("base", "cpu") == 10.0
    assert book.speed("base", "cuda:0") is None


def test_newer_measurements_move_the_speed_towards_themselves() -> None:
    book = SpeedBook()
    book.record("base", "cpu", 30.0, 3.0)
    for _ in range(20):
        book.record("base", "cpu", 30.0, 1.5)
    assert book.speed("base", "cpu") == pytest.approx(20.0, rel=0.01)


def test_one_odd_short_measurement_changes_little() -> None:
    book = SpeedBook()
    book.record("base", "cpu", 30.0, 3.0)
    book.record("base", "cpu", 0.5, 5.0)
    speed = book.speed("base", "cpu")
    assert speed is not None
    assert 9.9 < speed < 10.0


@pytest.mark.parametrize(("audio_seconds", "seconds"), [(0.0, 1.0), (30.0, 0.0), (-1.0, 1.0)])
def test_a_measurement_of_nothing_is_ignored(audio_seconds: float, seconds: float) -> None:
    book = SpeedBook()
    book.record("base", "cpu", audio_seconds, seconds)
    assert book.speed("base", "cpu") is None


def test_a_running_task_is_done_when_its_rest_is() -> None:
    book = SpeedBook()
    book.record("base", "cpu", 30.0, 3.0)
    assert book.running_eta("base", "cpu", 100.0) == pytest.approx(10.0)
    assert book.running_eta("base", "cpu", -1.0) == 0.0


def test_when_more_tasks_share_a_device_the_speed_follows_within_three_windows() -> None:
    book = SpeedBook()
    for seconds in [1.0] * 10 + [4.0] * 4 * 3:  # ten windows of one task, then three of each of four
        book.record("base", "cpu", 30.0, seconds)
    assert book.speed("base", "cpu") == pytest.approx(7.5, rel=0.05)


def test_the_fastest_device_counts() -> None:
    book = SpeedBook()
    book.record("base", "cpu", 30.0, 30.0)
    book.record("base", "cuda:0", 30.0, 3.0)
    book.record("tiny", "cpu", 30.0, 1.0)
    assert book.fastest() == {"base": 10.0, "tiny": 30.0}
