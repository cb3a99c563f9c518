"""What the benchmark of memory makes of the server's figures."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from benchmarks.memory import (
    BURSTS,
    HEADS,
    Case,
    Outcome,
    TaskFigures,
    finished,
    models_of_burst,
    most_in_a_row,
    row_of,
)

MB = 1_000_000


def task(predicted: int | None, reserved: int | None, measured: int | None) -> TaskFigures:
    return TaskFigures("tiny.en", 1, 60.0, predicted, reserved, measured)


def test_thirty_tasks_come_in_bursts_of_one_to_eight() -> None:
    assert sum(BURSTS) == 30
    assert (min(BURSTS), max(BURSTS)) == (1, 8)


def test_a_row_says_how_many_were_within_and_how_far_off_later_predictions_were() -> None:
    early = [task(10 * MB, 100 * MB, 50 * MB)] * 20
    later = [task(90 * MB, 100 * MB, 100 * MB), task(110 * MB, 100 * MB, 125 * MB), task(None, None, None)]
    row = dict(zip(HEADS, row_of(Outcome("words", early + later, 9, 2, -7 * MB)), strict=True))
    assert list(row.values()) == [
        "tiny.en, word_timestamps=true", "23", "22", "95 %", "1.25", "11 %", "2 of 9", "-7",
    ]  # fmt: skip


def test_what_was_not_measured_is_not_counted() -> None:
    row = row_of(Outcome("vad", [task(None, 5, None)], 0, 0, 0))
    assert row[1:6] == ["1", "0", "–", "–", "–"]


@pytest.mark.parametrize(
    ("excesses", "expected"), [([], 0), ([-1, 0, -1], 0), ([1, -1, 2, 3, -1], 2), ([-1, 1, 1, 1], 3)]
)
def test_only_samples_above_what_is_reserved_count_and_only_in_a_row(excesses: list[int], expected: int) -> None:
    assert most_in_a_row(excesses) == expected


def test_every_third_burst_has_all_models_and_the_others_one_each() -> None:
    case = Case(("a", "b"))
    bursts = ["".join(itertools.islice(models_of_burst(case, number), 4)) for number in range(6)]
    assert bursts == ["aaaa", "bbbb", "abab", "bbbb", "aaaa", "abab"]


class FakeServer:
    def __init__(self, status: str) -> None:
        self._status = status

    def get(self, path: str) -> dict[str, Any]:
        return {"task": {"status": self._status}}


def test_a_task_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(RuntimeError):
        finished(FakeServer("failed"), ["1"], deadline=float("inf"))


def test_a_benchmark_that_takes_too_long_is_ended() -> None:
    with pytest.raises(TimeoutError):
        finished(FakeServer("processing"), ["1"], deadline=0.0)
