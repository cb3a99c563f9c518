"""Long tasks get their turn: rounds that are theirs, bounded overtaking, devices that drain for them."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.tasks.wait_reasons import WaitCode
from tests.optimizer.planning.helpers import GB, HIGH, LOW, decide, device, reasons, started, task


def test_on_its_turn_the_task_that_is_due_first_passes_others_that_are_due_much_later() -> None:
    tasks = [task(1, "large", LOW, waiting_since=0.0), task(2, "tiny", HIGH, waiting_since=500.0)]
    resident, now = ["tiny"], 501.0
    assert started(decide(tasks, [device(rounds=2, resident=resident)], now=now)) == [("t1", "cuda:0")]
    assert started(decide(tasks, [device(rounds=3, resident=resident)], now=now)) == [("t2", "cuda:0")]
    sooner = [tasks[0], task(2, "tiny", HIGH, waiting_since=300.0)]
    assert started(decide(sooner, [device(rounds=2, resident=resident)], now=301.0)) == [("t2", "cuda:0")]


def test_long_waits_alone_do_not_turn_the_order_round() -> None:
    """Where everybody waits long, the short ones still go first."""
    tasks = [task(1, audio_seconds=9000.0), task(2, waiting_since=1000.0)]
    assert started(decide(tasks, [device(rounds=2)], now=3000.0)) == [("t2", "cuda:0")]


def test_a_device_drains_for_a_task_that_is_due_first_and_short_of_memory() -> None:
    busy = device(rounds=2, running=1, slots=4, resident=["medium"], running_models=["medium"], capacity=14 * GB)
    tasks = [task(1, "large", waiting_since=0.0), task(2, "tiny", HIGH, waiting_since=300.0)]
    decision = decide(tasks, [busy], now=301.0)
    assert decision.assignments == ()
    assert {reason.code for reason in reasons(decision).values()} == {WaitCode.TASKS_AHEAD}


def test_only_one_device_drains_for_a_starving_task() -> None:
    fields = {"rounds": 2, "running": 1, "slots": 4, "running_tasks_bytes": 5 * GB, "capacity": 14 * GB}
    tasks = [task(1, "large", waiting_since=0.0), task(2, "tiny", waiting_since=300.0)]
    decision = decide(tasks, [device("cuda:0", **fields), device("cuda:1", **fields)], now=301.0)
    assert started(decision) == [("t2", "cuda:1")]


def test_a_device_does_not_drain_for_memory_that_other_programs_hold() -> None:
    crowded = device(rounds=2, capacity=14 * GB, others_bytes=8 * GB)
    tasks = [task(1, "large", waiting_since=0.0), task(2, "tiny", waiting_since=300.0)]
    assert started(decide(tasks, [crowded], now=301.0, min_concurrent=0)) == [("t2", "cuda:0")]


def test_a_task_that_can_never_run_does_not_starve_the_others() -> None:
    tasks = [task(1, "large", waiting_since=0.0), task(2, "tiny", waiting_since=300.0)]
    assert started(decide(tasks, [device(rounds=2, capacity=8 * GB)], now=301.0)) == [("t2", "cuda:0")]


BUSY: dict[str, Any] = {
    "running": 1,
    "slots": 4,
    "resident": ["medium"],
    "running_models": ["medium"],
    "capacity": 14 * GB,
}


@pytest.mark.parametrize(("due_later", "starts"), [(899.0, [("t2", "cuda:0")]), (901.0, [])])
def test_a_task_short_of_memory_is_passed_only_by_what_is_due_soon_after(
    due_later: float, starts: list[tuple[str, str]]
) -> None:
    tasks = [task(1, "large", due=100.0), task(2, "tiny", due=100.0 + due_later)]
    assert started(decide(tasks, [device(**BUSY)], now=0.0)) == starts


def test_so_are_those_that_start_together() -> None:
    tasks = [task(1, "large", due=100.0), task(2, "medium", due=500.0), task(3, "medium", due=1001.0)]
    assert started(decide(tasks, [device(**BUSY)], now=0.0)) == [("t2", "cuda:0")]


def test_a_device_drains_neither_for_a_lower_priority_nor_for_what_it_could_not_run_empty() -> None:
    later = task(2, "tiny", due=5000.0)
    lower, too_large = task(1, "large", LOW, due=100.0), task(1, "large", due=100.0)
    assert started(decide([lower, later], [device(**BUSY)], now=0.0)) == [("t2", "cuda:0")]
    crowded = device(**BUSY, others_bytes=4 * GB)
    assert started(decide([too_large, later], [crowded], now=0.0)) == [("t2", "cuda:0")]


def test_only_the_device_nearest_to_the_memory_drains() -> None:
    fields = {"running": 1, "slots": 4, "capacity": 14 * GB}
    nearer, farther = (device(name, running_tasks_bytes=n * GB, **fields) for name, n in (("cuda:1", 4), ("cuda:0", 6)))
    tasks = [task(1, "large", due=100.0), task(2, "tiny", due=5000.0)]
    assert started(decide(tasks, [nearer, farther], now=0.0)) == [("t2", "cuda:0")]
