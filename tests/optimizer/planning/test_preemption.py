"""When a running task makes way, and when it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from optimizer.planning.inputs import RunningView
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.task import Priority
from tests.optimizer.planning.helpers import GB, decide, device, running_task, task
from whisper_core.common.units import WINDOW_SECONDS

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
        ({"audio_left_seconds": 200.0}, "it is done soon"),
        ({"audio_left_seconds": 230.0}, "the other one is not much shorter"),
        ({"due": NOW - 1}, "it is due, so it was made to wait long enough"),
        ({"due": SHORT.due - 1}, "it would go first if both waited"),
        ({"may_be_preempted": False}, "it has finished no window yet, so it would lose that"),
        ({"is_ending": True}, "it has been told already"),
        ({"priority": Priority.HIGH}, "it is more urgent"),
    ],
)
def test_a_task_does_not_make_way_when(changed: dict[str, Any], why: str) -> None:
    stays = running_task("long", **{"audio_left_seconds": 3600.0, "due": 5000.0, **changed})
    assert preemptions([stays], slots=1) == (), why


@pytest.mark.parametrize(("windows_left", "makes_way"), [(3.6, False), (3.7, True)])
@pytest.mark.parametrize("model", ["base", "medium", "large"])
def test_a_clip_of_ten_seconds_waits_for_three_and_two_thirds_windows_but_not_for_more(
    model: str, windows_left: float, makes_way: bool
) -> None:
    long = running_task("long", model, audio_left_seconds=windows_left * WINDOW_SECONDS, due=5000.0)
    view = device(slots=1, running=(long,), resident=[model])
    assert bool(decide([task(1, model, audio_seconds=10.0)], [view], now=NOW).preemptions) is makes_way


@pytest.mark.parametrize(("audio_left", "makes_way"), [(125.0, False), (135.0, True)])
def test_nobody_makes_way_for_less_than_a_second(audio_left: float, makes_way: bool) -> None:
    """With `tiny`, a window is 0.3 s of work."""
    view = device(
        slots=1, running=(running_task("long", "tiny", audio_left_seconds=audio_left, due=5e3),), resident=["tiny"]
    )
    assert bool(decide([task(1, "tiny", audio_seconds=1.0)], [view], now=NOW).preemptions) is makes_way


@pytest.mark.parametrize(("audio_left", "makes_way"), [(380.0, False), (400.0, True)])
def test_a_model_that_has_to_be_loaded_counts(audio_left: float, makes_way: bool) -> None:
    """Without the 2.5 s that loading `medium` takes, 140 s of sound would be enough."""
    view = device(slots=1, running=(running_task("long", audio_left_seconds=audio_left, due=5e3),), resident=["base"])
    assert bool(decide([task(1, "medium", audio_seconds=10.0)], [view], now=NOW).preemptions) is makes_way


@pytest.mark.parametrize(("ahead_s", "makes_way"), [(10.0, True), (-10.0, False)])
def test_a_task_does_not_make_way_for_one_whose_owner_is_set_back_behind_it(ahead_s: float, makes_way: bool) -> None:
    penalty = LONG.due - SHORT.due - ahead_s
    long = running_task("long", audio_left_seconds=3600.0, due=LONG.due, owner="a")
    view = device(slots=1, running=(long,), resident=["base"])
    chosen = decide([SHORT._replace(owner="b")], [view], now=NOW, penalties={"b": penalty}).preemptions
    assert bool(chosen) is makes_way
    own = device(slots=1, running=(replace(long, owner="b"),), resident=["base"])
    assert decide([SHORT._replace(owner="b")], [own], now=NOW, penalties={"b": penalty}).preemptions


def test_nobody_makes_way_for_the_second_in_order() -> None:
    """The place would be that of the first one, which is not much shorter."""
    first = task(2, audio_seconds=1000.0, due=10.0, owner="a")
    view = device(slots=1, running=(LONG,), resident=["base"])
    assert decide([SHORT, first], [view], now=NOW).preemptions == ()
    assert decide([SHORT, first._replace(due=30.0)], [view], now=NOW).preemptions


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


def test_nobody_makes_way_for_a_task_that_another_device_is_making_room_for() -> None:
    ending = device("cuda:0", slots=1, running=(replace(LONG, is_ending=True),), resident=["base"])
    other = device("cuda:1", slots=1, running=(LONGER,), resident=["base"])
    assert decide([SHORT], [ending, other], now=NOW).preemptions == ()
    second = task(2, audio_seconds=60.0, due=SHORT.due + 1)
    assert decide([SHORT, second], [ending, other], now=NOW).preemptions == (Preemption("longer", "cuda:1", "t2"),)


def test_a_place_that_the_limit_leaves_on_another_device_counts() -> None:
    nearly_done = device("cuda:1", slots=4, running=(running_task("nearly", audio_left_seconds=100.0),))
    view = device(slots=4, running=(LONG,), resident=["base"])
    assert decide([SHORT], [view, nearly_done], now=NOW, max_concurrent=2).preemptions == ()
    own_places = replace(view, slots=1)
    closed = replace(nearly_done, slots=1)
    assert decide([SHORT], [own_places, closed], now=NOW, max_concurrent=3).preemptions


def test_nobody_makes_way_when_that_leaves_no_place() -> None:
    """The slots were reduced below what runs."""
    assert preemptions([LONG, LONGER], slots=1) == ()


def test_nobody_makes_way_for_a_task_that_would_not_fit_then() -> None:
    view = device(slots=1, running=(LONGER,), resident=["base"], capacity=4 * GB, running_tasks_bytes=2 * GB)
    assert decide([task(1, "medium", audio_seconds=10.0)], [view], now=NOW).preemptions == ()
