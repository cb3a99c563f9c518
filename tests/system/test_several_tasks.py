"""Several tasks at once on a device: a real database, a real worker, and a fake engine that runs up to eight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from config import load_settings
from errors import InvalidOptionError
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.engines import ENGINES
from optimizer.devices.worker_process import DeviceWorker
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.events import Event, TaskChanged
from optimizer.tasks.task import TaskStatus
from optimizer.tasks.wait_reasons import WaitCode
from tests.fake_engine import WEIGHTS_BYTES
from tests.optimizer.memory.helpers import total_bytes
from tests.paths import MINUTE, SHORT
from tests.system.conftest import (
    HOLD,
    ROOMY,
    Open,
    Submit,
    Watcher,
    cancel_all,
    device_at,
    device_of,
    statuses_of,
    wait_running,
)


class MostRunning:
    """The most tasks that ran at the same time, by model and in all."""

    def __init__(self, system: OptimizedWhisperSystem) -> None:
        self.by_model: Counter[str] = Counter()
        self.total = 0
        self._system = system
        system.add_listener(self._note)

    def _note(self, event: Event) -> None:
        if not isinstance(event, TaskChanged):
            return
        running: Counter[str] = Counter()
        for device in self._system._scheduling.devices:
            running.update(each.task.options.model for each in device.running.copy().values())
        self.total = max(self.total, running.total())
        for model, count in running.items():
            self.by_model[model] = max(self.by_model[model], count)


@contextmanager
def nothing_reserved_after(watcher: Watcher) -> Iterator[None]:
    """When all tasks have ended, the ledger holds the worker and the resident models only."""
    yield
    wait_running(watcher, 0)
    owners = {entry.owner for entry in device_at(watcher.system, 0).pool.snapshot().reservations}
    assert all(owner == "context" or owner.startswith("model:") for owner in owners)


@pytest.mark.parametrize("in_thread", [True, False])
def test_eight_tasks_run_at_once_and_a_ninth_waits(open_parallel: Open, submit: Submit, in_thread: bool) -> None:
    with open_parallel(in_thread=in_thread) as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT, knobs=HOLD) for _ in range(8)]
        assert set(wait_running(watcher, 8)) == set(ids)
        ninth = submit(system, SHORT)
        watcher.wait_until(lambda: system.task(ninth).waiting_reason is not None, "a reason")
        reason = system.task(ninth).waiting_reason
        assert reason is not None
        assert (reason.code.value, reason.data) == ("tasks_ahead", {"count": 8})
        assert device_of(system)["slots"] == 8
        with nothing_reserved_after(watcher):
            system.cancel(ids[0])
            watcher.wait_for(ninth, TaskStatus.COMPLETED)
            cancel_all(watcher, ids[1:])


def test_a_device_is_topped_up_round_after_round_until_the_limit(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(max_concurrent_tasks_limit=7, min_batch_size=2, max_batch_size=3) as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT, knobs=HOLD) for _ in range(9)]
        wait_running(watcher, 7)
        watcher.wait_until(lambda: device_of(system)["resident_models"] == ["tiny.en"], "the model")
        assert len(device_of(system)["running"]) == 7
        cancel_all(watcher, ids)


def test_memory_decides_how_many_run(open_parallel: Open, submit: Submit) -> None:
    pool = MemoryEstimationPool(1.2)
    size = total_bytes(pool, "tiny.en", "cpu", 10.0)
    pool.record_weights("tiny.en", "cpu", WEIGHTS_BYTES)  # loaded, it turns out smaller, so that more than one fits
    task_bytes = pool.task_bytes("tiny.en", "cpu", 10.0)
    expected = (size - pool.context_bytes("cpu") - pool.weights_bytes("tiny.en", "cpu")) // task_bytes
    assert 1 < expected < 8
    with open_parallel(devices=[DeviceSpec("cpu", "cpu", "small", size)]) as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT, knobs=HOLD) for _ in range(expected + 2)]
        running = wait_running(watcher, expected)
        waiting = next(task_id for task_id in ids if task_id not in running)

        def is_short() -> bool:
            reason = system.task(waiting).waiting_reason
            return reason is not None and reason.code is WaitCode.MEMORY_SHORT

        watcher.wait_until(is_short, "the shortage as the reason")
        assert len(device_of(system)["running"]) == expected
        cancel_all(watcher, ids)


def test_tasks_of_several_models_run_at_the_same_time(open_parallel: Open, submit: Submit) -> None:
    with open_parallel() as system:
        watcher, most = Watcher(system), MostRunning(system)
        models = ("tiny.en", "base", "tiny", "base", "tiny.en", "tiny")
        ids = [submit(system, MINUTE, model=model, knobs="window_s=0.2") for model in models]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED) for task_id in ids]
        assert [task.attempt for task in tasks] == [1] * 6
        assert set(most.by_model) == {"tiny.en", "base", "tiny"}
        assert most.total > max(most.by_model.values())
        assert device_of(system)["resident_models"] == ["base", "tiny", "tiny.en"]


def test_of_several_running_tasks_only_the_cancelled_one_ends(open_parallel: Open, submit: Submit) -> None:
    with open_parallel() as system:
        watcher = Watcher(system)
        ids = [submit(system, MINUTE, knobs=knobs) for knobs in ("window_s=0.3", "window_s=0.3", HOLD, "window_s=0.3")]
        watcher.wait_for_a_window(*ids)
        system.cancel(ids[2])
        statuses = [watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.CANCELLED).status for task_id in ids]
        assert statuses == [TaskStatus.COMPLETED] * 2 + [TaskStatus.CANCELLED] + [TaskStatus.COMPLETED]


def test_of_several_running_tasks_one_runs_out_of_memory(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(max_task_retries=0) as system:
        watcher = Watcher(system)
        held = [submit(system, SHORT, knobs=HOLD) for _ in range(3)]
        watcher.wait_for_a_window(*held)
        failing = submit(system, SHORT, knobs="oom@cpu")
        task = watcher.wait_for(failing, TaskStatus.RETRYING)
        assert [error.code for error in task.errors] == ["out_of_memory"]
        assert watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED).attempt == 1
        assert set(wait_running(watcher, 3)) == set(held)
        cancel_all(watcher, held)


def test_when_a_worker_dies_the_tasks_that_had_got_on_come_back_and_are_not_charged(
    open_parallel: Open, submit: Submit
) -> None:
    with open_parallel(in_thread=False, max_task_retries=0) as system:
        watcher = Watcher(system)
        others = [submit(system, SHORT, knobs=HOLD) for _ in range(4)]
        watcher.wait_for_a_window(*others)
        killer = submit(system, SHORT, knobs="abort@0")
        assert watcher.wait_for(killer, TaskStatus.FAILED).errors[-1].code == "worker_died"
        watcher.wait_until(
            lambda: all(system.task(task_id).task.attempt == 2 for task_id in others), "a second attempt of each"
        )
        with nothing_reserved_after(watcher):
            tasks = [system.task(task_id).task for task_id in others]
            assert [(task.attempt, task.free_attempts, len(task.errors)) for task in tasks] == [(2, 1, 1)] * 4
            cancel_all(watcher, others)


@pytest.mark.parametrize("knobs", ["abort@0", "fail=device_lost"])
def test_of_tasks_that_began_together_only_the_one_that_kills_is_charged(
    open_parallel: Open, submit: Submit, knobs: str
) -> None:
    """Which of them it is cannot be known at the first death; they are then begun one by one."""
    with open_parallel(in_thread=False, max_task_retries=0, min_batch_size=4) as system:
        watcher = Watcher(system)
        starter = submit(
            system, MINUTE, knobs="window_s=0.3"
        )  # so that the others wait for the worker and begin together
        ids = [submit(system, SHORT, knobs=each) for each in ("", knobs, "", "")]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED) for task_id in (starter, *ids)]
        assert [task.status.value for task in tasks] == ["completed", "completed", "failed", "completed", "completed"]
        assert {error.code for error in tasks[2].errors} <= {"worker_died", "device_lost"}
        assert all(task.attempt - task.free_attempts == 1 for task in tasks)


def test_a_stop_gives_all_running_tasks_back_and_the_next_start_completes_them(
    open_parallel: Open, submit: Submit
) -> None:
    with open_parallel() as system:
        ids = [submit(system, MINUTE, knobs="hold@1 once") for _ in range(5)]
        Watcher(system).wait_for_a_window(*ids)
    with open_parallel() as system:
        watcher = Watcher(system)
        for task_id in ids:
            assert watcher.wait_for(task_id, TaskStatus.COMPLETED).errors == ()
            assert [segment.id for segment in system.transcript(task_id)[0].segments] == [0, 1, 2]


# --- the limit `auto` --------------------------------------------------------------------------------------------


def test_without_a_limit_as_many_run_as_the_devices_have_slots(open_parallel: Open, submit: Submit) -> None:
    devices = [ROOMY, DeviceSpec("cuda:0", "cuda", "a card", 100 * 10**9)]
    with open_parallel(devices=devices, max_concurrent_tasks_limit="auto", max_batch_size=8) as system:
        watcher = Watcher(system)
        watcher.wait_until(lambda: all(status.is_ready for status in statuses_of(system)), "ready devices")
        ids = [submit(system, SHORT, knobs=HOLD) for _ in range(18)]
        watcher.wait_until(lambda: sum(len(s.running) for s in statuses_of(system)) == 16, "sixteen running tasks")
        report = system.status()
        assert report["limits"]["max_concurrent_tasks"] == 16
        assert report["settings"]["MAX_CONCURRENT_TASKS_LIMIT"] == "auto"
        for task_id in ids:
            system.cancel(task_id)


def test_the_limit_auto_can_be_narrowed_while_running(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(max_concurrent_tasks_limit="auto", min_concurrent_tasks=2) as system:
        watcher = Watcher(system)
        assert system.set_limits(max_concurrent_tasks=2)["limits"]["max_concurrent_tasks"] == 2
        with pytest.raises(InvalidOptionError):
            system.set_limits(max_concurrent_tasks=1)
        ids = [submit(system, SHORT, knobs=HOLD) for _ in range(4)]
        running = wait_running(watcher, 2)
        watcher.wait_for_a_window(*running)
        assert len(device_of(system)["running"]) == 2
        cancel_all(watcher, ids)


# --- which engine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "engine"),
    [
        ({"engine": "batch"}, "batch"),
        ({"engine": "reference"}, "reference"),
        ({"engine": "batch", "enable_optimization_system": False}, "reference"),
    ],
)
def test_the_engine_is_the_settings_one_and_the_plain_path_has_the_reference(
    make_settings: Callable[..., Any], values: dict[str, Any], engine: str
) -> None:
    system = OptimizedWhisperSystem(make_settings(**values))
    devices, path = system._scheduling.devices, system._scheduling.path
    devices.open([ROOMY], system._parts.reports, is_optimized=path.is_optimized())
    (worker,) = (device.worker for device in devices)
    assert isinstance(worker, DeviceWorker)
    assert worker.config.engine_factory == ENGINES[engine].factory
    assert load_settings(None).engine in ENGINES


def test_the_plain_path_runs_one_task_at_a_time_whatever_the_engine_can(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(enable_optimization_system=False) as system:
        watcher, most = Watcher(system), MostRunning(system)
        ids = [submit(system, MINUTE, knobs="window_s=0.05") for _ in range(4)]
        for task_id in ids:
            watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert most.total == 1
