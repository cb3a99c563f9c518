"""The scheduler's loop at work, from a waiting task to its result and through what may go wrong in between.

The loop naps for an hour unless something wakes it, so a test in which nothing wakes it would not end well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from errors import StoreBusyError
from optimizer.devices import supervisor
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.scheduling import loop, storage_retry
from optimizer.scheduling.parts import SchedulingPath
from optimizer.tasks.events import WindowFinished
from optimizer.tasks.task import TaskOptions, TaskStatus
from tests.optimizer.scheduling.rig import CARD, LONGEST_NAP_S, WAIT_S, Rig, running_rig
from whisper_core.worker import messages as protocol


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PAUSE_AFTER_ERROR_S", 0.0)
    monkeypatch.setattr(storage_retry, "PAUSES_S", (0.0,))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """With the CPU as its one device, which is ready."""
    with running_rig(tmp_path) as made:
        made.worker().ready()
        yield made


# --- from a waiting task to its result -------------------------------------------------------------------------------


def test_a_waiting_task_is_claimed_reserved_for_and_handed_over(rig: Rig) -> None:
    rig.submit("T1")
    load = rig.worker().expect(protocol.LoadModel)
    run = rig.worker().expect(protocol.RunTask)
    rig.settle()
    task = rig.queue.get("T1")
    assert (load.model, run.task_id, run.model, run.resume) == ("base", "T1", "base", None)
    assert run.audio_path == str(rig.files.audio_path("T1"))
    assert (task.status, task.device, task.lease_token) == (TaskStatus.PROCESSING, "cpu", run.attempt_id)
    assert rig.owners() == {"model:base", "T1"}
    assert rig.device().running["T1"].reservation.nbytes == task.estimated_bytes


def test_windows_and_the_result_are_durable_and_the_memory_is_given_back(rig: Rig) -> None:
    run = rig.start_task("T1")
    rig.clock.advance(10)
    rig.worker().finish_window(run, 0)
    assert rig.queue.get("T1").windows_done == 1
    (event,) = [each for each in rig.events if isinstance(each, WindowFinished)]
    assert (event.seq, event.first_segment, event.speed) == (1, 0, 3.0)

    rig.worker().finish(run)
    task = rig.queue.get("T1")
    assert (task.status, task.language, task.peak_bytes) == (TaskStatus.COMPLETED, "en", 1000)
    assert rig.files.read_transcript("T1", task.result_sha256).text == "Hello."
    assert not rig.files.has_audio("T1")

    rig.settle()
    assert (rig.owners(), rig.device().running) == ({"model:base"}, {})
    assert rig.forecasts.accuracy().count == 1


def test_a_result_is_durable_although_the_scheduler_is_busy(rig: Rig) -> None:
    run = rig.start_task("T1")
    with rig.busy_loop():
        rig.worker().finish(run)
        assert rig.queue.get("T1").status is TaskStatus.COMPLETED
        assert "T1" in rig.owners()  # the picture of the device follows
    rig.settle()
    assert rig.owners() == {"model:base"}


def test_a_result_waits_for_a_busy_database_and_is_recorded_once(rig: Rig) -> None:
    run = rig.start_task("T1")
    rig.queue.faults["complete"] = [StoreBusyError(), StoreBusyError()]
    rig.worker().finish(run)
    assert rig.queue.faults["complete"] == []
    assert rig.queue.get("T1").status is TaskStatus.COMPLETED
    assert [event.code for event in rig.queue.timeline("T1")].count("completed") == 1


def test_a_finished_task_makes_room_for_the_next_one(rig: Rig) -> None:
    rig.scheduler.set_limits(max_concurrent=1)
    first = rig.start_task("T1")
    rig.submit("T2")
    rig.settle()
    reason = rig.scheduler.reason("T2")
    assert reason is not None
    assert reason.code.value == "tasks_ahead"
    assert not rig.worker().has_commands()
    rig.worker().finish(first)
    assert rig.worker().expect(protocol.RunTask).task_id == "T2"


def test_a_higher_limit_is_in_force_at_once(rig: Rig) -> None:
    rig.scheduler.set_limits(max_concurrent=1)
    rig.start_task("T1")
    rig.submit("T2")
    rig.settle()
    rig.scheduler.set_limits(max_concurrent=2)
    assert rig.worker().expect(protocol.RunTask).task_id == "T2"


def test_the_memory_of_an_evicted_model_is_promised_only_when_the_worker_has_unloaded_it(tmp_path: Path) -> None:
    one_model = MemoryEstimationPool(1.2).estimate("base", "cpu", audio_seconds=60.0)
    small = DeviceSpec("cpu", "cpu", "small", int(1.3 * (one_model.weights + one_model.task)))
    with running_rig(tmp_path, [small]) as rig:
        rig.worker().ready()
        rig.worker().finish(rig.start_task("T1"))
        rig.submit("T2", options=TaskOptions(model="tiny"))
        assert rig.worker().expect(protocol.UnloadModel).model == "base"
        rig.settle()
        assert not rig.worker().has_commands()
        rig.worker().report(protocol.ModelUnloaded("base"))
        assert rig.worker().expect(protocol.LoadModel).model == "tiny"
        assert rig.worker().expect(protocol.RunTask).task_id == "T2"
        rig.settle()
        assert rig.owners() == {"model:tiny", "T2"}


def test_the_plain_path_promises_nothing_and_runs_one_task_at_a_time(tmp_path: Path) -> None:
    with running_rig(tmp_path, path=SchedulingPath("it is switched off")) as rig:
        rig.worker().ready()
        run = rig.start_task("T1")
        rig.submit("T2")
        rig.settle()
        assert not rig.worker().has_commands()
        assert rig.device().pool.reserved_bytes == 0
        rig.worker().finish(run)
        assert rig.worker().expect(protocol.RunTask).task_id == "T2"


def test_the_plain_path_loads_a_model_only_when_the_one_before_is_unloaded(tmp_path: Path) -> None:
    with running_rig(tmp_path, path=SchedulingPath("it is switched off")) as rig:
        rig.worker().ready()
        rig.worker().finish(rig.start_task("T1"))
        rig.submit("T2", options=TaskOptions(model="tiny"))
        assert rig.worker().expect(protocol.UnloadModel).model == "base"
        rig.settle()
        assert not rig.worker().has_commands()
        rig.worker().report(protocol.ModelUnloaded("base"))
        assert rig.worker().expect(protocol.LoadModel).model == "tiny"


def test_a_task_whose_samples_are_gone_is_prepared_again_and_holds_up_nobody(rig: Rig) -> None:
    rig.start_task("T0")
    with rig.busy_loop():
        rig.submit("T1")
        rig.files.delete_audio("T1")
        rig.submit("T2")
    assert rig.worker().expect(protocol.RunTask).task_id == "T2"
    rig.settle()
    assert rig.asked_to_prepare == ["T1"]
    assert not rig.queue.get("T1").is_prepared
    assert rig.owners() == {"model:base", "T0", "T2"}


# --- a worker that fails ---------------------------------------------------------------------------------------------


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


# --- a database that is busy, and errors of our own ------------------------------------------------------------------


def test_the_loop_survives_a_database_that_is_busy_while_it_decides_and_says_so(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.start_task("T1")
    rig.queue.faults["claim"] = [StoreBusyError()] * 100
    with caplog.at_level(logging.WARNING):
        rig.submit("T2")
        rig.settle()
    assert len(rig.queue.faults["claim"]) < 100
    assert rig.owners() == {"model:base", "T1"}  # what was reserved for T2 is given back
    assert "event=scheduler_waits code=store_busy" in caplog.text
    rig.queue.faults.clear()
    rig.scheduler.wake()
    assert rig.worker().expect(protocol.RunTask).task_id == "T2"


def test_the_loop_survives_an_error_of_its_own_and_logs_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.queue.faults["waiting"] = [ZeroDivisionError("a bug")]
    with caplog.at_level(logging.ERROR):
        rig.settle()
    assert "event=decision_failed" in caplog.text
    assert rig.scheduler.is_alive()
    assert rig.start_task("T1").task_id == "T1"


def test_no_task_stays_processing_when_the_database_is_busy_as_its_worker_dies(rig: Rig) -> None:
    run = rig.start_task("T1")
    rig.worker().finish_window(run, 0)
    rig.queue.faults["requeue"] = [StoreBusyError(), StoreBusyError(), StoreBusyError()]
    rig.worker().on_exit()
    rig.settle()
    rig.settle()
    assert rig.queue.faults["requeue"] == []
    assert rig.queue.get("T1").status is TaskStatus.PENDING


# --- waking, napping and stopping ------------------------------------------------------------------------------------


def test_any_number_of_wakes_brings_one_decision(rig: Rig) -> None:
    rig.settle()
    with rig.busy_loop():
        before = rig.queue.turns
        for _ in range(1000):
            rig.scheduler.wake()
    rig.settle()
    assert rig.queue.turns - before <= 4


def test_a_loop_that_hangs_is_not_alive_and_one_that_naps_is(rig: Rig) -> None:
    rig.settle()
    rig.clock.advance(LONGEST_NAP_S)
    assert rig.scheduler.is_alive()
    with rig.busy_loop():
        rig.clock.advance(LONGEST_NAP_S + loop.TURN_TIMEOUT_S)
        assert not rig.scheduler.is_alive()
    rig.settle()
    assert rig.scheduler.is_alive()


def test_a_stop_gives_running_tasks_back_and_starts_nothing_more(tmp_path: Path) -> None:
    with running_rig(tmp_path) as rig:
        rig.worker().ready()
        run = rig.start_task("T1")
        rig.worker().finish_window(run, 0)
        with rig.busy_loop():
            rig.submit("T2")
            stopper = threading.Thread(target=rig.scheduler.stop)
            stopper.start()
            assert rig.scheduler._stopping.wait(WAIT_S)
        stopper.join(WAIT_S)
        task = rig.queue.get("T1")
        assert (task.status, task.windows_done, task.free_attempts) == (TaskStatus.PENDING, 1, 1)
        assert rig.queue.get("T2").status is TaskStatus.PENDING
        assert rig.worker().is_gone
        assert not rig.worker().has_commands()
        assert rig.owners() == set()
        assert not rig.scheduler.is_alive()


def test_a_stop_ends_although_the_database_takes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_rig(tmp_path) as rig:
        rig.worker().ready()
        rig.start_task("T1")
        rig.queue.faults["requeue"] = [StoreBusyError()]
        with caplog.at_level(logging.ERROR):
            rig.scheduler.stop()
        assert "task=T1 event=requeue_failed code=store_busy" in caplog.text
        assert not rig.scheduler.is_alive()
