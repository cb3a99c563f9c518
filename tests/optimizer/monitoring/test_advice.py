"""Advice: said when a person can change something, and only then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from config import Settings
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState, DeviceStatus, ModelOnDevice, ModelState, TaskOnDevice
from optimizer.memory.ledger import GPUMemoryPool
from optimizer.monitoring.advice import Situation, advise, reasons_by_model
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks import wait_reasons as reasons
from optimizer.tasks.task import Priority

GB = 1_000_000_000


def status(
    *, total: int = 16 * GB, reserved: int = 7 * GB, others: int = 0, running: int = 8, slots: int = 64,
    is_unstable: bool = False, state: DeviceState = DeviceState.READY,
) -> DeviceStatus:  # fmt: skip
    pool = GPUMemoryPool("cuda:0", total)
    pool.try_reserve("tasks", reserved)
    pool.observe(0, others)
    spec = DeviceSpec("cuda:0", "cuda", "a card", total)
    tasks = tuple(TaskOnDevice(str(n), "a.wav", "base", "normal", 0.0, 60.0, 60.0, 0) for n in range(running))
    return DeviceStatus(spec, state, pool.snapshot(), is_unstable, slots=slots, tasks=tasks)


@pytest.fixture
def make_situation(make_settings: Callable[..., Settings]) -> Callable[..., Situation]:
    """A busy server about which there is nothing to say, with changes."""

    def make(settings: dict[str, Any] | None = None, **changes: Any) -> Situation:
        made = Situation(
            settings=make_settings(**(settings or {})),
            limits=PlanLimits(max_concurrent=8, max_batch=4),
            statuses=[status(reserved=16 * GB)],
            waiting=14,
            reasons=[("base", 14, reasons.tasks_ahead(3))],
            is_bound=True,
            occupancy=1.0,
            free_disk_bytes=500 * GB,
            is_plain=False,
        )
        return replace(made, **changes)

    return make


def full_of(status: DeviceStatus, *slots: int) -> DeviceStatus:
    """All of whose tasks are of `base`. slots: of `base`, and of other models in its memory."""
    models = ("base", "small", "medium")
    return replace(
        status,
        models=tuple(ModelOnDevice(models[n], GB, ModelState.LOADED, n == 0, each) for n, each in enumerate(slots)),
    )


@pytest.mark.parametrize(
    ("slots", "has_place"), [((), True), ((0,), True), ((8,), False), ((9,), True), ((8, 4), True), ((8, 0), True)]
)
def test_a_place_is_a_slot_of_a_model_where_all_have_some(slots: tuple[int, ...], has_place: bool) -> None:
    assert full_of(status(running=8), *slots).has_place is has_place
    assert not full_of(status(running=8, slots=8), *slots).has_place
    assert not full_of(status(running=8, state=DeviceState.STARTING), *slots).has_place


def test_rounds_and_limits_are_not_blamed_where_models_have_no_free_slot(
    make_situation: Callable[..., Situation],
) -> None:
    free = status(reserved=4 * GB)
    assert said(make_situation(statuses=[free])) == ["raise_concurrency"]
    assert said(make_situation(statuses=[full_of(free, 8)])) == []
    rounds = {"is_bound": False, "occupancy": 0.1, "waiting": 100}
    assert said(make_situation(statuses=[free], **rounds)) == ["raise_batch"]
    assert said(make_situation(statuses=[full_of(free, 8)], **rounds)) == []


def said(situation: Situation) -> list[str]:
    return [advice.code for advice in advise(situation)]


def text(situation: Situation) -> str:
    (advice,) = advise(situation)
    return advice.text


def test_where_all_is_well_there_is_nothing_to_say(make_situation: Callable[..., Situation]) -> None:
    assert said(make_situation()) == []


def test_free_memory_while_tasks_wait_for_the_limit(make_situation: Callable[..., Situation]) -> None:
    situation = make_situation(statuses=[status()])
    assert text(situation) == "Raise MAX_CONCURRENT_TASKS_LIMIT: 9.0 GB stand free on cuda:0 and 14 tasks wait."
    (advice,) = advise(situation)
    assert advice.to_dict()["data"] == {"device": "cuda:0", "free_bytes": 9 * GB, "waiting": 14, "limit": 8}


@pytest.mark.parametrize(
    "changes",
    [
        {"is_bound": False},
        {"waiting": 2},
        {"statuses": [status(reserved=15_500_000_000)]},
        {"statuses": [status(slots=8)]},
        {"statuses": [status(state=DeviceState.RESTARTING)]},
        {"limits": PlanLimits(max_concurrent=6, max_batch=4)},
        {"limits": PlanLimits(max_concurrent=None, max_batch=4), "settings": {"max_concurrent_tasks_limit": "auto"}},
    ],
    ids=["something else binds", "few wait", "little is free", "no slot", "not ready", "the system chose it", "auto"],
)
def test_no_more_concurrency_is_asked_for_where_it_would_not_help(
    make_situation: Callable[..., Situation], changes: dict[str, Any]
) -> None:
    assert said(make_situation(**{"statuses": [status()], **changes})) == []


def test_a_model_that_fits_nowhere_and_one_that_is_not_here(make_situation: Callable[..., Situation]) -> None:
    too_big = reasons.too_big(12 * GB, 8 * GB, "cuda:0")
    situation = make_situation(reasons=[("large-v3", 3, too_big), ("small", 1, reasons.model_missing("small"))])
    big, missing = advise(situation)
    assert big.text == (
        "3 tasks wait for large-v3, which fits on no device here: it needs 12.0 GB and cuda:0 has 8.0 GB."
        " Cancel them, or send them again with a smaller model."
    )
    assert big.data["needed_bytes"] == 12 * GB
    assert (missing.code, missing.text.startswith("1 task waits for small, whose weights are not here.")) == (
        "model_missing", True,
    )  # fmt: skip


def test_weights_that_machines_cannot_get_are_told_with_their_devices(make_situation: Callable[..., Situation]) -> None:
    situation = make_situation(reasons=[("base", 2, reasons.model_lacking("base", "one-cuda:0, two-cpu"))])
    (advice,) = advise(situation)
    assert advice.text.startswith("2 tasks wait for base, whose weights are not available on one-cuda:0, two-cpu.")
    assert (advice.code, advice.data) == (
        "model_lacking", {"model": "base", "count": 2, "devices": "one-cuda:0, two-cpu"},
    )  # fmt: skip


def test_other_programs_count_only_while_memory_is_short(make_situation: Callable[..., Situation]) -> None:
    short = [("base", 14, reasons.memory_short(GB, "cuda:0"))]
    crowded = [status(others=5 * GB)]
    assert said(make_situation(reasons=short, statuses=crowded, is_bound=False)) == ["other_programs"]
    assert said(make_situation(reasons=short, statuses=[status(others=GB)], is_bound=False)) == []
    assert said(make_situation(statuses=crowded, is_bound=False)) == []


def test_a_disk_and_a_queue_that_are_nearly_full(make_situation: Callable[..., Situation]) -> None:
    settings = {"min_free_disk_mb": 512, "max_queued_tasks": 15}
    situation = make_situation(settings, free_disk_bytes=900_000_000)
    assert said(situation) == ["disk_nearly_full", "queue_nearly_full"]
    assert "0.9 GB are free" in advise(situation)[0].text


def test_one_task_at_a_time_while_many_wait(make_situation: Callable[..., Situation]) -> None:
    assert said(make_situation({"engine": "reference"})) == ["reference_engine"]
    assert said(make_situation({"engine": "reference"}, waiting=2)) == []
    assert said(make_situation({"enable_optimization_system": False}, is_plain=True)) == ["plain_path"]


def test_rounds_that_leave_places_empty(make_situation: Callable[..., Situation]) -> None:
    idle = {"statuses": [status(running=3)], "is_bound": False, "occupancy": 0.4}
    assert said(make_situation(**idle)) == ["raise_batch"]
    assert said(make_situation(**{**idle, "occupancy": 0.9})) == []
    assert said(make_situation(**{**idle, "occupancy": None})) == []
    assert said(make_situation(**idle, reasons=[("base", 14, reasons.memory_short(GB, "cuda:0"))])) == []
    assert said(make_situation(**idle, limits=PlanLimits(max_concurrent=8, max_batch=2))) == []


def test_the_most_pressing_comes_first(make_situation: Callable[..., Situation]) -> None:
    situation = make_situation(statuses=[status(is_unstable=True)])
    assert said(situation) == ["device_unstable", "raise_concurrency"]


def test_reasons_are_gathered_by_model_from_the_first_of_each_group() -> None:
    tasks = [
        WaitingTask(
            id=str(seq), seq=seq, model=model, priority=priority, audio_seconds=1.0, audio_left_seconds=1.0,
            waiting_since=0.0, due=float(seq),
        )
        for seq, (model, priority) in enumerate(
            [("base", Priority.NORMAL), ("base", Priority.NORMAL), ("base", Priority.HIGH), ("tiny", Priority.LOW)]
        )
    ]  # fmt: skip
    view = WaitingIndex.of(tasks).view()
    found = reasons_by_model(view, lambda task_id: None if task_id == "3" else reasons.tasks_ahead(int(task_id) + 1))
    assert [(model, count) for model, count, _ in found] == [("base", 3)]
