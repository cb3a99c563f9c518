"""Which tasks an engine's measurement of its growth is about."""

from __future__ import annotations

from optimizer.memory.busy_periods import BusyPeriods, TaskKind
from optimizer.memory.costs import ConcurrentTasks

PLAIN: TaskKind = ("base", False, "exact", 0, False, False)
WORDS: TaskKind = ("base", True, "exact", 0, False, False)


def begun(*lengths: float) -> BusyPeriods:
    periods = BusyPeriods()
    for number, length in enumerate(lengths):
        periods.begin("cpu", f"t{number}", PLAIN, length)
    return periods


def test_a_task_alone_counts_as_one() -> None:
    assert begun(40.0).end("cpu", "t0") == ConcurrentTasks(1, 40.0, 1)


def test_the_fullest_moment_counts_for_all_that_end_after_it() -> None:
    periods = begun(40.0, 10.0)
    periods.begin("cuda:0", "elsewhere", WORDS, 100.0)
    assert periods.end("cpu", "t0") == ConcurrentTasks(2, 50.0, 1)
    periods.begin("cpu", "t2", PLAIN, 20.0)
    assert periods.end("cpu", "t1") == ConcurrentTasks(2, 50.0, 1)
    assert periods.end("cpu", "t2") == ConcurrentTasks(2, 50.0, 1)


def test_of_moments_with_equally_many_tasks_the_one_with_more_sound_counts() -> None:
    periods = begun(40.0, 10.0)
    periods.end("cpu", "t1")
    periods.begin("cpu", "t2", PLAIN, 90.0)
    assert periods.end("cpu", "t2") == ConcurrentTasks(2, 130.0, 2)


def test_an_idle_device_begins_a_new_period() -> None:
    periods = begun(40.0, 10.0)
    periods.end("cpu", "t0")
    periods.end("cpu", "t1")
    periods.begin("cpu", "t2", PLAIN, 20.0)
    assert periods.end("cpu", "t2") == ConcurrentTasks(1, 20.0, 0, 20.0)


def test_every_period_of_every_device_has_a_number_of_its_own() -> None:
    periods, numbers = begun(40.0, 10.0), []
    for device, token in (("cpu", "t0"), ("cpu", "t1"), ("cpu", "again"), ("cuda:0", "elsewhere")):
        periods.begin(device, token, PLAIN, 1.0)
        concurrent = periods.end(device, token)
        assert concurrent is not None
        numbers.append(concurrent.period)
    assert numbers == [1, 1, 2, 3]


def test_tasks_of_two_kinds_measure_nothing_until_the_device_was_idle() -> None:
    """The engine's peak stays what the earlier kind made of it."""
    periods = begun(40.0)
    periods.begin("cpu", "words", WORDS, 10.0)
    assert periods.end("cpu", "words") is None
    periods.begin("cpu", "t1", PLAIN, 10.0)
    assert periods.end("cpu", "t0") is None
    assert periods.end("cpu", "t1") is None
    periods.begin("cpu", "t2", PLAIN, 10.0)
    assert periods.end("cpu", "t2") == ConcurrentTasks(1, 10.0, 0, 10.0)


def test_a_task_that_is_not_there_cannot_end() -> None:
    periods = begun(40.0)
    assert periods.end("cpu", "unknown") is None
    assert periods.end("cuda:0", "t0") is None
    assert periods.end("cpu", "t0") == ConcurrentTasks(1, 40.0, 1)
    assert periods.end("cpu", "t0") is None


def test_what_was_reserved_is_divided_as_what_was_measured_is() -> None:
    """A short task has less reserved than the long ones that it ran with, and gets an equal part of what they took."""
    periods = BusyPeriods()
    for token, seconds, reserved in (("t0", 10.0, 30), ("t1", 60.0, 50), ("t2", 60.0, 55)):
        periods.begin("cpu", token, PLAIN, seconds, reserved)
    found = [periods.end("cpu", token) for token in ("t0", "t1", "t2")]
    assert [concurrent and concurrent.reserved_each for concurrent in found] == [45, 45, 45]
