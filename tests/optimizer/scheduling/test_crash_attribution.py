"""Which task is charged for a worker's crash, and how carefully tasks are started after one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from optimizer.devices.status import RunningTask
from optimizer.queue.ready_queue import WaitingIndex
from optimizer.scheduling.crash_attribution import LETS_OTHERS_FIRST_S, CrashAttribution
from tests.optimizer.fakes import FakeClock
from tests.optimizer.planning.helpers import task


def running(*task_ids: str, progressed: tuple[str, ...] = ()) -> dict[str, RunningTask]:
    return {
        task_id: RunningTask(
            cast(Any, SimpleNamespace(id=task_id)), cast(Any, None), 0.0, 0.0, has_progressed=task_id in progressed
        )
        for task_id in task_ids
    }


def attribute_crash(attribution: CrashAttribution, tasks: dict[str, RunningTask]) -> str | None:
    return attribution.attribute_crash(tasks.values())


WAITING = WaitingIndex.of([task(1), task(2), task(3)]).view()


def test_the_only_task_in_its_first_window_is_charged() -> None:
    attribution = CrashAttribution(FakeClock())
    assert attribute_crash(attribution, running("t1", "t2", "t3", progressed=("t1", "t3"))) == "t2"
    assert attribution.allowed_slots(8, {}, WAITING) == 8


def test_none_is_charged_when_all_had_finished_a_window() -> None:
    assert attribute_crash(CrashAttribution(FakeClock()), running("t1", "t2", progressed=("t1", "t2"))) is None


def test_of_several_none_is_charged_and_they_are_started_one_by_one() -> None:
    attribution = CrashAttribution(FakeClock())
    assert attribute_crash(attribution, running("t1", "t2")) is None
    assert attribution.allowed_slots(8, {}, WAITING) == 1
    assert attribution.allowed_slots(8, running("t1"), WAITING) == 1
    assert attribution.allowed_slots(8, running("t1", progressed=("t1",)), WAITING) == 2
    assert attribution.allowed_slots(2, running("t1", "t3", progressed=("t1", "t3")), WAITING) == 2


def test_a_candidate_that_runs_is_joined_by_nobody_new_before_its_first_window() -> None:
    attribution = CrashAttribution(FakeClock())
    attribute_crash(attribution, running("t1", "t2"))
    nobody = WaitingIndex.of([]).view()
    assert attribution.allowed_slots(8, running("t1", "t9", progressed=("t9",)), nobody) == 2
    assert attribution.allowed_slots(8, running("t9"), nobody) == 8


def test_when_every_candidate_is_cleared_or_gone_all_slots_are_used_again() -> None:
    attribution = CrashAttribution(FakeClock())
    attribute_crash(attribution, running("t1", "t2", "gone"))
    attribution.clear("t1")
    assert attribution.allowed_slots(8, {}, WAITING) == 1
    attribution.clear("t2")
    assert attribution.allowed_slots(8, {}, WAITING) == 8


# After the server's own death


def test_of_the_server_s_suspects_one_at_a_time_runs_on_all_devices_together() -> None:
    attribution = CrashAttribution(FakeClock())
    attribution.suspect_of_server({"t1": 0, "t2": 0})
    assert attribution.allowed_slots(8, {}, WAITING) == 1
    assert attribution.may_start([], WAITING)
    assert not attribution.may_start(running("t3").values(), WAITING)
    assert attribution.may_start(running("t3", progressed=("t3",)).values(), WAITING)
    nobody = WaitingIndex.of([]).view()
    assert not attribution.may_start(running("t1").values(), nobody)
    assert attribution.may_start(running("t3").values(), nobody)


def test_suspects_that_finished_a_window_are_none_any_more() -> None:
    attribution = CrashAttribution(FakeClock())
    attribution.suspect_of_server({"t1": 2})
    attribution.clear("t1")
    assert attribution.may_start(running("t3").values(), WAITING)
    assert attribution.allowed_slots(8, {}, WAITING) == 8


def test_suspects_with_more_deaths_let_the_others_go_first_but_not_for_ever() -> None:
    clock = FakeClock()
    attribution = CrashAttribution(clock)
    attribution.suspect_of_server({"t1": 2, "t2": 1, "t3": 1, "gone": 0})
    assert attribution.held_back([], WAITING) == {"t1"}
    without_first = WAITING.without({"t1"})
    assert ([each.id for each in without_first], without_first.find("t1")) == (["t2", "t3"], None)
    attribution.clear("t2")
    assert attribution.held_back(running("t3").values(), WaitingIndex.of([task(1)]).view()) == {"t1"}
    attribution.clear("t3")
    assert attribution.held_back([], WAITING) == set()

    attribution.suspect_of_server({"t1": 1, "t2": 0})
    clock.advance(LETS_OTHERS_FIRST_S + 1)
    assert attribution.held_back([], WAITING) == set()
