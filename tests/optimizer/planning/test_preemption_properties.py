"""What holds for every task that makes way, however fast the machine is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from optimizer.planning.inputs import DeviceView, RunningView, Times
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.planner import plan
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from tests.optimizer.planning.helpers import (
    ESTIMATES,
    EVERY_MODEL,
    GB,
    HIGH,
    LOW,
    NORMAL,
    TIMES,
    WEIGHTS,
    device,
    running_task,
    task,
)
from tests.properties import budget
from whisper_core.common.units import WINDOW_SECONDS

LIMITS = PlanLimits(max_concurrent=None, overtake_limit_s=float("inf"))
RESIDENT = ["base", "medium"]
# With these a window takes 0.6 s at least, so twice a window is more than the least gain.
MODELS = st.sampled_from(["base", "medium", "large"])
PRIORITIES = st.sampled_from([NORMAL, NORMAL, NORMAL, LOW, HIGH])


@dataclass(frozen=True)
class SlowedTimes:
    """Everything takes `factor` times as long."""

    factor: float

    def work_seconds(self, model: str, audio_seconds: float) -> float:
        return TIMES.work_seconds(model, audio_seconds) * self.factor

    def load_seconds(self, model: str) -> float:
        return TIMES.load_seconds(model) * self.factor


@st.composite
def waiting_tasks(draw: st.DrawFn) -> list[WaitingTask]:
    return [
        task(
            seq, draw(MODELS), draw(PRIORITIES), audio_seconds=draw(st.floats(1, 300)),
            due=draw(st.floats(-100, 500)), owner=draw(st.sampled_from(["a", "b"])),
        )
        for seq in range(draw(st.integers(1, 4)))
    ]  # fmt: skip


@st.composite
def full_devices(draw: st.DrawFn) -> list[DeviceView]:
    """One or two, without a free slot."""
    views = []
    for number in range(draw(st.integers(1, 2))):
        running = [
            running_task(
                f"r{number}{index}",
                draw(st.sampled_from(RESIDENT)),
                priority=draw(PRIORITIES),
                audio_left_seconds=draw(st.floats(100, 10_000)),
                due=draw(st.floats(-100, 3_600)),
                may_be_preempted=draw(st.sampled_from([True, True, True, False])),
                owner=draw(st.sampled_from(["a", "b"])),
            )
            for index in range(draw(st.integers(1, 3)))
        ]
        capacity = draw(st.integers(10, 30)) * GB
        view = device(f"cuda:{number}", capacity, slots=len(running), running=tuple(running), resident=RESIDENT)
        views.append(replace(view, rounds=draw(st.integers(0, 1))))
    return views


def decide(waiting: Sequence[WaitingTask], devices: Sequence[DeviceView], times: Times = TIMES) -> Plan:
    """At time 0."""
    return plan(WaitingIndex.of(waiting).view(), devices, ESTIMATES, times, EVERY_MODEL, LIMITS, 0.0)


def preemptions(
    waiting: Sequence[WaitingTask], devices: Sequence[DeviceView], times: Times = TIMES
) -> tuple[Preemption, ...]:
    return decide(waiting, devices, times).preemptions


@given(waiting_tasks(), full_devices(), st.integers(0, 12))
@budget(300)
def test_a_machine_that_takes_longer_for_everything_chooses_the_same(
    waiting: list[WaitingTask], devices: list[DeviceView], doublings: int
) -> None:
    """Up to 4096 times as long; powers of two, so that no rounding differs. On a starving turn a fixed time decides."""
    devices = [replace(view, rounds=1) for view in devices]
    factor = 2.0**doublings
    later = [each._replace(due=each.due * factor) for each in waiting]
    slowed = [
        replace(view, running=tuple(replace(each, due=each.due * factor) for each in view.running)) for view in devices
    ]
    assert preemptions(later, slowed, SlowedTimes(factor)) == preemptions(waiting, devices)


def chosen_of(
    waiting: Sequence[WaitingTask], devices: Sequence[DeviceView], preemption: Preemption
) -> tuple[DeviceView, RunningView, WaitingTask]:
    view = next(each for each in devices if each.name == preemption.device)
    makes_way = next(each for each in view.running if each.id == preemption.task_id)
    return view, makes_way, next(each for each in waiting if each.id == preemption.for_task)


@given(waiting_tasks(), full_devices())
@budget(300)
def test_what_one_task_gains_is_at_least_twice_what_the_other_loses(
    waiting: list[WaitingTask], devices: list[DeviceView]
) -> None:
    for preemption in preemptions(waiting, devices):
        view, makes_way, short = chosen_of(waiting, devices, preemption)
        work = TIMES.work_seconds(short.model, short.audio_left_seconds)
        window = TIMES.work_seconds(makes_way.model, WINDOW_SECONDS)
        left = {each.id: TIMES.work_seconds(each.model, each.audio_left_seconds) for each in view.running}
        loading = 0.0 if short.model in RESIDENT else TIMES.load_seconds(short.model)  # at least
        assert min(left.values()) - window >= 2 * (window + loading)
        assert short.priority >= makes_way.priority
        if short.priority == makes_way.priority:
            assert min(left.values()) - window >= 2 * (work + window + loading)
            assert left[makes_way.id] >= 4 * work
            assert makes_way.due > 0


@given(waiting_tasks(), full_devices())
@budget(300)
def test_the_task_that_made_way_does_not_take_its_place_back(
    waiting: list[WaitingTask], devices: list[DeviceView]
) -> None:
    """The other one starts in its place, and is not told to make way for it in turn."""
    for preemption in preemptions(waiting, devices):
        view, makes_way, short = chosen_of(waiting, devices, preemption)
        requeued = task(
            100, makes_way.model, makes_way.priority, audio_seconds=makes_way.audio_left_seconds - WINDOW_SECONDS,
            due=makes_way.due, owner=makes_way.owner,
        )  # fmt: skip
        others = [each for each in view.running if each.id != makes_way.id]
        left = replace(view, running=tuple(others), free_bytes=view.free_bytes + makes_way.task_bytes)
        starts = decide([requeued, short], [left]).assignments
        assert [each.task_id for each in starts] == [short.id]
        now_running = running_task(
            short.id, short.model, priority=short.priority, audio_left_seconds=short.audio_left_seconds, due=short.due,
            owner=short.owner, task_bytes=WEIGHTS[short.model],
        )  # fmt: skip
        swapped = replace(left, running=(*others, now_running))
        assert short.id not in [each.task_id for each in preemptions([requeued], [swapped])]
        if short.priority == makes_way.priority:
            assert preemptions([requeued], [swapped]) == ()
