"""The wall clock is set, by a person, by daylight saving or by a battery that was empty: nothing of it is believed."""

from __future__ import annotations

import pytest

from optimizer.queue.backoff import MAX_RETRY_DELAY_S
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.paths import MINUTE, SHORT
from tests.system.conftest import Open, Submit, Watcher, device_at

HOUR_S, TEN_YEARS_S = 3600.0, 10 * 365 * 86_400.0


@pytest.mark.proves("F35")
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, TEN_YEARS_S, -TEN_YEARS_S])
def test_a_jump_of_the_wall_clock_expires_nothing_and_delays_nothing(
    open_system: Open, submit: Submit, jump_s: float
) -> None:
    """Not while the server runs, and not over a restart, when only the wall clock tells how late it is."""
    clock = FakeClock()
    with open_system(clock=clock, max_task_retries=1) as system:
        watcher = Watcher(system)
        failing = submit(system, SHORT, knobs="fail=engine_error")
        watcher.wait_for(failing, TaskStatus.RETRYING)
        running = submit(system, MINUTE, knobs="hold@1 once")
        watcher.wait_for_a_window(running)
        waiting = [submit(system, SHORT) for _ in range(3)]
        clock.jump(jump_s)
        until = clock.monotonic() + 3.0
        watcher.wait_until(lambda: _tick(watcher, clock) >= until, "some rounds of the loop")
        assert len(device_at(system, 0).supervisor._restarts) == 0
        assert system.task(running).task.status is TaskStatus.PROCESSING
        assert system.task(failing).task.status is TaskStatus.RETRYING
        assert (system.health(), system.readiness()) == ([], [])
        newest_first = [view.task.id for view in system.tasks(TaskFilter())[0]]
        assert newest_first == [*reversed(waiting), running, failing]

    clock.jump(-2 * jump_s)
    with open_system(clock=clock, max_task_retries=1) as system:
        watcher = Watcher(system)
        for task_id in (running, *waiting):
            task = watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED)
            assert (task.status, task.attempt - task.free_attempts) == (TaskStatus.COMPLETED, 1)
        assert [view.task.id for view in system.tasks(TaskFilter())[0]] == newest_first
        clock.advance(MAX_RETRY_DELAY_S)
        assert watcher.wait_for(failing, TaskStatus.FAILED).attempt == 2


def _tick(watcher: Watcher, clock: FakeClock) -> float:
    """Moves time on when the loop has seen the time as it is."""
    scheduler = watcher.system._scheduler
    if scheduler._last_iteration_at == clock.monotonic():
        clock.advance(1.0)
    scheduler.wake()
    return clock.monotonic()
