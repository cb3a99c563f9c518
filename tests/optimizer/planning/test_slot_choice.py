"""How many slots a model gets on a card, what leaves for them, and that no more of its tasks run than it has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.inputs import DeviceView
from optimizer.planning.plan import Plan
from optimizer.planning.slot_choice import FEW_SLOTS, SLOT_STEPS, choose_slots
from optimizer.tasks.wait_reasons import WaitCode
from tests.optimizer.planning.helpers import (
    GB,
    HIGH,
    HOLDING,
    LOW,
    decide,
    device,
    reasons,
    running_task,
    started,
    task,
)

# By GB of the card and models, loaded one after the other: how many slots each gets; 0 where it does not fit beside the
# others. As in docs/scheduling.md.
SLOTS_OF_CARDS = {
    (8, "small"): (16,),
    (8, "turbo"): (12,),
    (8, "large-v3"): (1,),
    (8, "turbo", "large-v3"): (12, 0),
    (24, "small"): (64,),
    (24, "turbo"): (64,),
    (24, "large-v3"): (12,),
    (24, "turbo", "large-v3"): (64, 4),
    (24, "large-v3", "turbo"): (12, 24),
    (140, "small"): (64,),
    (140, "turbo"): (64,),
    (140, "large-v3"): (64,),
    (140, "turbo", "large-v3"): (64, 64),
}


def decide_holding(*arguments: Any, **more: Any) -> Plan:
    return decide(*arguments, estimates=HOLDING, **more)


@pytest.mark.parametrize(("card", "slots"), SLOTS_OF_CARDS.items(), ids=str)
def test_the_slots_of_cards(card: tuple[Any, ...], slots: tuple[int, ...]) -> None:
    """A twentieth is headroom, the context is taken, and nothing was measured yet."""
    gigabytes, *models = card
    estimates = MemoryEstimationPool(1.2)
    free = int(0.95 * gigabytes * GB) - estimates.context_bytes("cuda")
    plan = DevicePlan(DeviceView(name="cuda:0", kind="cuda", capacity_bytes=free, free_bytes=free, slots=64), estimates)
    got = []
    for seq, model in enumerate(models):
        waiting = task(seq, audio_seconds=600.0)._replace(model=model)
        fit = plan.fit(waiting)
        got.append(0 if fit.missing_bytes else fit.slots)
        if not fit.missing_bytes:
            plan.accept(waiting, fit)
            assert fit.weights_bytes == estimates.weights_bytes(model, "cuda", fit.slots)
    assert tuple(got) == slots
    assert plan.free_bytes >= 0


@given(
    model=st.sampled_from(["tiny", "base", "small", "medium", "turbo", "large-v3"]),
    room=st.integers(0, 140 * GB),
    most=st.sampled_from(SLOT_STEPS),
)
def test_slots_take_half_of_the_room_at_most_or_are_few(model: str, room: int, most: int) -> None:
    def held(slots: int) -> int:
        return MemoryEstimationPool(1.2).held_bytes(model, "cuda", slots)

    slots = choose_slots(held, room, most)
    assert slots in SLOT_STEPS
    assert slots <= most
    assert held(slots) <= (room if slots <= FEW_SLOTS else room // 2) or slots == 1
    assert choose_slots(held, room + GB, most) >= slots


# --- loading ---------------------------------------------------------------------------------------------------------


def test_a_model_is_promised_as_much_as_its_slots_hold() -> None:
    """6 GB for 24 slots, and 1.15 for their tasks, are at most half of what 20 GB leave beside weights of 5."""
    (assignment,) = decide_holding([task(1, "medium")], [device()]).assignments
    assert (assignment.slots, assignment.weights_bytes) == (24, 5 * GB + 24 * GB // 4)


def test_tasks_that_start_with_it_find_room_beside_the_slots() -> None:
    tasks = [task(number, "medium") for number in range(1, 9)]
    decision = decide_holding(tasks, [device(slots=8, capacity=int(6.2 * GB))], max_batch=8)
    first, *others = decision.assignments
    assert (first.slots, len(others)) == (4, 3)
    assert {(each.slots, each.weights_bytes) for each in others} == {(0, 0)}


def test_on_the_cpu_and_with_engines_that_hold_nothing_no_slots_are_chosen() -> None:
    (on_cpu,) = decide_holding([task(1, "medium")], [device("cpu")]).assignments
    (other,) = decide([task(1, "medium")], [device()]).assignments
    assert [(each.slots, each.weights_bytes) for each in (on_cpu, other)] == [(0, 5 * GB)] * 2


def test_a_model_is_called_too_big_only_where_it_does_not_fit_with_one_slot() -> None:
    """10 GB, half a GB for a slot, 0.1 for the task."""
    fits, misses = (device(capacity=int(gigabytes * GB)) for gigabytes in (10.6, 10.5))
    (assignment,) = decide_holding([task(1, "large")], [fits]).assignments
    assert (assignment.slots, assignment.weights_bytes) == (1, int(10.5 * GB))
    assert reasons(decide_holding([task(1, "large")], [misses]))["t1"].code is WaitCode.TOO_BIG


def test_after_a_load_that_found_no_memory_fewer_slots_are_chosen() -> None:
    (assignment,) = decide_holding([task(1, "medium")], [device(fewer_slots={"medium": 5})]).assignments
    assert assignment.slots == 4


def test_in_memory_that_others_use_a_model_gets_one_slot() -> None:
    (assignment,) = decide_holding([task(1, "medium")], [device(others_bytes=18 * GB)]).assignments
    assert (assignment.is_forced, assignment.slots) == (True, 1)


# --- what leaves -----------------------------------------------------------------------------------------------------


def test_a_model_that_nobody_waits_for_leaves_where_another_would_get_few_slots() -> None:
    crowded = device(resident=["large"], model_slots={"large": 8}, capacity=22 * GB)
    (assignment,) = decide_holding([task(1, "medium")], [crowded]).assignments
    assert (assignment.evict, assignment.slots) == (("large",), 24)
    roomy = device(resident=["large"], model_slots={"large": 8}, capacity=36 * GB)
    (assignment,) = decide_holding([task(1, "medium")], [roomy]).assignments
    assert (assignment.evict, assignment.slots) == ((), 24)


def test_a_model_that_is_waited_for_or_used_stays_and_the_other_gets_few_slots() -> None:
    in_use = device(
        resident=["large"], model_slots={"large": 8}, running_models=["large"], running=1, slots=2, capacity=22 * GB
    )
    wanted = device(resident=["large"], model_slots={"large": 8}, capacity=22 * GB)
    for view, tasks in ((in_use, [task(1, "medium")]), (wanted, [task(1, "medium", HIGH), task(2, "large", LOW)])):
        first = decide_holding(tasks, [view]).assignments[0]
        assert (first.model, first.evict, first.slots) == ("medium", (), 4)


def test_a_model_whose_slots_leave_a_task_of_its_own_no_room_is_loaded_again_with_fewer() -> None:
    """For word timestamps it needs 2.55 GB, and nothing else could make room for them."""
    full = device(resident=["medium"], model_slots={"medium": 24}, capacity=12 * GB)
    waiting = [task(1, "medium", word_timestamps=True)]
    (assignment,) = decide_holding(waiting, [full]).assignments
    assert (assignment.evict, assignment.slots) == (("medium",), 6)
    assert assignment.weights_bytes == 6.5 * GB
    last = device(resident=["medium"], model_slots={"medium": 1}, capacity=7 * GB)
    assert reasons(decide_holding(waiting, [last]))["t1"].code is WaitCode.TOO_BIG
    busy = device(
        resident=["medium"], model_slots={"medium": 24}, running_models=["medium"], running=1, slots=8, capacity=12 * GB
    )
    assert reasons(decide_holding(waiting, [busy]))["t1"].code is WaitCode.MEMORY_SHORT


# --- tasks and slots -------------------------------------------------------------------------------------------------


def test_no_more_tasks_of_a_model_run_than_it_has_slots() -> None:
    two = device(slots=8, resident=["base", "tiny"], model_slots={"base": 2, "tiny": 8}, capacity=40 * GB)
    tasks = [task(number) for number in range(1, 5)]
    assert [name for name, _ in started(decide_holding(tasks, [two], max_batch=8))] == ["t1", "t2"]
    assert len(started(decide_holding(tasks, [device(slots=8, resident=["base"], capacity=40 * GB)]))) == 4


def test_a_task_without_a_slot_waits_for_those_ahead_while_others_start() -> None:
    full = device(
        slots=8, resident=["base", "tiny"], model_slots={"base": 1, "tiny": 8}, running_models=["base"], running=1,
        capacity=40 * GB, rounds=0,
    )  # fmt: skip
    decision = decide_holding([task(1, "base", waiting_since=-5000.0), task(2, "tiny")], [full], preempts=False)
    assert started(decision) == [("t2", "cuda:0")]
    assert reasons(decision)["t1"].code is WaitCode.TASKS_AHEAD


def test_with_few_slots_nobody_waits_for_a_larger_round_than_they_allow() -> None:
    view = device(
        slots=8, resident=["base", "tiny"], model_slots={"base": 2, "tiny": 8}, running_models=["tiny"], running=1,
        capacity=40 * GB,
    )  # fmt: skip
    tasks = [task(number) for number in range(1, 6)]
    assert len(started(decide_holding(tasks, [view], min_batch=4))) == 2


@pytest.mark.parametrize(("model_slots", "windows"), [({"base": 4}, 4), ({"base": 64}, 8), ({}, 8)])
def test_a_chunked_task_has_no_more_windows_at_once_than_its_model_has_slots(
    model_slots: dict[str, int], windows: int
) -> None:
    view = device(slots=8, resident=["base"], model_slots=model_slots, capacity=60 * GB)
    (assignment,) = decide_holding([task(1, audio_seconds=600.0, is_chunked=True)], [view]).assignments
    assert assignment.windows_at_once == windows


def test_a_task_steps_aside_for_a_short_one_of_its_model_when_only_their_slots_are_taken() -> None:
    long = running_task("r0", "base", audio_left_seconds=3600.0, due=1e6)
    other = running_task("r1", "tiny", audio_left_seconds=7200.0, due=1e6)
    view = device(
        slots=8, resident=["base", "tiny"], model_slots={"base": 1, "tiny": 4}, running=(long, other), capacity=40 * GB
    )
    decision = decide_holding([task(1, "base", audio_seconds=10.0)], [view])
    assert [(each.task_id, each.for_task) for each in decision.preemptions] == [("r0", "t1")]
    roomy = device(
        slots=8, resident=["base", "tiny"], model_slots={"base": 2, "tiny": 4}, running=(long, other), capacity=40 * GB
    )
    decision = decide_holding([task(1, "base", audio_seconds=10.0)], [roomy])
    assert (started(decision), decision.preemptions) == ([("t1", "cuda:0")], ())
