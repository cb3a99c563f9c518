"""The plain path: one task at a time, in order of arrival."""

from __future__ import annotations

from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState
from optimizer.tasks.task import TaskStatus
from tests.paths import SHORT
from tests.system.conftest import Open, Submit, Watcher, device_at, started_at, statuses_of


def test_the_plain_path_runs_tasks_one_at_a_time_in_order_of_arrival(open_system: Open, submit: Submit) -> None:
    with open_system(enable_optimization_system=False) as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT, model=model) for model in ("base", "tiny.en", "base")]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED) for task_id in ids]
        starts = [started_at(task) for task in tasks]
        assert starts == sorted(starts)
        assert system.status()["path"] == "plain"


def test_a_device_that_cannot_be_used_holds_up_nobody_on_the_plain_path(open_system: Open, submit: Submit) -> None:
    devices = [DeviceSpec("cpu", "cpu", "a", 4 * 10**9), DeviceSpec("cuda:7", "cuda", "b", 4 * 10**9)]
    with open_system(enable_optimization_system=False, devices=devices) as system:
        watcher = Watcher(system)
        watcher.wait_until(lambda: all(status.is_ready for status in statuses_of(system)), "ready devices")
        device_at(system, 1).supervisor.state = DeviceState.UNAVAILABLE
        submit(system, SHORT, device="cuda:7")
        assert watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED).device == "cpu"
