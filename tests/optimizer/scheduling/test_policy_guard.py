"""What a scheduling policy of somebody else's does wrong: it is named, and the tasks go on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn, cast

import pytest

from optimizer.planning.assignment import Assignment
from optimizer.planning.inputs import ModelView
from optimizer.planning.plan import Plan
from optimizer.planning.planner import plan
from optimizer.planning.policies import FAIR, plan_fairly
from optimizer.planning.policy import SchedulingPolicy, Situation
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingTask
from optimizer.scheduling.event_messages import EventMessages
from optimizer.scheduling.policy_guard import TELL_EVERY_S, PolicyGuard
from tests.optimizer.fakes import FakeClock
from tests.optimizer.planning.helpers import EVERY_MODEL, GB, device, running_task, started, task
from tests.optimizer.planning.test_in_order import situation

Decide = Callable[[Situation], Plan]


class Events:
    """In the place of EventLog."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, kind: str, text: str, **data: Any) -> None:
        self.texts.append(text)


def guard(decide: Decide, events: Events | None = None, clock: FakeClock | None = None) -> PolicyGuard:
    policy = SchedulingPolicy("theirs", decide)
    return PolicyGuard(policy, EventMessages(cast(Any, events or Events())), clock or FakeClock())


TASKS = [task(1), task(2, "tiny", device="cuda:1"), task(3, "medium")]
RUNNING = running_task("r1", "tiny", may_be_preempted=True)
DEVICES = (
    device("cuda:0", capacity=20 * GB, slots=2),
    device("cuda:1", capacity=4 * GB, resident=["tiny"], running=(RUNNING,), slots=1),
)
MODELS = {**EVERY_MODEL, "medium": ModelView(is_available=False)}
GOOD = Assignment(task_id="t1", device="cuda:0", model="base", task_bytes=1)


def here(tasks: list[WaitingTask] = TASKS, **limits: Any) -> Situation:
    return situation(tasks, *DEVICES, models=MODELS, **limits)


def choosing(*assignments: Any, preemptions: tuple[Any, ...] = ()) -> Decide:
    def decide(situation: Situation) -> Plan:
        return replace(plan_fairly(situation), assignments=assignments, preemptions=preemptions)

    return decide


def test_a_good_plan_is_carried_out_with_the_bytes_that_the_server_reckons() -> None:
    way = Preemption("r1", "cuda:1", "t2")
    made = guard(choosing(GOOD, preemptions=(way,))).plan(here())
    (assignment,) = made.assignments
    (own,) = [each for each in plan_fairly(here()).assignments if each.task_id == "t1"]
    assert (assignment.task_bytes, assignment.weights_bytes) == (own.task_bytes, own.weights_bytes)
    assert made.preemptions == (way,)
    assert made.reason_for("t3") is not None


def test_a_plan_that_starts_nothing_is_respected() -> None:
    assert guard(choosing()).plan(here()).assignments == ()


@pytest.mark.parametrize(
    ("decide", "reason"),
    [
        (lambda _: None, "returned NoneType"),
        (choosing("t1"), "one of its assignments is str"),
        (choosing(replace(GOOD, task_id="t9")), "no task 't9' is waiting"),
        (choosing(replace(GOOD, device="cuda:7")), "no device 'cuda:7'"),
        (choosing(GOOD, GOOD), "starts the task twice"),
        (choosing(replace(GOOD, device="cuda:1")), "no free place"),
        (choosing(replace(GOOD, task_id="t2")), "is to run on cuda:1"),
        (choosing(replace(GOOD, task_id="t3", model="medium")), "weights of medium are not here"),
        (choosing(replace(GOOD, evict=("tiny",))), "which is in use there"),
        (choosing(preemptions=(Preemption("r9", "cuda:1", "t2"),)), "no task 'r9' runs"),
        (choosing(preemptions=("r1",)), "one of its preemptions is str"),
        (lambda _: 1 / 0, "ZeroDivisionError"),
        (lambda _: sys.exit(1), "SystemExit: 1"),
    ],
)
def test_rubbish_is_named_and_the_server_decides_itself(
    decide: Decide, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    events, where = Events(), here()
    made = guard(decide, events).plan(where)
    assert started(made) == started(plan_fairly(where)) == [("t1", "cuda:0")]
    (told,) = events.texts
    assert reason in told
    assert "theirs" in told
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_limits_and_memory_hold_for_it_too() -> None:
    tasks = [task(number, "tiny") for number in range(4)]
    every = [Assignment(task_id=f"t{number}", device="cuda:0", model="tiny", task_bytes=0) for number in range(4)]
    for number, limits in ((3, {}), (2, {"max_batch": 1}), (1, {"max_concurrent": 1})):
        events = Events()
        guard(choosing(*every[:number]), events).plan(here(tasks, **limits))
        assert len(events.texts) == 1
    small = situation([task(1, "large")], device(capacity=5 * GB))
    events = Events()
    guard(choosing(Assignment(task_id="t1", device="cuda:0", model="large", task_bytes=0)), events).plan(small)
    assert "bytes are missing" in events.texts[0]


def test_a_task_that_was_cancelled_meanwhile_is_left_out_without_blame() -> None:
    where = here()
    gone = replace(where, waiting=replace(where.waiting, find=lambda _: None))
    events = Events()
    assert guard(choosing(GOOD), events).plan(gone).assignments == ()
    assert events.texts == []


def test_a_fault_at_every_decision_is_told_once_a_minute() -> None:
    def fail(_: Situation) -> NoReturn:
        raise ValueError("no idea")

    clock, events = FakeClock(), Events()
    guarded = guard(fail, events, clock)
    for _ in range(5):
        guarded.plan(here())
    assert len(events.texts) == 1
    clock.advance(TELL_EVERY_S)
    guarded.plan(here())
    assert len(events.texts) == 2


def test_the_server_s_own_policy_is_asked_directly() -> None:
    where = here()
    made = PolicyGuard(FAIR, EventMessages(cast(Any, Events())), FakeClock()).plan(where)
    planned = plan(where.waiting, where.devices, where.estimates, where.times, where.models, where.limits, where.now)
    assert made == planned
