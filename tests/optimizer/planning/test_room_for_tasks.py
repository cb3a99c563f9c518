"""What memory a start takes, which models are evicted for it, and what a task that finds none is told."""

from __future__ import annotations

from unittest import mock

import pytest

from optimizer.planning.device_plan import Fit
from optimizer.planning.rounds import fitting
from optimizer.tasks.wait_reasons import WaitCode
from tests.optimizer.planning.helpers import GB, HIGH, LOW, RoundEstimates, decide, device, reasons, started, task


def test_weights_are_reserved_only_by_the_task_that_has_them_loaded() -> None:
    decision = decide([task(1), task(2)], [device(slots=2)])
    assert [assignment.weights_bytes for assignment in decision.assignments] == [2 * GB, 0]
    loaded = decide([task(1)], [device(resident=["base"])])
    assert [assignment.weights_bytes for assignment in loaded.assignments] == [0]


def test_an_idle_model_makes_room_when_memory_is_short() -> None:
    decision = decide([task(1, "large")], [device(resident=["medium", "tiny"], capacity=15 * GB)])
    assert [assignment.evict for assignment in decision.assignments] == [("medium",)]


def test_no_model_is_evicted_while_there_is_room() -> None:
    assert [a.evict for a in decide([task(1)], [device(resident=["tiny", "large"])]).assignments] == [()]


def test_a_model_that_nobody_waits_for_goes_before_one_that_is_waited_for() -> None:
    tasks = [task(1, "large", HIGH), task(2, "tiny", LOW)]
    decision = decide(tasks, [device(resident=["tiny", "base"], capacity=14 * GB)])
    assert [assignment.evict for assignment in decision.assignments] == [("base",)]


def test_a_model_in_use_is_never_evicted() -> None:
    busy = device(resident=["medium"], running_models=["medium"], running=1, slots=2, capacity=13 * GB)
    decision = decide([task(1, "large")], [busy])
    assert decision.assignments == ()
    assert reasons(decision)["t1"].code is WaitCode.MEMORY_SHORT


def test_a_busy_device_keeps_a_model_that_a_higher_priority_waits_for() -> None:
    """The large task is short of memory only until the running one ends; a low one must not evict its weights."""
    busy = device(
        resident=["large", "tiny"], running_models=["tiny"], running=1, running_tasks_bytes=4 * GB, slots=2,
        capacity=16 * GB,
    )  # fmt: skip
    tasks = [task(1, "large", HIGH), task(2, "medium", LOW)]
    assert decide(tasks, [busy]).assignments == ()
    assert started(decide(tasks[1:], [busy])) == [("t2", "cuda:0")]


def test_a_shortage_is_told_in_gigabytes_with_the_device() -> None:
    decision = decide([task(1)], [device(capacity=4 * GB, others_bytes=3 * GB)], min_concurrent=0)
    reason = reasons(decision)["t1"]
    assert reason.text == "waits: 1.6 GB short on cuda:0"
    assert reason.data == {"missing_bytes": 1_560_000_000, "device": "cuda:0"}


def test_a_smaller_task_may_start_when_the_first_is_short_of_memory() -> None:
    tasks = [task(1, audio_seconds=9000.0), task(2)]
    assert started(decide(tasks, [device(capacity=15 * GB, others_bytes=10 * GB)], min_concurrent=0)) == [
        ("t2", "cuda:0")
    ]


def test_word_timestamps_count() -> None:
    alone = device(capacity=3 * GB)
    assert started(decide([task(1)], [alone])) == [("t1", "cuda:0")]
    assert reasons(decide([task(1, word_timestamps=True)], [alone]))["t1"].code is WaitCode.TOO_BIG


def test_beams_count() -> None:
    waiting = [task(1, beams=8), task(2)]
    decision = decide(waiting, [device(capacity=8 * GB)])
    assert started(decision) == [("t2", "cuda:0")]
    assert reasons(decision)["t1"].code is WaitCode.TOO_BIG
    assert started(decide(waiting, [device(slots=2, capacity=12 * GB)])) == [("t1", "cuda:0"), ("t2", "cuda:0")]


def test_a_longer_task_without_beams_is_tried_where_one_with_beams_does_not_fit() -> None:
    waiting = [task(1, beams=8, audio_seconds=5.0), task(2, audio_seconds=60.0)]
    fits = fitting(((each, mock.Mock()) for each in waiting), lambda each: Fit(1, 1, missing_bytes=each.beams))
    assert [each.id for each, _, _ in fits] == ["t2"]


def test_a_task_that_fits_nowhere_is_told_so_and_blocks_nobody() -> None:
    decision = decide([task(1, "large", HIGH), task(2, "tiny")], [device(capacity=8 * GB)])
    assert started(decision) == [("t2", "cuda:0")]
    assert reasons(decision)["t1"].text == (
        "cannot run here: it needs 12.6 GB and cuda:0 has 8.0 GB; choose a smaller model"
    )


def test_a_device_that_is_still_starting_may_be_large_enough() -> None:
    devices = [device("cuda:0", capacity=8 * GB, running=1), device("cuda:1", capacity=80 * GB, is_ready=False)]
    assert reasons(decide([task(1, "large")], devices))["t1"].code is WaitCode.TASKS_AHEAD


@pytest.mark.parametrize(
    ("audio_seconds", "slots", "free_gb", "windows"),
    [(600.0, 16, 18, 8), (600.0, 4, 18, 4), (60.0, 16, 18, 2), (10.0, 16, 18, 1), (600.0, 16, 1.2, 1)],
)
def test_memory_is_reserved_for_as_many_windows_of_a_chunked_task_as_fit_into_half_of_the_room(
    audio_seconds: float, slots: int, free_gb: float, windows: int
) -> None:
    """A window of ten minutes takes 1.1 GB here."""
    roomy = device(slots=slots, resident=["base"], capacity=int((2 + free_gb) * GB))
    each = task(1, "base", audio_seconds=audio_seconds, is_chunked=True)
    (assignment,) = decide([each], [roomy]).assignments
    one = RoundEstimates().task_bytes("base", "cuda", audio_seconds)
    assert (assignment.windows_at_once, assignment.task_bytes) == (windows, windows * one)


def test_telling_speakers_apart_counts_once_however_many_windows_are_decoded() -> None:
    """A window of ten minutes takes 1.1 GB here, and the speakers 1 GB."""
    one = RoundEstimates().task_bytes("base", "cuda", 600.0)
    roomy = device(slots=16, resident=["base"], capacity=int((2 + 19) * GB))
    exact = task(1, "base", audio_seconds=600.0, speakers=True)
    (assignment,) = decide([exact], [roomy]).assignments
    assert assignment.task_bytes == one + GB
    (assignment,) = decide([exact._replace(is_chunked=True)], [roomy]).assignments
    assert (assignment.windows_at_once, assignment.task_bytes) == (8, 8 * one + GB)


def test_a_longer_task_is_tried_where_one_with_speakers_does_not_fit() -> None:
    waiting = [task(1, speakers=True, audio_seconds=5.0), task(2, audio_seconds=60.0)]
    fits = fitting(((each, mock.Mock()) for each in waiting), lambda each: Fit(1, 1, missing_bytes=each.speakers))
    assert [each.id for each, _, _ in fits] == ["t2"]


def test_an_exact_task_has_one_window_at_once() -> None:
    (assignment,) = decide([task(1, audio_seconds=600.0)], [device(slots=16)]).assignments
    assert assignment.windows_at_once == 1
