"""Which of the waiting tasks starts first, and what the decision says of it."""

from __future__ import annotations

import pytest

from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.start_reason import StartReason
from tests.optimizer.planning.helpers import HIGH, LOW, decide, device, reasons, started, task

LARGE = "large"


def test_nothing_waits_nothing_starts() -> None:
    decision = decide([], [device()])
    assert (decision.assignments, reasons(decision)) == ((), {})


def test_a_higher_priority_comes_before_a_loaded_model() -> None:
    decision = decide([task(1, "tiny"), task(2, "large", HIGH)], [device(resident=["tiny"])])
    assert started(decision) == [("t2", "cuda:0")]


def test_the_shortest_work_goes_first() -> None:
    tasks = [task(1, audio_seconds=600.0), task(2, audio_seconds=30.0), task(3, audio_seconds=60.0)]
    assert started(decide(tasks, [device()])) == [("t2", "cuda:0")]


def test_what_counts_is_the_work_that_is_left() -> None:
    tasks = [task(1, audio_seconds=600.0, audio_left_seconds=20.0), task(2, audio_seconds=30.0)]
    assert started(decide(tasks, [device()])) == [("t1", "cuda:0")]


def test_a_task_that_waited_long_enough_is_passed_by_no_shorter_one() -> None:
    tasks = [task(1, audio_seconds=600.0, waiting_since=0.0), task(2, audio_seconds=30.0, waiting_since=300.0)]
    assert started(decide(tasks, [device()], now=301.0)) == [("t1", "cuda:0")]


def test_a_smaller_model_comes_before_earlier_arrival() -> None:
    assert started(decide([task(1, "large"), task(2, "tiny")], [device()])) == [("t2", "cuda:0")]


def test_a_loaded_model_goes_first_where_loading_another_one_would_take_longer() -> None:
    tasks = [task(1, "tiny"), task(2, "tiny", audio_seconds=90.0), task(3, "base", audio_seconds=40.0)]
    assert started(decide(tasks, [device(resident=["base"])])) == [("t3", "cuda:0")]


def test_a_load_is_paid_for_a_task_that_is_due_so_much_earlier() -> None:
    tasks = [task(1, "tiny"), task(2, "medium")]
    assert started(decide(tasks, [device(resident=["medium"])])) == [("t1", "cuda:0")]


def test_a_load_that_pushes_another_model_out_counts_twice() -> None:
    tasks = [task(1, "tiny"), task(2, "base", audio_seconds=70.0)]
    assert started(decide(tasks, [device(resident=["base"])])) == [("t1", "cuda:0")]
    crowded = device(resident=["base"], capacity=2_900_000_000)
    assert started(decide(tasks, [crowded])) == [("t2", "cuda:0")]


def test_of_equals_the_one_that_came_first_starts() -> None:
    assert started(decide([task(5), task(3), task(4)], [device()])) == [("t3", "cuda:0")]


def test_an_owner_who_had_much_is_set_back() -> None:
    tasks = [task(1, owner="a"), task(2, owner="b", audio_seconds=120.0)]
    assert started(decide(tasks, [device()])) == [("t1", "cuda:0")]
    assert started(decide(tasks, [device()], penalties={"a": 60.0})) == [("t2", "cuda:0")]


@pytest.mark.parametrize(
    ("tasks", "resident", "rounds", "why"),
    [
        ([task(1), task(2)], [], 1, StartReason.ARRIVAL),
        ([task(1, priority=HIGH), task(2)], [], 1, StartReason.ARRIVAL),
        ([task(1), task(2, LARGE), task(3, priority=HIGH)], [], 1, StartReason.PRIORITY),
        ([task(1), task(2, audio_seconds=600.0, priority=HIGH), task(3, priority=HIGH)], [], 1, StartReason.SHORTEST),
        ([task(1, audio_seconds=600.0), task(2)], [], 1, StartReason.SHORTEST),
        ([task(1, "tiny"), task(3, "base", audio_seconds=40.0)], ["base"], 1, StartReason.RESIDENT_MODEL),
        ([task(1, device="cuda:1"), task(2, audio_seconds=90.0)], [], 1, StartReason.FITS),
        ([task(1, LARGE), task(2, priority=HIGH, waiting_since=500.0)], [], 2, StartReason.STARVING),
    ],
)
def test_a_decision_says_why(tasks: list[WaitingTask], resident: list[str], rounds: int, why: StartReason) -> None:
    (assignment,) = decide(tasks, [device(resident=resident, rounds=rounds)], now=501.0).assignments
    assert assignment.why is why


@pytest.mark.parametrize("seq", [2, 0])
def test_a_decision_says_that_only_its_owners_share_put_a_task_first(seq: int) -> None:
    """Whether it came after the one that it passes or before it."""
    tasks = [task(1, owner="a"), task(seq, owner="b", audio_seconds=120.0)]
    (assignment,) = decide(tasks, [device()], penalties={"a": 60.0}).assignments
    assert (assignment.task_id, assignment.why) == (f"t{seq}", StartReason.FAIR_SHARE)


def test_an_owners_share_is_no_reason_where_the_order_would_be_the_same_without_it() -> None:
    tasks = [task(1, owner="a", audio_seconds=600.0), task(2, owner="b")]
    (assignment,) = decide(tasks, [device()], penalties={"a": 60.0}).assignments
    assert (assignment.task_id, assignment.why) == ("t2", StartReason.SHORTEST)


def test_a_decision_says_how_many_it_passed() -> None:
    tasks = [*(task(seq, audio_seconds=600.0) for seq in range(5)), task(9, audio_seconds=30.0), task(10)]
    first, second = decide(tasks, [device(slots=2)]).assignments
    assert (first.task_id, first.passed, first.why) == ("t9", 5, StartReason.SHORTEST)
    assert (second.task_id, second.passed, second.why) == ("t10", 5, StartReason.TOGETHER)


def test_the_order_in_which_tasks_are_listed_does_not_matter() -> None:
    tasks = [task(1, "large"), task(2), task(3, "tiny", LOW), task(4, priority=HIGH)]
    assert decide(tasks, [device()]).assignments == decide(reversed(tasks), [device()]).assignments
