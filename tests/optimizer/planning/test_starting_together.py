"""How many tasks start and run together."""

from __future__ import annotations

from optimizer.tasks.wait_reasons import WaitCode
from tests.optimizer.planning.helpers import GB, HIGH, LOW, decide, device, reasons, started, task


def test_no_more_run_than_the_maximum_over_all_devices() -> None:
    devices = [device("cuda:0", running=1, slots=4), device("cuda:1", running=1, slots=4)]
    assert len(decide([task(seq) for seq in range(9)], devices, max_concurrent=5).assignments) == 3


def test_without_a_maximum_slots_and_memory_decide() -> None:
    tasks = [task(seq) for seq in range(20)]
    devices = [device("cuda:0", running=2, slots=4), device("cuda:1", slots=8)]
    assert len(decide(tasks, devices, max_concurrent=None, max_batch=16).assignments) == 2 + 8
    tight = device(slots=8, capacity=3_200_000_000)
    assert len(decide(tasks, [tight], max_concurrent=None, max_batch=16).assignments) == 2


def test_a_round_joins_another_models_tasks_while_there_are_slots_and_memory() -> None:
    busy = device(running=2, slots=4, resident=["tiny", "base"], running_models=["tiny"])
    assert started(decide([task(1), task(2), task(3)], [busy])) == [("t1", "cuda:0"), ("t2", "cuda:0")]


def test_a_busy_device_loads_another_model_when_there_is_room() -> None:
    busy = device(running=2, slots=4, resident=["tiny"], running_models=["tiny"])
    (assignment,) = decide([task(1, "medium")], [busy]).assignments
    assert (assignment.weights_bytes, assignment.evict) == (5 * GB, ())


def test_one_round_does_not_pass_the_maximum_over_all_devices() -> None:
    tasks = [task(seq) for seq in range(9)]
    assert len(decide(tasks, [device(slots=8)], max_concurrent=3, max_batch=6).assignments) == 3


def test_a_lowered_maximum_starts_nothing_until_enough_have_ended() -> None:
    decision = decide([task(1)], [device(running=3, slots=8)], max_concurrent=2)
    assert decision.assignments == ()
    assert reasons(decision)["t1"].text == "waits: 3 tasks ahead"


def test_below_the_minimum_an_idle_device_starts_although_other_programs_use_the_memory() -> None:
    crowded = device(capacity=4 * GB, others_bytes=3 * GB, resident=["tiny"])
    (assignment,) = decide([task(1)], [crowded], min_concurrent=1).assignments
    assert (assignment.task_id, assignment.is_forced, assignment.evict) == ("t1", True, ())
    assert decide([task(1)], [crowded], min_concurrent=0).assignments == ()


def test_a_forced_start_evicts_what_it_must() -> None:
    crowded = device(capacity=4 * GB, others_bytes=3 * GB, resident=["tiny"])
    (assignment,) = decide([task(1, audio_seconds=1000.0)], [crowded], min_concurrent=1).assignments
    assert (assignment.is_forced, assignment.evict) == (True, ("tiny",))


def test_a_busy_device_is_not_forced() -> None:
    crowded = device(capacity=4 * GB, others_bytes=2 * GB, running=1, slots=2)
    assert decide([task(1)], [crowded], min_concurrent=2).assignments == ()


def test_a_round_has_one_model() -> None:
    tasks = [task(1, "tiny"), task(2, "base"), task(3, "tiny")]
    assert started(decide(tasks, [device(slots=4)])) == [("t1", "cuda:0"), ("t3", "cuda:0")]


def test_a_round_is_no_larger_than_the_maximum() -> None:
    assert len(decide([task(seq) for seq in range(9)], [device(slots=8)], max_batch=3).assignments) == 3


def test_a_round_is_filled_by_priority_then_arrival() -> None:
    tasks = [task(1, priority=LOW), task(2), task(3, priority=HIGH), task(4, device="cuda:0")]
    decision = decide(tasks, [device(slots=3)])
    assert [assignment.task_id for assignment in decision.assignments] == ["t3", "t2", "t4"]


def test_a_round_stops_where_memory_does() -> None:
    decision = decide([task(seq) for seq in range(4)], [device(slots=4, capacity=3_200_000_000)])
    assert len(decision.assignments) == 2


def test_a_lone_task_never_waits_for_a_round() -> None:
    assert len(decide([task(1)], [device(running=1, slots=4)], min_batch=4).assignments) == 1


def test_a_busy_device_waits_for_a_round_that_is_there_to_be_started() -> None:
    tasks = [task(seq) for seq in range(4)]
    decision = decide(tasks, [device(running=3, slots=4)], min_batch=2)
    assert decision.assignments == ()
    assert reasons(decision)["t0"].code is WaitCode.BATCH_FORMING
    assert len(decide(tasks, [device(running=2, slots=4)], min_batch=2).assignments) == 2


def test_an_idle_device_never_waits_for_a_round_that_the_maximum_forbids() -> None:
    devices = [device("cuda:0"), device("cuda:1", running=3, slots=3)]
    tasks = [task(seq) for seq in range(4)]
    assert started(decide(tasks, devices, min_batch=1, max_concurrent=4)) == [("t0", "cuda:0")]
    slotted = [device("cuda:0", slots=4), device("cuda:1", running=3, slots=3)]
    assert started(decide(tasks, slotted, min_batch=2, max_concurrent=4)) == [("t0", "cuda:0")]


def test_an_idle_device_never_waits_for_memory_for_a_round() -> None:
    tight = device(slots=4, capacity=2_700_000_000)
    assert len(decide([task(seq) for seq in range(4)], [tight], min_batch=4).assignments) == 1
