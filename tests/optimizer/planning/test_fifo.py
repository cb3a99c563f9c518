"""The plain path: first come, first served, one task over all devices."""

from __future__ import annotations

from optimizer.planning.fifo import plan_in_order
from optimizer.planning.inputs import DeviceView, ModelView
from optimizer.planning.plan import Plan
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from tests.optimizer.planning.helpers import EVERY_MODEL, GB, HIGH, LOW, RoundEstimates, device, reasons, started, task


def in_order(tasks: list[WaitingTask], *devices: DeviceView, models: dict[str, ModelView] = EVERY_MODEL) -> Plan:
    return plan_in_order(WaitingIndex.of(tasks).view(), devices, RoundEstimates(), models)


def test_the_plain_path_is_first_come_first_served_whatever_else() -> None:
    tasks = [task(1, "large", LOW), task(2, "tiny", HIGH)]
    decision = in_order(tasks, device(capacity=GB, resident=["tiny"]))
    (assignment,) = decision.assignments
    assert (assignment.task_id, assignment.evict, assignment.is_forced) == ("t1", ("tiny",), True)
    assert reasons(decision)["t2"].text == "waits: 1 task ahead"


def test_the_plain_path_runs_one_task_over_all_devices() -> None:
    assert in_order([task(1)], device("cuda:0", running=1), device("cuda:1")).assignments == ()


def test_the_plain_path_passes_over_what_cannot_run_at_all() -> None:
    models = {**EVERY_MODEL, "large": ModelView(is_available=False)}
    tasks = [task(1, "large"), task(2, device="cuda:9"), task(3)]
    decision = in_order(tasks, device(), models=models)
    assert started(decision) == [("t3", "cuda:0")]
