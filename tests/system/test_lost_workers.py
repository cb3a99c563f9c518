"""Workers that lose their device, hang or are stopped: what becomes of the tasks, and what others notice of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from optimizer.devices.supervisor import HEARTBEAT_TIMEOUT_S, UNSTABLE_RESTARTS
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.events import Event, SystemChanged
from optimizer.tasks.task import Priority, Task, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import window
from tests.paths import MINUTE, SHORT
from tests.system.conftest import Open, Submit, Watcher, device_at

STEP_S = 5.0
NO_DEVICE, UNSTABLE = "no device is ready", "cpu keeps failing"


class ReadinessLog:
    """What the system said about its readiness whenever something about its devices changed."""

    def __init__(self, system: OptimizedWhisperSystem) -> None:
        self._system = system
        self.said: set[str] = set()
        system.add_listener(self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, SystemChanged):
            self.said.update(self._system.readiness())


def let_time_pass(watcher: Watcher, clock: FakeClock, is_over: Callable[[], bool], what: str) -> None:
    """As for a server that is at work: its loop goes round all the while."""
    scheduler = watcher.system._scheduler

    def step() -> bool:
        if is_over():
            return True
        if scheduler._last_iteration_at == clock.monotonic():
            clock.advance(STEP_S)
        scheduler.wake()
        return False

    watcher.wait_until(step, what)


def worker_of(system: OptimizedWhisperSystem) -> psutil.Process:
    pid = device_at(system, 0).worker.pid
    assert pid is not None
    return psutil.Process(pid)


def charged(task: Task) -> int:
    return task.attempt - task.free_attempts


@pytest.mark.proves("F21")
def test_of_tasks_that_lose_their_device_together_only_the_suspect_is_charged(
    open_parallel: Open, submit: Submit
) -> None:
    with open_parallel(in_thread=False, max_task_retries=0) as system:
        watcher = Watcher(system)
        others = [submit(system, MINUTE, knobs="hold@1 once") for _ in range(2)]
        watcher.wait_for_a_window(*others)
        first, readiness = worker_of(system), ReadinessLog(system)
        suspect = watcher.wait_for(submit(system, SHORT, knobs="fail=device_lost"), TaskStatus.FAILED)
        assert [error.code for error in suspect.errors] == ["device_lost"]
        for task_id in others:
            task = watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED)
            assert (task.status, task.attempt, charged(task)) == (TaskStatus.COMPLETED, 2, 1)
            assert [segment.id for segment in system.transcript(task_id)[0].segments] == [0, 1, 2]
        assert not first.is_running()
        assert readiness.said == {NO_DEVICE}
        assert system.readiness() == []

        for _ in range(UNSTABLE_RESTARTS - 1):
            watcher.wait_for(submit(system, SHORT, knobs="fail=device_lost"), TaskStatus.FAILED)
        watcher.wait_until(lambda: system.readiness() == [UNSTABLE], "a worker that is back, and the remark about it")


@pytest.mark.proves("F23")
def test_a_worker_that_hangs_is_killed_and_the_task_that_does_it_again_fails(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, killed_at = FakeClock(), list[float]()
    with open_system(in_thread=False, clock=clock, max_task_retries=1) as system:
        watcher = Watcher(system)
        hanging = submit(system, SHORT, knobs="hang@0")
        watcher.wait_for(hanging, TaskStatus.PROCESSING)
        neighbour = submit(system, SHORT, priority=Priority.HIGH)
        first, readiness = worker_of(system), ReadinessLog(system)
        started_at = clock.monotonic()
        worker = device_at(system, 0).worker
        kill = worker.kill

        def kill_and_note() -> None:
            killed_at.append(clock.monotonic())
            kill()

        monkeypatch.setattr(worker, "kill", kill_and_note)
        let_time_pass(watcher, clock, lambda: bool(killed_at), "the kill")
        assert HEARTBEAT_TIMEOUT_S < killed_at[0] - started_at < HEARTBEAT_TIMEOUT_S + 3 * STEP_S
        watcher.wait_until(lambda: not first.is_running(), "the end of the worker")
        task = watcher.wait_for(neighbour, TaskStatus.COMPLETED)
        assert (task.attempt, task.errors) == (1, ())
        assert [error.code for error in system.task(hanging).task.errors] == ["engine_timeout"]
        assert readiness.said == {NO_DEVICE}

        def has_failed() -> bool:
            return system.task(hanging).task.status is TaskStatus.FAILED

        let_time_pass(watcher, clock, has_failed, "a second hang")
        task = system.task(hanging).task
        assert [error.code for error in task.errors] == ["engine_timeout"] * 2
        assert charged(task) == 2
        assert watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED).attempt == 1


@pytest.mark.proves("F37")
def test_what_a_stopped_worker_held_goes_on_elsewhere_and_its_lease_is_worth_nothing(
    open_system: Open, submit: Submit, tmp_path: Path
) -> None:
    clock = FakeClock()
    with open_system(in_thread=False, clock=clock) as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE, knobs="hold@1 once")
        watcher.wait_for_a_window(task_id)
        lease, stopped = system.task(task_id).task.lease_token, worker_of(system)
        assert lease is not None
        stopped.suspend()
        let_time_pass(watcher, clock, lambda: not stopped.is_running(), "the end of the worker")
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert (task.attempt, charged(task)) == (2, 1)
        assert [error.code for error in task.errors] == ["engine_timeout"]
        assert [window.seq for window in watcher.windows_of(task_id)] == [1, 2, 3]
        assert system._queue.save_window(task_id, lease, window(1)) is None
        assert system._queue.requeue(task_id, lease) is None
        assert system.task(task_id).task == task
        assert [path.name for path in (tmp_path / "data" / "transcripts").iterdir()] == [f"{task_id}.json"]


def test_a_server_that_stood_still_itself_blames_no_worker(open_system: Open, submit: Submit) -> None:
    """Stopped with Ctrl-Z, or in a virtual machine that was frozen: all at once an hour has passed."""
    clock = FakeClock()
    with open_system(in_thread=False, clock=clock, max_task_retries=0) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT, knobs="hold@0")
        watcher.wait_until(lambda: device_at(system, 0).models.loaded == {"tiny.en"}, "the task's model")
        worker = worker_of(system)
        clock.advance(3600.0)
        until = clock.monotonic() + HEARTBEAT_TIMEOUT_S / 2
        let_time_pass(watcher, clock, lambda: clock.monotonic() > until, "half a minute more")
        task = system.task(task_id).task
        assert worker.is_running()
        assert (task.status, task.attempt, task.errors) == (TaskStatus.PROCESSING, 1, ())
        system.cancel(task_id)
