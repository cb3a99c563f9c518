"""When a running task makes way, and when it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from optimizer.planning.inputs import RunningView
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.task import Priority
from tests.optimizer.planning.helpers import GB, decide, device, running_task, task

NOW = 100.0
LONG = running_task("long", audio_left_seconds=3600.0, due=5000.0)  # 72 s of work
LONGER = running_task("longer", audio_left_seconds=7200.0, due=5000.0)
SHORT = task(1, audio_seconds=60.0)  # 1.2 s


def preemptions(running: Sequence[RunningView], waiting: WaitingTask = SHORT, slots: int = 2) -> tuple[Preemption, ...]:
    view = device(slots=slots, running=tuple(running), resident=["base"])
    return decide([waiting], [view], now=NOW).preemptions


def test_the_task_with_most_work_left_makes_way_for_a_short_one() -> None:
    assert preemptions([LONG, LONGER]) == (Preemption("longer", "cuda:0", "t1"),)


def test_nobody_makes_way_while_there_is_a_free_place() -> None:
    assert preemptions([LONG, LONGER], slots=3) == ()


def test_places_count_over_all_devices() -> None:
    view = device(slots=8, running=(LONG, LONGER), resident=["base"])
    assert [step.task_id for step in decide([SHORT], [view], now=NOW, max_concurrent=2).preemptions] == ["longer"]


def test_nobody_makes_way_where_that_is_switched_off() -> None:
    view = device(slots=2, running=(LONG, LONGER), resident=["base"])
    assert decide([SHORT], [view], now=NOW, preempts=False).preemptions == ()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"audio_left_seconds": 1400.0}, "it has too little work left itself"),
        ({"due": NOW - 1}, "it is due, so it was made to wait long enough"),
        ({"may_be_preempted": False}, "it has finished no window yet, so it would lose that"),
        ({"is_ending": True}, "it has been told already"),
        ({"priority": Priority.HIGH}, "it is more urgent"),
    ],
)
def test_a_task_does_not_make_way_when(changed: dict[str, Any], why: str) -> None:
    stays = running_task("long", **{"audio_left_seconds": 3600.0, "due": 5000.0, **changed})
    assert preemptions([stays], slots=1) == (), why


def test_a_task_of_nearly_the_same_length_waits() -> None:
    assert preemptions([LONG], task(1, audio_seconds=1000.0), slots=1) == ()


def test_a_more_urgent_one_need_not_be_shorter_nor_the_running_one_early() -> None:
    urgent = task(1, priority=Priority.HIGH, audio_seconds=9000.0)
    late = running_task("late", audio_left_seconds=3600.0, due=0.0)
    assert preemptions([late], urgent, slots=1) == (Preemption("late", "cuda:0", "t1"),)


def test_the_least_urgent_one_makes_way_first() -> None:
    low = running_task("low", priority=Priority.LOW, audio_left_seconds=3600.0)
    urgent = task(1, priority=Priority.HIGH)
    assert [step.task_id for step in preemptions([LONGER, low], urgent)] == ["low"]


def test_nobody_makes_way_when_a_place_is_free_soon() -> None:
    nearly_done = running_task("nearly", audio_left_seconds=100.0)
    assert preemptions([LONGER, nearly_done]) == ()


def test_only_one_at_a_time_leaves_a_device() -> None:
    gone = running_task("gone", audio_left_seconds=9000.0, is_ending=True)
    assert preemptions([LONGER, gone]) == ()


def test_nobody_makes_way_for_a_task_that_would_not_fit_then() -> None:
    view = device(slots=1, running=(LONGER,), resident=["base"], capacity=4 * GB, running_tasks_bytes=2 * GB)
    assert decide([task(1, "medium", audio_seconds=10.0)], [view], now=NOW).preemptions == ()
