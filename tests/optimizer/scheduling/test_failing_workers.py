"""What becomes of a task that fails, or whose worker crashes, falls silent or is told to stop it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from optimizer.devices import supervisor
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState
from optimizer.tasks.task import TaskStatus
from tests.optimizer.scheduling.rig import CARD, GB, Rig, running_rig
from whisper_core.worker import messages as protocol

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_a_task_that_fails_is_tried_again_when_its_delay_is_over_though_nothing_wakes_the_loop(tmp_path: Path) -> None:
    with running_rig(tmp_path, retry_delay_s=0.05) as rig:
        rig.worker().ready()
        rig.worker().fail(rig.start_task("T1"))
        rig.settle()
        assert rig.queue.get("T1").status is TaskStatus.RETRYING
        assert rig.owners() == {"model:base"}
        rig.clock.advance(0.1)
        run = rig.worker().expect(protocol.RunTask)
        assert (run.task_id, rig.queue.get("T1").attempt) == ("T1", 2)


def test_the_task_that_made_a_worker_crash_is_charged_and_the_worker_started_again(rig: Rig) -> None:
    rig.start_task("T1", max_attempts=1)
    rig.worker().on_exit()
    rig.settle()
    task = rig.queue.get("T1")
    assert (task.status, task.errors[-1].code) == (TaskStatus.FAILED, "worker_died")
    assert not rig.files.has_audio("T1")
    assert (rig.owners(), rig.worker().starts, rig.device().state) == (set(), 2, DeviceState.STARTING)


def test_a_task_that_had_got_on_is_not_charged_and_continues_after_its_last_window(rig: Rig) -> None:
    run = rig.start_task("T1", max_attempts=1)
    rig.worker().finish_window(run, 0)
    rig.worker().on_exit()
    rig.settle()
    task = rig.queue.get("T1")
    assert (task.status, task.attempt - task.free_attempts) == (TaskStatus.PENDING, 0)
    rig.worker().ready()
    rig.worker().expect(protocol.LoadModel)
    again = rig.worker().expect(protocol.RunTask)
    assert (again.task_id, again.first_window, len(again.segments)) == ("T1", 1, 1)
    assert again.attempt_id != run.attempt_id


def test_after_a_crash_with_several_candidates_they_are_started_one_by_one(rig: Rig) -> None:
    for number in range(3):
        rig.start_task(f"T{number}")
    rig.worker().on_exit()
    rig.settle()
    assert {rig.queue.get(f"T{number}").status for number in range(3)} == {TaskStatus.PENDING}
    rig.worker().ready()
    rig.worker().expect(protocol.LoadModel)
    first = rig.worker().expect(protocol.RunTask)
    rig.settle()
    assert not rig.worker().has_commands()
    rig.worker().finish_window(first, 0)
    assert rig.worker().expect(protocol.RunTask).task_id != first.task_id


def test_a_result_of_an_attempt_that_was_given_back_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    old = rig.start_task("T1")
    rig.worker().finish_window(old, 0)
    rig.worker().on_exit()
    rig.settle()
    rig.worker().ready()
    rig.worker().expect(protocol.LoadModel)
    new = rig.worker().expect(protocol.RunTask)
    rig.settle()
    rig.worker().finish(old, text="late")
    rig.settle()
    task = rig.queue.get("T1")
    assert (task.status, task.lease_token) == (TaskStatus.PROCESSING, new.attempt_id)
    assert list((tmp_path / "transcripts").iterdir()) == []
    assert "T1" in rig.owners()

    rig.worker().finish(new)
    rig.worker().finish(old, text="later still")
    assert rig.files.read_transcript("T1", rig.queue.get("T1").result_sha256).text == "Hello."


def test_a_worker_that_falls_silent_is_killed_and_its_task_told_why(rig: Rig) -> None:
    rig.start_task("T1", max_attempts=1)
    rig.clock.advance(supervisor.HEARTBEAT_TIMEOUT_S + 1)
    rig.settle()
    assert rig.worker().kills == 1
    rig.worker().on_exit()
    rig.settle()
    assert rig.queue.get("T1").errors[-1].code == "engine_timeout"


def test_when_no_device_can_be_used_the_cpu_takes_every_task(tmp_path: Path) -> None:
    with running_rig(tmp_path, [CARD]) as rig:
        rig.submit("T1")
        for _ in range(supervisor.START_TRIES):
            rig.worker("cuda:0").on_exit()
            rig.clock.advance(60)
            rig.settle()
        assert rig.device("cuda:0").state is DeviceState.UNAVAILABLE
        rig.worker("cpu").ready()
        rig.worker("cpu").expect(protocol.LoadModel)
        assert rig.worker("cpu").expect(protocol.RunTask).task_id == "T1"


def test_the_cpu_takes_every_task_also_when_it_was_there_for_some_before(tmp_path: Path) -> None:
    with running_rig(tmp_path, [CARD]) as rig:
        rig.submit("T1", requested_device="cpu")
        rig.settle()
        rig.worker("cpu").ready()
        rig.worker("cpu").expect(protocol.LoadModel)
        rig.submit("T2")
        for _ in range(supervisor.START_TRIES):
            rig.worker("cuda:0").on_exit()
            rig.clock.advance(60)
            rig.settle()
        assert rig.device("cuda:0").state is DeviceState.UNAVAILABLE
        assert {rig.worker("cpu").expect(protocol.RunTask).task_id for _ in range(2)} == {"T1", "T2"}


def test_a_task_that_is_stopped_by_hand_is_ended_on_its_worker_and_stays_cancelled(rig: Rig) -> None:
    run = rig.start_task("T1")
    rig.queue.cancel("T1")
    rig.scheduler.stop_task("T1")
    stop = rig.worker().expect(protocol.StopTask)
    assert (stop.task_id, stop.attempt_id, stop.at_window) == ("T1", run.attempt_id, False)
    rig.worker().report(protocol.TaskStopped("T1", run.attempt_id))
    rig.settle()
    assert rig.queue.get("T1").status is TaskStatus.CANCELLED
    assert rig.owners() == {"model:base"}


def test_a_worker_that_somebody_killed_charges_nobody_and_makes_no_suspects(rig: Rig) -> None:
    for number in range(2):
        rig.start_task(f"T{number}", max_attempts=1)
    rig.worker().exit_code = -signal.SIGTERM
    rig.worker().on_exit()
    rig.settle()
    tasks = [rig.queue.get(f"T{number}") for number in range(2)]
    assert {(task.status, task.attempt - task.free_attempts) for task in tasks} == {(TaskStatus.PENDING, 0)}
    rig.worker().ready()
    rig.worker().expect(protocol.LoadModel)
    assert {rig.worker().expect(protocol.RunTask).task_id for _ in range(2)} == {"T0", "T1"}


def test_a_task_that_makes_its_worker_crash_three_times_is_poison(tmp_path: Path) -> None:
    with running_rig(tmp_path, retry_delay_s=0.05) as rig:
        rig.worker().ready()
        rig.submit("T1", max_attempts=10)
        for death in range(3):
            rig.worker().expect(protocol.LoadModel)
            rig.worker().expect(protocol.RunTask)
            rig.settle()
            rig.worker().exit_code = -signal.SIGABRT
            rig.worker().on_exit()
            rig.settle()
            if death < 2:
                rig.clock.advance(60)
                rig.settle()
                rig.worker().ready()
        task = rig.queue.get("T1")
        assert (task.status, [error.code for error in task.errors]) == (
            TaskStatus.FAILED, ["worker_died"] * 3 + ["poison"],
        )  # fmt: skip
        assert not rig.files.has_audio("T1")


def test_suspects_of_the_server_s_death_run_one_at_a_time_on_all_devices_together(tmp_path: Path) -> None:
    other = DeviceSpec("cuda:1", "cuda", "another card", 100 * GB)
    with running_rig(tmp_path, [CARD, other]) as rig:
        for number in range(3):
            rig.submit(f"T{number}")
        rig.attribution.suspect_of_server({f"T{number}": 0 for number in range(3)})
        for device in ("cuda:0", "cuda:1"):
            rig.worker(device).ready()
        rig.settle()
        started = [device for device in ("cuda:0", "cuda:1") if rig.device(device).running]
        assert len(started) == 1
        (running,) = rig.device(started[0]).running.values()
        rig.worker(started[0]).expect(protocol.LoadModel)
        run = rig.worker(started[0]).expect(protocol.RunTask)
        rig.worker(started[0]).finish_window(run, 0)
        rig.settle()
        assert sum(len(rig.device(device).running) for device in ("cuda:0", "cuda:1")) == 2
        assert running.has_progressed
