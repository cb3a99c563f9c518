"""Devices that are alike share what a decision works out; the order is that of plainly sorting everything for each."""

from __future__ import annotations

import random
from operator import itemgetter

import pytest

from optimizer.planning.device_plan import DevicePlan, device_plans
from optimizer.planning.inputs import DeviceView, LateViews, RunningBrief, RunningView
from optimizer.planning.ranking import Ranking, loading_seconds
from optimizer.queue.ordering import TARGET_SLOWDOWN
from optimizer.queue.ready_queue import Rank, WaitingGroup, WaitingIndex, WaitingTask, ranked
from optimizer.tasks.task import Priority
from tests.optimizer.planning.helpers import (
    ESTIMATES,
    GB,
    MODELS,
    TIMES,
    decide,
    device,
    running_task,
    task,
)


class Situation:
    """Some tasks, some of them taken, and some devices."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.tasks = [a_task(rng, seq) for seq in range(60)]
        view = WaitingIndex.of(self.tasks).view({"a": 0.0, "b": rng.uniform(0, 3000)})
        self.groups = ranked(view.groups)
        self.taken = {each.id for each in rng.sample(self.tasks, k=rng.choice([0, 20, 50]))}
        self.devices = device_plans([a_device(rng, number) for number in range(12)], ESTIMATES)
        self.ranking = Ranking(self.groups, TIMES, self.taken)

    def rank(self, device: DevicePlan, group: WaitingGroup, first: WaitingTask) -> Rank:
        priority, due, seq = group.rank_of(first)
        return priority, due + TARGET_SLOWDOWN * loading_seconds(device, first.model, TIMES), seq

    def acceptable(self, device: DevicePlan) -> list[WaitingGroup]:
        return [group for _, group in self.groups if device.view.accepts(group.key.device, group.key.model)]

    def head(self, device: DevicePlan, group: WaitingGroup) -> WaitingTask | None:
        return next((each for each in group.tasks if each.id not in self.taken and device.fits_alone(each)), None)


def a_task(rng: random.Random, seq: int) -> WaitingTask:
    return task(
        seq, rng.choice(MODELS), rng.choice(list(Priority)), owner=rng.choice("ab"),
        waiting_since=-rng.uniform(0, 4000), device=rng.choice(["auto", "auto", "auto", "cuda:3"]),
        audio_seconds=rng.choice([10.0, 100.0, 2000.0, 9000.0]),
    )  # fmt: skip


def a_device(rng: random.Random, number: int) -> DeviceView:
    resident = rng.sample(MODELS[:3], k=rng.randrange(3))
    return device(
        f"cuda:{number}", rng.choice([8, 20]) * GB, resident=resident, slots=4, running=rng.randrange(4),
        accepts_auto=number != 7, lacking=frozenset(MODELS[:1] if number in (4, 9) else ()),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_offers_are_those_of_all_devices_with_all_groups_in_order(seed: int) -> None:
    all_of = Situation(seed)
    expected = [
        (all_of.rank(each, group, group.tasks[0]), each.share_in_use, place, each.view.name, group.key)
        for place, each in enumerate(all_of.devices)
        if each.is_open
        for group in all_of.acceptable(each)
        if any(waiting.id not in all_of.taken for waiting in group.tasks)
    ]
    offered = [(each.view.name, group.key) for each, group in all_of.ranking.offers(all_of.devices)]
    assert offered == [(name, key) for *_, name, key in sorted(expected, key=itemgetter(0, 1, 2))]


@pytest.mark.parametrize("seed", range(20))
def test_heads_and_the_task_due_first_are_those_of_all_groups(seed: int) -> None:
    all_of = Situation(seed)
    for each in all_of.devices:
        heads = [(head, group) for group in all_of.acceptable(each) if (head := all_of.head(each, group))]
        in_order = sorted(heads, key=lambda pair: all_of.rank(each, pair[1], pair[0]))
        assert list(all_of.ranking.heads(each)) == in_order
        first = min((head for head, _ in heads), key=lambda head: head.place, default=None)
        assert all_of.ranking.due_first(each) == first


def late(running: tuple[RunningView, ...], made: list[str]) -> LateViews:
    def brief() -> list[RunningBrief]:
        made.append("brief")
        return [RunningBrief(each.model, each.audio_left_seconds, each.is_ending) for each in running]

    def views() -> tuple[RunningView, ...]:
        made.append("views")
        return running

    return LateViews(len(running), brief, views)


@pytest.mark.parametrize("left", [20.0, 200.0, 2000.0, 20_000.0])
@pytest.mark.parametrize("is_ending", [False, True])
def test_views_that_are_made_late_change_no_decision(left: float, is_ending: bool) -> None:
    """And where a place is free soon anyway, they are not made at all."""
    running = tuple(
        running_task(f"r{place}", audio_left_seconds=left + place, due=9000.0, is_ending=is_ending and place == 1)
        for place in range(2)
    )
    made: list[str] = []
    views = [
        device(slots=2, resident=["base"], running=each, running_tasks_bytes=2 * GB)
        for each in (running, late(running, made))
    ]
    tasks = [task(1, audio_seconds=5.0)]
    plans = [decide(tasks, [view]) for view in views]
    assert plans[0].preemptions == plans[1].preemptions
    assert plans[0].assignments == plans[1].assignments
    if left == 20.0 and not is_ending:
        assert made == ["brief"]
    if left == 20_000.0 and not is_ending:
        assert plans[0].preemptions


@pytest.mark.parametrize("waiting", [0, 1])
def test_what_runs_is_looked_at_only_where_something_is_left_waiting(waiting: int) -> None:
    made: list[str] = []
    running = late((running_task("r", audio_left_seconds=9000.0),), made)
    full = device("full", slots=1, resident=["base"], running=running)
    free = device("free", slots=1, resident=["base"])
    plan = decide([task(number, audio_seconds=5.0) for number in range(1 + waiting)], [full, free])
    assert len(plan.assignments) == 1
    assert bool(made) == bool(waiting)
