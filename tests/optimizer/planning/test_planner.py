"""The planner, rule by rule: who runs next, together, and where, and what the others are told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from optimizer.common.text import in_gigabytes
from optimizer.planning.assignment import StartReason
from optimizer.planning.fifo import plan_in_order
from optimizer.planning.inputs import DeviceView, ModelView
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks.task import Priority
from optimizer.tasks.wait_reasons import WaitCode, preparing, retry_delay
from tests.optimizer.planning.helpers import EVERY_MODEL, GB, TIMES, RoundEstimates, decide, device, started, task

LOW, NORMAL, HIGH = Priority.LOW, Priority.NORMAL, Priority.HIGH
LARGE = "large"


# --- order -------------------------------------------------------------------------------------------------------


def test_nothing_waits_nothing_starts() -> None:
    decision = decide([], [device()])
    assert (decision.assignments, decision.reasons) == ((), {})


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
        ([task(1, audio_seconds=600.0), task(2)], [], 1, StartReason.SHORTEST),
        ([task(1, "tiny"), task(3, "base", audio_seconds=40.0)], ["base"], 1, StartReason.RESIDENT_MODEL),
        ([task(1, device="cuda:1"), task(2, audio_seconds=90.0)], [], 1, StartReason.FITS),
        ([task(1, LARGE), task(2, priority=HIGH, waiting_since=500.0)], [], 2, StartReason.STARVING),
    ],
)
def test_a_decision_says_why(tasks: list[WaitingTask], resident: list[str], rounds: int, why: StartReason) -> None:
    (assignment,) = decide(tasks, [device(resident=resident, rounds=rounds)], now=501.0).assignments
    assert assignment.why is why


def test_a_decision_says_how_many_it_passed() -> None:
    tasks = [*(task(seq, audio_seconds=600.0) for seq in range(5)), task(9, audio_seconds=30.0), task(10)]
    first, second = decide(tasks, [device(slots=2)]).assignments
    assert (first.task_id, first.passed, first.why) == ("t9", 5, StartReason.SHORTEST)
    assert (second.task_id, second.passed, second.why) == ("t10", 5, StartReason.TOGETHER)


def test_the_order_in_which_tasks_are_listed_does_not_matter() -> None:
    tasks = [task(1, "large"), task(2), task(3, "tiny", LOW), task(4, priority=HIGH)]
    assert decide(tasks, [device()]).assignments == decide(reversed(tasks), [device()]).assignments


# --- devices -----------------------------------------------------------------------------------------------------


def test_a_task_goes_where_its_model_is_loaded() -> None:
    devices = [device("cuda:0"), device("cuda:1", resident=["base"])]
    assert started(decide([task(1)], devices)) == [("t1", "cuda:1")]


def test_every_device_gets_work_in_one_decision() -> None:
    devices = [device("cuda:0"), device("cuda:1"), device("cuda:2")]
    assert sorted(started(decide([task(1), task(2)], devices))) == [("t1", "cuda:0"), ("t2", "cuda:1")]


def test_a_gpu_is_taken_before_the_cpu() -> None:
    assert started(decide([task(1)], [device("cpu", 100 * GB), device("cuda:0")])) == [("t1", "cuda:0")]


def test_a_task_runs_only_on_the_device_that_was_asked_for() -> None:
    devices = [device("cuda:0", resident=["base"]), device("cuda:1", running=1)]
    decision = decide([task(1, device="cuda:1"), task(2, device="cuda:1")], devices)
    assert decision.assignments == ()
    assert decision.reasons["t1"].text == "waits: 1 task ahead"


def test_a_device_without_a_free_slot_gets_nothing() -> None:
    assert decide([task(1)], [device(running=1)]).assignments == ()


def test_a_device_that_is_not_ready_gets_nothing_and_is_named() -> None:
    decision = decide([task(1)], [device(is_ready=False)])
    assert decision.assignments == ()
    assert decision.reasons["t1"].text == "waits: cuda:0 is starting"


def test_an_unknown_device_is_named() -> None:
    decision = decide([task(1, device="cuda:7"), task(2)], [device()])
    assert started(decision) == [("t2", "cuda:0")]
    assert decision.reasons["t1"].code is WaitCode.DEVICE_UNKNOWN


def test_without_any_device_tasks_wait_for_one() -> None:
    assert decide([task(1)], []).reasons["t1"].code is WaitCode.DEVICE_STARTING


# --- memory ------------------------------------------------------------------------------------------------------


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
    assert decision.reasons["t1"].code is WaitCode.MEMORY_SHORT


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
    reason = decision.reasons["t1"]
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
    assert decide([task(1, word_timestamps=True)], [alone]).reasons["t1"].code is WaitCode.TOO_BIG


def test_a_task_that_fits_nowhere_is_told_so_and_blocks_nobody() -> None:
    decision = decide([task(1, "large", HIGH), task(2, "tiny")], [device(capacity=8 * GB)])
    assert started(decision) == [("t2", "cuda:0")]
    assert decision.reasons["t1"].text == (
        "cannot run here: it needs 12.6 GB and cuda:0 has 8.0 GB; choose a smaller model"
    )


def test_a_device_that_is_still_starting_may_be_large_enough() -> None:
    devices = [device("cuda:0", capacity=8 * GB, running=1), device("cuda:1", capacity=80 * GB, is_ready=False)]
    assert decide([task(1, "large")], devices).reasons["t1"].code is WaitCode.TASKS_AHEAD


# --- concurrency and batches -------------------------------------------------------------------------------------


def test_no_more_run_than_the_maximum_over_all_devices() -> None:
    devices = [device("cuda:0", running=1, slots=4), device("cuda:1", running=1, slots=4)]
    assert len(decide([task(seq) for seq in range(9)], devices, max_concurrent=5).assignments) == 3


def test_without_a_maximum_slots_and_memory_decide() -> None:
    tasks = [task(seq) for seq in range(20)]
    devices = [device("cuda:0", running=2, slots=4), device("cuda:1", slots=8)]
    assert len(decide(tasks, devices, max_concurrent=None, max_batch=16).assignments) == 2 + 8
    tight = device(slots=8, capacity=3_200_000_000)
    assert len(decide(tasks, [tight], max_concurrent=None, max_batch=16).assignments) == 2


def test_a_batch_joins_another_models_tasks_while_there_are_slots_and_memory() -> None:
    busy = device(running=2, slots=4, resident=["tiny", "base"], running_models=["tiny"])
    assert started(decide([task(1), task(2), task(3)], [busy])) == [("t1", "cuda:0"), ("t2", "cuda:0")]


def test_a_busy_device_loads_another_model_when_there_is_room() -> None:
    busy = device(running=2, slots=4, resident=["tiny"], running_models=["tiny"])
    (assignment,) = decide([task(1, "medium")], [busy]).assignments
    assert (assignment.weights_bytes, assignment.evict) == (5 * GB, ())


def test_one_batch_does_not_pass_the_maximum_over_all_devices() -> None:
    tasks = [task(seq) for seq in range(9)]
    assert len(decide(tasks, [device(slots=8)], max_concurrent=3, max_batch=6).assignments) == 3


def test_a_lowered_maximum_starts_nothing_until_enough_have_ended() -> None:
    decision = decide([task(1)], [device(running=3, slots=8)], max_concurrent=2)
    assert decision.assignments == ()
    assert decision.reasons["t1"].text == "waits: 3 tasks ahead"


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


def test_a_batch_has_one_model() -> None:
    tasks = [task(1, "tiny"), task(2, "base"), task(3, "tiny")]
    assert started(decide(tasks, [device(slots=4)])) == [("t1", "cuda:0"), ("t3", "cuda:0")]


def test_a_batch_is_no_larger_than_the_maximum() -> None:
    assert len(decide([task(seq) for seq in range(9)], [device(slots=8)], max_batch=3).assignments) == 3


def test_a_batch_is_filled_by_priority_then_arrival() -> None:
    tasks = [task(1, priority=LOW), task(2), task(3, priority=HIGH), task(4, device="cuda:0")]
    decision = decide(tasks, [device(slots=3)])
    assert [assignment.task_id for assignment in decision.assignments] == ["t3", "t2", "t4"]


def test_a_batch_stops_where_memory_does() -> None:
    decision = decide([task(seq) for seq in range(4)], [device(slots=4, capacity=3_200_000_000)])
    assert len(decision.assignments) == 2


def test_a_lone_task_never_waits_for_a_batch() -> None:
    assert len(decide([task(1)], [device(running=1, slots=4)], min_batch=4).assignments) == 1


def test_a_busy_device_waits_for_a_batch_that_is_there_to_be_started() -> None:
    tasks = [task(seq) for seq in range(4)]
    decision = decide(tasks, [device(running=3, slots=4)], min_batch=2)
    assert decision.assignments == ()
    assert decision.reasons["t0"].code is WaitCode.BATCH_FORMING
    assert len(decide(tasks, [device(running=2, slots=4)], min_batch=2).assignments) == 2


def test_an_idle_device_never_waits_for_a_batch_that_the_maximum_forbids() -> None:
    devices = [device("cuda:0"), device("cuda:1", running=3, slots=3)]
    tasks = [task(seq) for seq in range(4)]
    assert started(decide(tasks, devices, min_batch=1, max_concurrent=4)) == [("t0", "cuda:0")]
    slotted = [device("cuda:0", slots=4), device("cuda:1", running=3, slots=3)]
    assert started(decide(tasks, slotted, min_batch=2, max_concurrent=4)) == [("t0", "cuda:0")]


def test_an_idle_device_never_waits_for_memory_for_a_batch() -> None:
    tight = device(slots=4, capacity=2_700_000_000)
    assert len(decide([task(seq) for seq in range(4)], [tight], min_batch=4).assignments) == 1


# --- chunked tasks -----------------------------------------------------------------------------------------------


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


def test_an_exact_task_has_one_window_at_once() -> None:
    (assignment,) = decide([task(1, audio_seconds=600.0)], [device(slots=16)]).assignments
    assert assignment.windows_at_once == 1


# --- starvation --------------------------------------------------------------------------------------------------


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
    assert {reason.code for reason in decision.reasons.values()} == {WaitCode.TASKS_AHEAD}


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


# --- models ------------------------------------------------------------------------------------------------------


def test_a_model_that_is_being_fetched_is_told_with_its_progress() -> None:
    models = {**EVERY_MODEL, "base": ModelView(is_available=False, fetch_fraction=0.347)}
    decision = decide([task(1), task(2, "large")], [device()], models=models)
    assert started(decision) == [("t2", "cuda:0")]
    assert decision.reasons["t1"].text == "waits: model base is being fetched (34 %)"


def test_a_model_that_could_not_be_fetched_says_why() -> None:
    failed = ModelView(is_available=False, failed_message="Put base.pt into MODELS_DIR.")
    decision = decide([task(1), task(2, "tiny")], [device()], models={"base": failed})
    assert decision.reasons["t1"].text == "waits: model base is not here. Put base.pt into MODELS_DIR."
    assert decision.reasons["t2"].text == "waits: model tiny is not here yet"


# --- reasons -----------------------------------------------------------------------------------------------------


def test_tasks_ahead_are_those_that_run_and_those_that_rank_before() -> None:
    tasks = [task(1), task(2), task(3, priority=HIGH), task(4, "tiny"), task(5, "large")]
    reasons = decide(tasks, [device(running=1)]).reasons
    assert [reasons[f"t{seq}"].data["count"] for seq in (3, 4, 1, 2, 5)] == [1, 2, 3, 4, 5]


def test_reasons_list_the_first_two_hundred_and_the_rest_on_demand() -> None:
    decision = decide([task(seq) for seq in range(1000)], [device()])
    assert len(decision.reasons) == 200
    last = decision.reason_for("t999")
    assert last is not None
    assert last.data["count"] == 999


def test_a_chosen_or_unknown_task_has_no_reason() -> None:
    decision = decide([task(1)], [device()])
    assert decision.reason_for("t1") is None
    assert decision.reason_for("t2") is None


@pytest.mark.parametrize(("nbytes", "text"), [(1, "0.1 GB"), (1_340_000_000, "1.3 GB"), (12_000_000_000, "12.0 GB")])
def test_a_shortage_never_reads_as_none(nbytes: int, text: str) -> None:
    assert in_gigabytes(nbytes) == text


def test_reasons_of_tasks_that_the_planner_does_not_see() -> None:
    assert str(retry_delay(11.2)) == "waits: next try in 12 s"
    assert str(retry_delay(-3.0)) == "waits: next try in 1 s"
    assert preparing().code is WaitCode.PREPARING


# --- the plain path ----------------------------------------------------------------------------------------------


def in_order(tasks: list[WaitingTask], *devices: DeviceView, models: dict[str, ModelView] = EVERY_MODEL) -> Plan:
    return plan_in_order(WaitingIndex.of(tasks).view(), devices, RoundEstimates(), models)


def test_the_plain_path_is_first_come_first_served_whatever_else() -> None:
    tasks = [task(1, "large", LOW), task(2, "tiny", HIGH)]
    decision = in_order(tasks, device(capacity=GB, resident=["tiny"]))
    (assignment,) = decision.assignments
    assert (assignment.task_id, assignment.evict, assignment.is_forced) == ("t1", ("tiny",), True)
    assert decision.reasons["t2"].text == "waits: 1 task ahead"


def test_the_plain_path_runs_one_task_over_all_devices() -> None:
    assert in_order([task(1)], device("cuda:0", running=1), device("cuda:1")).assignments == ()


def test_the_plain_path_passes_over_what_cannot_run_at_all() -> None:
    models = {**EVERY_MODEL, "large": ModelView(is_available=False)}
    tasks = [task(1, "large"), task(2, device="cuda:9"), task(3)]
    decision = in_order(tasks, device(), models=models)
    assert started(decision) == [("t3", "cuda:0")]


# --- the index of waiting tasks ----------------------------------------------------------------------------------


def test_a_view_counts_what_is_ahead_by_priority_then_due_time() -> None:
    index = WaitingIndex()
    tasks = [task(4, "tiny"), task(2, priority=LOW), task(3), task(9, priority=HIGH)]
    for each in tasks:
        index.add(each)
    view = index.view()
    assert [each.id for each in view.in_order()] == ["t9", "t4", "t3", "t2"]
    assert [view.count_ahead_of(each) for each in tasks] == [1, 3, 2, 0]
    assert view.count_ahead_of(task(5)) == 3
    assert [view.count_arrived_before(NORMAL, seq) for seq in (3, 4, 5)] == [0, 1, 2]


def test_a_view_does_not_change_with_the_index() -> None:
    index = WaitingIndex()
    index.add(task(1))
    view = index.view()
    index.add(task(2))
    assert index.discard("t1") == task(1)
    assert index.discard("t1") is None
    assert ([each.id for each in view], [each.id for each in index.view()]) == (["t1"], ["t2"])
    assert (len(view), len(index), index.get("t2")) == (1, 1, task(2))


def test_a_task_that_came_after_the_decision_has_no_reason_yet() -> None:
    index = WaitingIndex()
    index.add(task(1))
    decision = plan(index.view(), [device(running=1)], RoundEstimates(), TIMES, EVERY_MODEL, PlanLimits(), now=1.0)
    index.add(task(2))
    index.add(task(3, "tiny"))
    assert [decision.reason_for(f"t{seq}") is None for seq in (1, 2, 3)] == [False, True, True]


def test_adding_a_task_again_replaces_it() -> None:
    index = WaitingIndex()
    index.add(task(1, priority=LOW))
    index.add(task(1, priority=HIGH))
    assert [each.priority for each in index.view()] == [HIGH]
    assert index.get("t1") == task(1, priority=HIGH)


def test_a_decision_over_a_hundred_thousand_tasks_takes_milliseconds() -> None:
    """Bounded generously for a shared machine: the target is 10 ms, a walk over every task takes several hundred."""
    index = WaitingIndex()
    models = ("tiny", "base", "medium", "large")
    for seq in range(100_000):
        index.add(task(seq, models[seq % 4], Priority(seq % 3), audio_seconds=float(seq % 997)))
    view = index.view()
    devices = [device("cuda:0", rounds=2), device("cuda:1")]
    durations = []
    for _ in range(5):
        begin = time.perf_counter()
        decision = plan(view, devices, RoundEstimates(), TIMES, EVERY_MODEL, PlanLimits(), now=10.0)
        durations.append(time.perf_counter() - begin)
    assert len(decision.assignments) == 2
    assert min(durations) < 0.05
