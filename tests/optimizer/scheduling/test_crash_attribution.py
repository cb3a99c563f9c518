"""Which task is charged for a worker's crash, and how carefully tasks are started after one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from optimizer.devices.status import RunningTask
from optimizer.queue.ready_queue import WaitingIndex
from optimizer.scheduling.crash_attribution import CrashAttribution
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
    attribution = CrashAttribution()
    assert attribute_crash(attribution, running("t1", "t2", "t3", progressed=("t1", "t3"))) == "t2"
    assert attribution.allowed_slots(8, {}, WAITING) == 8


def test_none_is_charged_when_all_had_finished_a_window() -> None:
    assert attribute_crash(CrashAttribution(), running("t1", "t2", progressed=("t1", "t2"))) is None


def test_of_several_none_is_charged_and_they_are_started_one_by_one() -> None:
    attribution = CrashAttribution()
    assert attribute_crash(attribution, running("t1", "t2")) is None
    assert attribution.allowed_slots(8, {}, WAITING) == 1
    assert attribution.allowed_slots(8, running("t1"), WAITING) == 1
    assert attribution.allowed_slots(8, running("t1", progressed=("t1",)), WAITING) == 2
    assert attribution.allowed_slots(2, running("t1", "t3", progressed=("t1", "t3")), WAITING) == 2


def test_a_candidate_that_runs_is_joined_by_nobody_new_before_its_first_window() -> None:
    attribution = CrashAttribution()
    attribute_crash(attribution, running("t1", "t2"))
    nobody = WaitingIndex.of([]).view()
    assert attribution.allowed_slots(8, running("t1", "t9", progressed=("t9",)), nobody) == 2
    assert attribution.allowed_slots(8, running("t9"), nobody) == 8


def test_when_every_candidate_is_cleared_or_gone_all_slots_are_used_again() -> None:
    attribution = CrashAttribution()
    attribute_crash(attribution, running("t1", "t2", "gone"))
    attribution.clear("t1")
    assert attribution.allowed_slots(8, {}, WAITING) == 1
    attribution.clear("t2")
    assert attribution.allowed_slots(8, {}, WAITING) == 8
