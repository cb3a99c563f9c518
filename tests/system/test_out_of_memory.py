"""Out of memory never fails a task: through a whole system, with fake engines that say when memory is there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.ledger import CONTEXT_OWNER
from optimizer.queue.backoff import RetryDelay
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.task import TaskStatus
from tests.paths import MINUTE, SHORT
from tests.system.conftest import ROOMY, Open, Submit, Watcher, statuses_of

CARD = DeviceSpec("cuda:0", "cuda", "a card", 100 * 10**9)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure."""
    monkeypatch.setattr("optimizer.queue.queue_manager.RetryDelay", partial(RetryDelay, first_s=0.1))


def memory_steps(system: OptimizedWhisperSystem, task_id: str) -> list[str]:
    return [event.data["step"] for event in system._queue.timeline(task_id) if event.code == "memory"]


def used_by_tasks(system: OptimizedWhisperSystem, device: str) -> int:
    """Bytes that are reserved on the device for tasks: neither for its models nor for its worker."""
    pool = next(each for each in system._scheduling.devices if each.spec.name == device).pool
    return sum(
        entry.nbytes
        for entry in pool.snapshot().reservations
        if entry.owner != CONTEXT_OWNER and not entry.owner.startswith("model:")
    )


@pytest.mark.proves("F20")
def test_memory_that_runs_out_costs_no_task_anything_and_all_of_it_comes_back(
    open_parallel: Open, submit: Submit
) -> None:
    """A card has memory for three tasks at a time, and for one of them not even alone."""
    with open_parallel(devices=[CARD, ROOMY], max_task_retries=0, max_batch_size=8) as system:
        watcher = Watcher(system)
        watcher.wait_until(lambda: all(status.is_ready for status in statuses_of(system)), "ready devices")
        held = [submit(system, SHORT, knobs="endless window_s=0.02", device="cuda:0") for _ in range(3)]
        watcher.wait_for_a_window(*held)
        crowd = [submit(system, MINUTE, knobs="oom>3", device="cuda:0") for _ in range(3)]
        too_big = submit(system, SHORT, knobs="oom@cuda")
        for task_id in (*crowd, too_big):
            task = watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED)
            assert (task.status, task.attempt - task.free_attempts) == (TaskStatus.COMPLETED, 1)
        assert [system.task(task_id).task.attempt for task_id in crowd] == [1, 1, 1]
        assert "batch_shrunk" in {step for task_id in held + crowd for step in memory_steps(system, task_id)}
        assert memory_steps(system, too_big)[-1] == "moved_to_cpu"
        assert system.figures().totals.moved_to_cpu == 1
        assert {system.task(task_id).task.status for task_id in held} == {TaskStatus.PROCESSING}
        assert used_by_tasks(system, "cuda:0") > 0
        for task_id in held:
            system.cancel(task_id)
        for device in ("cuda:0", "cpu"):
            watcher.wait_until(lambda name=device: used_by_tasks(system, name) == 0, "all of the memory")  # type: ignore[misc]


def test_a_batch_that_is_too_large_shrinks_and_every_task_completes(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(max_task_retries=0, max_batch_size=8) as system:
        watcher = Watcher(system)
        held = [submit(system, SHORT, knobs="endless window_s=0.02") for _ in range(3)]
        watcher.wait_for_a_window(*held)
        ids = [submit(system, MINUTE, knobs="oom>3") for _ in range(3)]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED) for task_id in ids]
        assert [(task.status.value, task.attempt, task.errors) for task in tasks] == [("completed", 1, ())] * 3
        for task_id in held:
            assert system.task(task_id).task.status is TaskStatus.PROCESSING
            system.cancel(task_id)
        assert "batch_shrunk" in {step for task_id in held + ids for step in memory_steps(system, task_id)}


def test_a_task_that_never_fits_waits_until_memory_is_back(open_parallel: Open, submit: Submit, tmp_path: Path) -> None:
    memory_is_back = tmp_path / "memory-is-back"
    with open_parallel(max_task_retries=0) as system:
        watcher = Watcher(system)
        before = system._scheduling.estimates.task_bytes("tiny.en", "cpu", 60.0)
        task_id = submit(system, SHORT, knobs=f"oom_until={memory_is_back}")
        watcher.wait_until(lambda: memory_steps(system, task_id).count("waits") >= 3, "three shortages")
        assert not system.task(task_id).task.status.is_final
        assert system._scheduling.estimates.task_bytes("tiny.en", "cpu", 60.0) > before
        other = submit(system, SHORT)
        assert watcher.wait_for(other, TaskStatus.COMPLETED).errors == ()
        memory_is_back.touch()
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert {error.code for error in task.errors} == {"out_of_memory"}
        assert task.attempt - task.free_attempts == 1


@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_task_for_which_a_card_has_no_memory_goes_on_on_the_cpu_if_that_is_allowed(
    open_parallel: Open, submit: Submit, is_allowed: bool
) -> None:
    with open_parallel(devices=[CARD, ROOMY], out_of_memory_on_cpu=is_allowed) as system:
        watcher = Watcher(system)
        watcher.wait_until(lambda: all(status.is_ready for status in statuses_of(system)), "ready devices")
        task_id = submit(system, SHORT, knobs="oom@cuda")
        if is_allowed:
            task = watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED)
            assert (task.status, task.device) == (TaskStatus.COMPLETED, "cpu")
            assert task.attempt - task.free_attempts == 1
            assert memory_steps(system, task_id) == ["waits", "moved_to_cpu"]
        else:
            watcher.wait_until(lambda: memory_steps(system, task_id).count("waits") >= 3, "three shortages")
            assert system.task(task_id).task.requested_device == "auto"


def test_the_cpu_is_started_for_what_the_only_card_has_no_memory_for_and_takes_nothing_else(
    open_parallel: Open, submit: Submit
) -> None:
    with open_parallel(devices=[CARD]) as system:
        watcher = Watcher(system)
        moved = submit(system, SHORT, knobs="oom@cuda")
        assert watcher.wait_for(moved, TaskStatus.COMPLETED, TaskStatus.FAILED).device == "cpu"
        assert sorted(status.spec.name for status in statuses_of(system)) == ["cpu", "cuda:0"]
        others = [submit(system, SHORT) for _ in range(3)]
        assert {watcher.wait_for(each, TaskStatus.COMPLETED).device for each in others} == {"cuda:0"}


def test_idle_models_make_room_on_a_device_that_ran_out_of_memory(open_parallel: Open, submit: Submit) -> None:
    with open_parallel() as system:
        watcher = Watcher(system)
        watcher.wait_for(submit(system, SHORT, model="base"), TaskStatus.COMPLETED)
        task_id = submit(system, SHORT, knobs="oom>0")
        watcher.wait_until(lambda: "model_evicted" in memory_steps(system, task_id), "room to be made")
        watcher.wait_until(lambda: "base" not in system.status()["devices"][0]["resident_models"], "base to leave")
        assert not system.task(task_id).task.status.is_final
