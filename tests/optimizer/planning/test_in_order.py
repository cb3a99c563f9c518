"""First come, first served on the optimized path, and tasks started in any other given order."""

from __future__ import annotations

from typing import Any

from optimizer.planning.in_order import first_come_first_served, start_in_order
from optimizer.planning.inputs import DeviceView, ModelView
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.policy import Situation
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks.start_reason import StartReason
from tests.optimizer.planning.helpers import (
    ESTIMATES,
    EVERY_MODEL,
    GB,
    HIGH,
    LOW,
    TIMES,
    device,
    reasons,
    running_task,
    started,
    task,
)


def situation(
    tasks: list[WaitingTask], *devices: DeviceView, models: dict[str, ModelView] = EVERY_MODEL, **limits: Any
) -> Situation:
    """The tasks are kept in order of arrival."""
    view = WaitingIndex.of(each._replace(due=0.0) for each in tasks).view()
    return Situation(
        waiting=view,
        devices=devices,
        estimates=ESTIMATES,
        times=TIMES,
        models=models,
        limits=PlanLimits(**limits),
        now=1.0,
    )


def fcfs(tasks: list[WaitingTask], *devices: DeviceView, **others: Any) -> Plan:
    return first_come_first_served(situation(tasks, *devices, **others))


def test_the_order_is_that_of_arrival_whatever_the_length_model_and_owner() -> None:
    tasks = [task(1, "large", audio_seconds=900, owner="a"), task(2, "tiny", owner="b"), task(3, owner="a")]
    decision = fcfs(tasks, device(capacity=40 * GB, resident=["tiny"], slots=8))
    assert started(decision) == [("t1", "cuda:0"), ("t2", "cuda:0"), ("t3", "cuda:0")]
    assert {each.why for each in decision.assignments} == {StartReason.ARRIVAL}
    assert {each.passed for each in decision.assignments} == {0}


def test_a_higher_priority_goes_first() -> None:
    tasks = [task(1, priority=LOW), task(2), task(3, priority=HIGH)]
    assert [name for name, _ in started(fcfs(tasks, device(slots=2)))] == ["t3", "t2"]


def test_nothing_passes_a_task_that_lacks_memory() -> None:
    running = device(capacity=14 * GB, resident=["base"], running=1, running_tasks_bytes=GB, slots=8)
    decision = fcfs([task(1, "large"), task(2)], running)
    assert started(decision) == []
    told = reasons(decision)
    assert told["t1"].code.value == "memory_short"
    assert told["t2"].text == "waits: 2 tasks ahead"


def test_a_task_that_waits_for_one_device_leaves_the_others_alone() -> None:
    full = device("cuda:0", running=1, slots=1)
    tasks = [task(1, device="cuda:0"), task(2, device="cuda:0"), task(3)]
    assert started(fcfs(tasks, full, device("cuda:1", slots=1))) == [("t3", "cuda:1")]


def test_what_cannot_run_at_all_is_passed_over() -> None:
    models = {**EVERY_MODEL, "large": ModelView(is_available=False)}
    tasks = [task(1, "large"), task(2, device="cuda:9"), task(3, "medium", audio_seconds=99_000), task(4)]
    assert started(fcfs(tasks, device(), models=models)) == [("t4", "cuda:0")]


def test_limits_slots_and_rounds_are_kept() -> None:
    tasks = [task(number, "tiny") for number in range(9)]
    assert len(fcfs(tasks, device(slots=8), max_concurrent=3).assignments) == 3
    assert len(fcfs(tasks, device(slots=8), max_batch=2).assignments) == 2
    assert len(fcfs(tasks, device(slots=2, running=1, resident=["base"])).assignments) == 1


def test_a_device_with_the_model_is_preferred_and_idle_models_leave() -> None:
    with_tiny, with_base = device("cuda:0", resident=["tiny"]), device("cuda:1", resident=["base"])
    assert started(fcfs([task(1)], with_tiny, with_base)) == [("t1", "cuda:1")]
    (assignment,) = fcfs([task(1, "large")], device(capacity=14 * GB, resident=["medium"])).assignments
    assert assignment.evict == ("medium",)


def test_no_running_task_makes_way() -> None:
    long = running_task(audio_left_seconds=9000)
    decision = fcfs([task(1, audio_seconds=1, priority=HIGH)], device(running=(long,), resident=["base"]))
    assert (decision.assignments, decision.preemptions) == ((), ())


def test_any_other_order_can_be_given() -> None:
    made = situation([task(1), task(2), task(3)], device(slots=2))
    decision = start_in_order(made, sorted(made.waiting, key=lambda each: -each.seq))
    assert started(decision) == [("t3", "cuda:0"), ("t2", "cuda:0")]
    assert {each.why for each in decision.assignments} == {StartReason.POLICY}
    twice = start_in_order(made, [*made.waiting, *made.waiting])
    assert started(twice) == [("t1", "cuda:0"), ("t2", "cuda:0")]
