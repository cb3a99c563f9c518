"""Measured speeds and the forecasts made from them."""

from __future__ import annotations

import pytest

from optimizer.timing.speeds import SpeedTable, counted_seconds


def test_nothing_is_known_before_a_measurement() -> None:
    book = SpeedTable()
    assert book.speed("base", "cpu") is None
    assert book.running_eta("base", "cpu", 60.0, 1) is None


def test_the_first_measurement_is_the_speed() -> None:
    book = SpeedTable()
    book.record("base", "cpu", audio_seconds=30.0, seconds=3.0)
    assert book.speed("base", "cpu") == 10.0
    assert book.speed("base", "cuda:0") is None


def test_newer_measurements_move_the_speed_towards_themselves() -> None:
    book = SpeedTable()
    book.record("base", "cpu", 30.0, 3.0)
    for _ in range(20):
        book.record("base", "cpu", 30.0, 1.5)
    assert book.speed("base", "cpu") == pytest.approx(20.0, rel=0.01)


def test_one_odd_short_measurement_changes_little() -> None:
    book = SpeedTable()
    book.record("base", "cpu", 30.0, 3.0)
    book.record("base", "cpu", 0.5, 5.0)
    speed = book.speed("base", "cpu")
    assert speed is not None
    assert 9.9 < speed < 10.0


@pytest.mark.parametrize(("audio_seconds", "seconds"), [(0.0, 1.0), (30.0, 0.0), (-1.0, 1.0)])
def test_a_measurement_of_nothing_is_ignored(audio_seconds: float, seconds: float) -> None:
    book = SpeedTable()
    book.record("base", "cpu", audio_seconds, seconds)
    assert book.speed("base", "cpu") is None


def test_a_running_task_is_done_when_its_rest_is() -> None:
    book = SpeedTable()
    book.record("base", "cpu", 30.0, 3.0)
    assert book.running_eta("base", "cpu", 100.0, 1) == pytest.approx(10.0)
    assert book.running_eta("base", "cpu", -1.0, 1) == 0.0


def test_a_short_recording_says_how_long_a_minute_takes() -> None:
    book = SpeedTable()
    book.record("tiny.en", "cpu", 3.0, 1.1, ends_recording=True)  # as measured; a minute took 7.9 s
    assert book.running_eta("tiny.en", "cpu", 67.6, 1) == pytest.approx(7.9, rel=0.5)
    book.record("base", "cpu", 3.0, 4.2, ends_recording=True)  # a minute took 21.8 s
    assert book.running_eta("base", "cpu", 67.6, 1) == pytest.approx(21.8, rel=0.5)


def test_a_minute_says_how_long_a_short_recording_takes() -> None:
    book = SpeedTable()
    for audio_seconds, seconds, ends_recording in [(22.6, 2.3, False), (24.3, 2.2, False), (20.7, 3.3, True)]:
        book.record("tiny.en", "cpu", audio_seconds, seconds, ends_recording=ends_recording)
    assert book.running_eta("tiny.en", "cpu", 3.0, 1) == pytest.approx(1.1, rel=0.6)


def test_a_window_that_is_not_the_last_is_measured_by_how_far_it_brought_the_task() -> None:
    book = SpeedTable()
    book.record("base", "cpu", 15.0, 3.0)
    assert book.speed("base", "cpu") == 5.0


def test_more_sound_never_takes_less_time() -> None:
    counted = [counted_seconds(seconds) for seconds in (-1.0, 0.0, 0.1, 3.0, 29.9, 30.0, 30.1, 60.0)]
    assert counted == sorted(counted)
    assert counted[:2] == [0.0, 0.0]
    assert counted[-3:] == [30.0, 30.1, 60.0]


def test_when_more_tasks_share_a_device_the_speed_follows_within_three_windows() -> None:
    book = SpeedTable()
    for seconds in [1.0] * 10 + [4.0] * 4 * 3:  # ten windows of one task, then three of each of four
        book.record("base", "cpu", 30.0, seconds)
    assert book.speed("base", "cpu") == pytest.approx(7.5, rel=0.05)


def test_the_fastest_device_counts() -> None:
    book = SpeedTable()
    book.record("base", "cpu", 30.0, 30.0)
    book.record("base", "cuda:0", 30.0, 3.0)
    book.record("tiny", "cpu", 30.0, 1.0)
    assert book.fastest() == {"base": 10.0, "tiny": 30.0}


@pytest.mark.parametrize(("device", "beside_eight"), [("cpu", 8**0.7), ("cuda:0", 8**0.4)])
def test_higher_concurrency_makes_a_task_slower_but_less_than_in_proportion(device: str, beside_eight: float) -> None:
    book = SpeedTable()
    book.record("base", device, 30.0, 3.0)
    assert book.running_eta("base", device, 60.0, 1) == pytest.approx(6.0)
    assert book.running_eta("base", device, 60.0, 8) == pytest.approx(6.0 * beside_eight)


def test_a_speed_holds_for_the_concurrency_at_which_it_was_measured() -> None:
    book = SpeedTable()
    book.record("base", "cpu", 30.0, 12.0, concurrency=8)
    assert book.running_eta("base", "cpu", 60.0, 8) == pytest.approx(24.0)
    assert book.running_eta("base", "cpu", 60.0, 1) == pytest.approx(24.0 / 8**0.7)


def test_a_speed_from_an_earlier_run_holds_for_any_concurrency_until_it_is_measured_again() -> None:
    book = SpeedTable()
    book.load({"cpu": {"base": 10.0}})
    assert book.running_eta("base", "cpu", 60.0, 8) == pytest.approx(6.0)


def test_speeds_of_files_that_were_replaced_while_the_server_was_off_are_measured_again() -> None:
    book = SpeedTable({"mine": "a1", "mine-int8": "a1", "base": ""}.__getitem__)
    for model in ("mine", "mine-int8", "base"):
        book.record(model, "cpu", 30.0, 3.0)
    kept = book.dump()

    def speeds_with(identity: str) -> dict[str, float]:
        later = SpeedTable(lambda model: "" if model == "base" else identity)
        later.load(kept)
        return later.fastest()

    assert speeds_with("a1") == {"mine": 10.0, "mine-int8": 10.0, "base": 10.0}
    assert speeds_with("b2") == speeds_with("gone") == {"base": 10.0}


def test_a_speed_that_was_kept_without_an_identity_is_not_taken_for_that_of_files_that_have_one() -> None:
    book = SpeedTable({"mine": "a1", "base": ""}.__getitem__)
    book.load({"cpu": {"mine": 3.0, "base": 10.0}})
    assert book.fastest() == {"base": 10.0}
