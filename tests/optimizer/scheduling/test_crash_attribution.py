"""Who is charged for a worker's death, and how carefully tasks are begun after one."""

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
            cast(Any, SimpleNamespace(id=task_id)), cast(Any, None), 0.0, 0.0, 0.0, has_progressed=task_id in progressed
        )
        for task_id in task_ids
    }


def attribute_crash(suspects: CrashAttribution, tasks: dict[str, RunningTask]) -> str | None:
    return suspects.attribute_crash(tasks.values())


WAITING = WaitingIndex.of([task(1), task(2), task(3)]).view()


def test_the_only_task_that_had_not_got_on_is_charged() -> None:
    suspects = CrashAttribution()
    assert attribute_crash(suspects, running("t1", "t2", "t3", progressed=("t1", "t3"))) == "t2"
    assert suspects.slots(8, {}, WAITING) == 8


def test_nobody_is_charged_when_all_had_got_on() -> None:
    assert attribute_crash(CrashAttribution(), running("t1", "t2", progressed=("t1", "t2"))) is None


def test_of_several_nobody_is_charged_and_they_are_begun_one_by_one() -> None:
    suspects = CrashAttribution()
    assert attribute_crash(suspects, running("t1", "t2")) is None
    assert suspects.slots(8, {}, WAITING) == 1
    assert suspects.slots(8, running("t1"), WAITING) == 1
    assert suspects.slots(8, running("t1", progressed=("t1",)), WAITING) == 2
    assert suspects.slots(2, running("t1", "t3", progressed=("t1", "t3")), WAITING) == 2


def test_a_suspect_that_runs_gets_no_company_before_its_first_window() -> None:
    suspects = CrashAttribution()
    attribute_crash(suspects, running("t1", "t2"))
    nobody = WaitingIndex.of([]).view()
    assert suspects.slots(8, running("t1", "t9", progressed=("t9",)), nobody) == 2
    assert suspects.slots(8, running("t9"), nobody) == 8


def test_when_every_suspect_is_cleared_or_gone_all_slots_are_used_again() -> None:
    suspects = CrashAttribution()
    attribute_crash(suspects, running("t1", "t2", "gone"))
    suspects.clear("t1")
    assert suspects.slots(8, {}, WAITING) == 1
    suspects.clear("t2")
    assert suspects.slots(8, {}, WAITING) == 8
