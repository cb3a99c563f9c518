"""What holds for every plan, whatever waits and whatever is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from optimizer.planning.assignment import Assignment
from optimizer.planning.fifo import plan_in_order
from optimizer.planning.inputs import DeviceView, Estimates, ModelView
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.ordering import TARGET_SLOWDOWN
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks.start_reason import StartReason
from optimizer.tasks.task import Priority
from optimizer.tasks.wait_reasons import WaitCode
from tests.optimizer.planning.helpers import (
    ESTIMATES,
    GB,
    HOLDING,
    MODELS,
    TIMES,
    WEIGHTS,
    decide,
    device,
    reasons,
    started,
    task,
)
from tests.properties import budget

DEVICES = ("cuda:0", "cuda:1", "cpu")
NOW = 1000.0


@st.composite
def waiting_tasks(draw: st.DrawFn) -> list[WaitingTask]:
    count = draw(st.integers(0, 14))
    return [
        task(
            seq,
            draw(st.sampled_from(MODELS)),
            draw(st.sampled_from(Priority)),
            audio_seconds=draw(st.floats(0.1, 20_000)),
            owner=draw(st.sampled_from(["", "a"])),
            device=draw(st.sampled_from(["auto", "auto", *DEVICES, "cuda:9"])),
            waiting_since=draw(st.floats(0, NOW)),
            word_timestamps=draw(st.booleans()),
            is_chunked=draw(st.booleans()),
        )
        for seq in range(count)
    ]


@st.composite
def device_views(draw: st.DrawFn) -> list[DeviceView]:
    """Devices whose ledger is in order: reservations within the capacity, models in use resident."""
    views = []
    for name in draw(st.lists(st.sampled_from(DEVICES), unique=True, min_size=1)):
        capacity = draw(st.integers(1, 30)) * GB
        holds_slots = name != "cpu" and draw(st.booleans())
        resident: dict[str, int] = {}
        model_slots: dict[str, int] = {}
        for model in draw(st.lists(st.sampled_from(MODELS), unique=True)):
            slots = draw(st.sampled_from([1, 2, 4, 8, 64])) if holds_slots else 0
            nbytes = HOLDING.weights_bytes(model, "cuda", slots) if slots else WEIGHTS[model]
            if sum(resident.values()) + nbytes <= capacity:
                resident[model] = nbytes
                model_slots |= {model: slots} if slots else {}
        in_use = draw(st.lists(st.sampled_from(list(resident)), unique=True)) if resident else []
        running = draw(st.integers(len(in_use), len(in_use) + 2)) if in_use else 0
        if holds_slots:  # tasks of models in turn
            running = min(running, len(in_use) * min((model_slots[each] for each in in_use), default=0))
        left = capacity - sum(resident.values())
        views.append(
            device(
                name,
                capacity,
                resident=list(resident),
                model_slots=model_slots,
                lacking=draw(st.sampled_from([frozenset(), frozenset({"base"})])),
                fewer_slots=draw(st.sampled_from([{}, {"base": 1, "large": 8}])),
                running_models=in_use,
                running=running,
                running_tasks_bytes=draw(st.integers(0, left)) if running else 0,
                others_bytes=draw(st.sampled_from([0, 0, GB, 10 * GB])),
                slots=draw(st.integers(1, 6)),
                rounds=draw(st.integers(0, 3)),
                is_ready=draw(st.sampled_from([True, True, True, False])),
            )
        )
    return views


@st.composite
def plan_limits(draw: st.DrawFn) -> PlanLimits:
    least, most = sorted((draw(st.integers(0, 6)), draw(st.integers(1, 10))))
    smallest, largest = sorted((draw(st.integers(1, 4)), draw(st.integers(1, 6))))
    return PlanLimits(
        min_concurrent=least, max_concurrent=max(1, most), min_batch=smallest, max_batch=largest,
        starvation_s=draw(st.sampled_from([0.0, 500.0, 2000.0])),
        overtake_limit_s=draw(st.sampled_from([0.0, 100.0, 900.0])),
    )  # fmt: skip


@st.composite
def model_views(draw: st.DrawFn) -> dict[str, ModelView]:
    here, fetching = ModelView(is_available=True), ModelView(is_available=False, fetch_fraction=0.5)
    return {model: draw(st.sampled_from([here, here, here, fetching])) for model in MODELS}


WORLD = {
    "tasks": waiting_tasks(),
    "devices": device_views(),
    "models": model_views(),
    "limits": plan_limits(),
    "estimates": st.sampled_from([ESTIMATES, HOLDING]),
}
EXAMPLES = budget(80, suppress_health_check=[HealthCheck.too_slow])


def decision_of(
    tasks: Sequence[WaitingTask],
    devices: Sequence[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
) -> Plan:
    return plan(WaitingIndex.of(tasks).view({"a": 40.0}), devices, estimates, TIMES, models, limits, NOW)


def assigned_to(decision: Plan, view: DeviceView) -> list[Assignment]:
    return [assignment for assignment in decision.assignments if assignment.device == view.name]


@given(**WORLD)
@EXAMPLES
def test_a_plan_never_reserves_more_than_a_device_has(
    tasks: list[WaitingTask],
    devices: list[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
) -> None:
    decision = decision_of(tasks, devices, models, limits, estimates)
    for view in devices:
        assignments = assigned_to(decision, view)
        evicted = {model for assignment in assignments for model in assignment.evict}
        gained = sum(view.resident[model] for model in evicted)
        needed = sum(assignment.task_bytes + assignment.weights_bytes for assignment in assignments)
        if any(assignment.is_forced for assignment in assignments):
            assert not view.running
            assert needed <= view.capacity_bytes - sum(view.resident.values()) + gained
        else:
            assert needed <= view.free_bytes + gained or not assignments


@given(**WORLD)
@EXAMPLES
def test_no_task_that_the_device_could_run_empty_is_passed_by_one_due_much_later(
    tasks: list[WaitingTask],
    devices: list[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
) -> None:
    """With one device, of at least the same priority; the turn of the one that is due first of all is another rule."""
    view = devices[0]
    decision = decision_of(tasks, [view], models, limits, estimates)
    turns = {each.id: each.due + (40.0 if each.owner == "a" else 0.0) for each in tasks}
    by_id = {each.id: each for each in tasks}
    in_use = Counter(running.model for running in view.running)
    empty = view.free_bytes + sum(view.resident.values()) + sum(each.task_bytes for each in view.running)
    for starts in (each for each in decision.assignments if each.why is not StartReason.STARVING):
        for other in tasks:
            needs = estimates.weights_bytes(other.model, view.kind) + estimates.task_bytes(
                other.model, view.kind, other.audio_seconds, other.word_timestamps
            )
            could_run = models[other.model].is_available and view.accepts(other.device, other.model) and needs <= empty
            if other.model != by_id[starts.task_id].model:  # one that lacks a slot only waits for those of its model
                could_run &= in_use[other.model] < view.model_slots.get(other.model, float("inf"))
            is_passed = other.priority >= by_id[starts.task_id].priority and other.id not in decision.assigned
            if could_run and is_passed and needs <= view.capacity_bytes:
                assert turns[starts.task_id] - turns[other.id] <= limits.overtake_limit_s


@given(**WORLD)
@EXAMPLES
def test_a_plan_loads_each_model_once_and_evicts_none_in_use(
    tasks: list[WaitingTask],
    devices: list[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
) -> None:
    decision = decision_of(tasks, devices, models, limits, estimates)
    for view in devices:
        assignments = assigned_to(decision, view)
        evicted = [model for assignment in assignments for model in assignment.evict]
        assert len(evicted) == len(set(evicted))
        assert set(evicted) <= set(view.resident) - view.running_models
        assert all(view.model_slots.get(a.model, 1) > 1 for a in assignments if a.model in evicted)  # to have fewer
        loads = [assignment.weights_bytes > 0 for assignment in assignments]
        is_here = {model: model in view.resident and model not in evicted for model in MODELS}
        assert loads == [assignment is assignments[0] and not is_here[assignment.model] for assignment in assignments]


@given(**WORLD)
@EXAMPLES
def test_a_plan_keeps_to_slots_rounds_and_limits(
    tasks: list[WaitingTask],
    devices: list[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
) -> None:
    decision = decision_of(tasks, devices, models, limits, estimates)
    running = sum(len(view.running) for view in devices)
    assert limits.max_concurrent is not None
    assert len(decision.assignments) <= max(0, limits.max_concurrent - running)
    for view in devices:
        assignments = assigned_to(decision, view)
        assert len(assignments) <= max(0, min(limits.max_batch, view.slots - len(view.running)))
        assert len({assignment.model for assignment in assignments}) <= 1
        for first in assignments[:1]:
            slots = first.slots or view.model_slots.get(first.model, 1_000_000)
            assert len(assignments) + sum(each.model == first.model for each in view.running) <= slots
            assert all(each.windows_at_once <= slots for each in assignments)
            assert (first.slots > 0) == (first.weights_bytes > estimates.weights_bytes(first.model, "cpu"))
            assert first.slots <= view.fewer_slots.get(first.model, 64)
        assert view.is_ready or not assignments


@given(**WORLD)
@EXAMPLES
def test_every_task_is_started_once_where_it_may_run_or_has_a_reason(
    tasks: list[WaitingTask],
    devices: list[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
) -> None:
    decision = decision_of(tasks, devices, models, limits, estimates)
    by_id = {each.id: each for each in tasks}
    assert len(decision.assigned) == len(decision.assignments)
    for assignment in decision.assignments:
        chosen = by_id[assignment.task_id]
        assert chosen.device in ("auto", assignment.device)
        assert models[chosen.model].is_available
    assert set(reasons(decision)) == set(by_id) - decision.assigned
    for task_id, reason in reasons(decision).items():
        assert (reason.code is WaitCode.MODEL_FETCHING) <= (not models[by_id[task_id].model].is_available)


@given(**WORLD, seed=st.randoms(use_true_random=False))
@EXAMPLES
def test_the_same_input_gives_the_same_plan_in_whatever_order_it_is_listed(
    tasks: list[WaitingTask],
    devices: list[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
    seed: object,
) -> None:
    first = decision_of(tasks, devices, models, limits, estimates)
    seed.shuffle(tasks)  # type: ignore[attr-defined]
    seed.shuffle(devices)  # type: ignore[attr-defined]
    second = decision_of(tasks, devices, models, limits, estimates)
    assert (first.assignments, reasons(first)) == (second.assignments, reasons(second))


@given(**WORLD)
@EXAMPLES
def test_an_idle_server_starts_something_whenever_something_fits(
    tasks: list[WaitingTask],
    devices: list[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
) -> None:
    """No deadlock: with nothing running, only missing weights, missing devices or sizes can keep all tasks waiting."""
    idle = [
        replace(
            view,
            running=(),
            free_bytes=max(0, view.capacity_bytes - sum(view.resident.values())),
        )
        for view in devices
    ]
    decision = decision_of(tasks, idle, models, limits, estimates)
    if not decision.assignments:
        hopeless = {
            WaitCode.TOO_BIG, WaitCode.MODEL_FETCHING, WaitCode.DEVICE_STARTING, WaitCode.DEVICE_UNKNOWN,
        }  # fmt: skip
        may_wait_for_a_device = {view.name for view in idle if not view.is_ready}
        lacking = {model for view in idle for model in view.lacking}
        for reason in reasons(decision).values():
            is_lacking = reason.code is WaitCode.MODEL_LACKING and reason.data["model"] in lacking
            assert reason.code in hopeless or is_lacking or may_wait_for_a_device


@given(**WORLD)
@EXAMPLES
def test_of_one_priority_on_one_idle_device_the_first_is_due_first_with_its_load(
    tasks: list[WaitingTask],
    devices: list[DeviceView],
    models: dict[str, ModelView],
    limits: PlanLimits,
    estimates: Estimates,
) -> None:
    roomy = device(capacity=1000 * GB, resident=list(devices[0].resident))
    plain = [each._replace(priority=Priority.NORMAL, device="auto", owner="") for each in tasks]
    decision = decision_of(plain, [roomy], models, replace(limits, overtake_limit_s=float("inf")), estimates)
    candidates = [each for each in plain if models[each.model].is_available]

    def due_with_load(each: WaitingTask) -> tuple[float, float]:
        return each.due + TARGET_SLOWDOWN * (
            0 if each.model in roomy.resident else TIMES.load_seconds(each.model)
        ), each.seq

    if candidates:
        assert decision.assignments[0].task_id == min(candidates, key=due_with_load).id


@given(tasks=waiting_tasks(), devices=device_views(), models=model_views())
@EXAMPLES
def test_the_plain_path_starts_at_most_one_task_and_only_when_nothing_runs(
    tasks: list[WaitingTask], devices: list[DeviceView], models: dict[str, ModelView]
) -> None:
    decision = plan_in_order(WaitingIndex.of(tasks).view(), devices, ESTIMATES, models)
    assert len(decision.assignments) <= (0 if any(view.running for view in devices) else 1)
    assert set(reasons(decision)) == {each.id for each in tasks} - decision.assigned


def test_one_decision_changes_nothing_that_it_was_given() -> None:
    view = device(resident=["tiny"], capacity=11 * GB)
    tasks = [task(1, "large"), task(2, "tiny")]
    resident_before = dict(view.resident)
    assert started(decide(tasks, [view])) == started(decide(tasks, [view]))
    assert dict(view.resident) == resident_before
