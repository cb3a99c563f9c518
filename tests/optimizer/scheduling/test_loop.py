"""The scheduler's loop at work, from a waiting task to its result and through a busy database to its stop.

The loop naps for an hour unless something wakes it, so a test in which nothing wakes it would not end well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errors import StoreBusyError
from optimizer.devices.device import Device
from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.monitoring.utilization import Utilization
from optimizer.planning.plan import Plan
from optimizer.planning.policy import Situation
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling import loop
from optimizer.scheduling.decision import DecisionMaker
from optimizer.scheduling.path import SchedulingPath
from optimizer.scheduling.policy_guard import PolicyGuard
from optimizer.tasks.events import TaskChanged, WindowFinished
from optimizer.tasks.task import TaskOptions, TaskStatus
from tests.optimizer.faults import counted
from tests.optimizer.queue.helpers import window
from tests.optimizer.scheduling.rig import LONGEST_NAP_S, WAIT_S, Rig, running_rig
from whisper_core.text.transcript import Transcript
from whisper_core.worker import messages as protocol

pytestmark = pytest.mark.usefixtures("short_pauses")


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


def test_only_the_first_start_of_a_task_ends_its_wait(rig: Rig) -> None:
    with rig.busy_loop():
        rig.submit("T1")
        rig.clock.advance(4)
    rig.worker().expect(protocol.LoadModel)
    run = rig.worker().expect(protocol.RunTask)
    rig.settle()
    rig.worker().fail(run)
    rig.clock.advance(10)
    rig.scheduler.wake()
    rig.worker().expect(protocol.RunTask)
    rig.settle()
    sample = rig.monitor.finish_interval(Utilization(), [], ended=(0, 0)).sample
    assert (sample.started, sample.mean_wait_seconds) == (1, 4.0)


def test_windows_and_the_result_are_durable_and_the_memory_is_given_back(rig: Rig) -> None:
    run = rig.start_task("T1")
    rig.clock.advance(10)
    rig.worker().finish_window(run, 0)
    assert rig.queue.get("T1").windows_done == 1
    (event,) = [each for each in rig.events if isinstance(each, WindowFinished)]
    assert (event.seq, event.first_segment, event.speed) == (1, 0, 3.0)

    rig.worker().finish(run)
    task = rig.queue.get("T1")
    assert (task.status, task.language, task.measured_bytes) == (TaskStatus.COMPLETED, "en", 1000)
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


def test_reports_that_come_together_are_stored_together(rig: Rig) -> None:
    runs = [rig.start_task(f"T{number}") for number in range(3)]
    with counted("store.after_commit") as commits:
        rig.worker().report(
            *(
                report
                for run in runs
                for report in (
                    protocol.WindowDone(run.task_id, run.attempt_id, window(0)),
                    protocol.TaskDone(run.task_id, run.attempt_id, Transcript("Hello.", "en", ()), 1000, 1.0),
                )
            )
        )
    assert len(commits) == 1
    for run in runs:
        task = rig.queue.get(run.task_id)
        assert (task.status, task.measured_bytes) == (TaskStatus.COMPLETED, 1000)
        assert rig.files.read_transcript(task.id, task.result_sha256).text == "Hello."
        assert not rig.files.has_audio(task.id)
    assert [event.task_id for event in rig.events if isinstance(event, WindowFinished)] == [run.task_id for run in runs]
    rig.settle()
    assert (rig.owners(), rig.device().running) == ({"model:base"}, {})


def test_of_reports_that_come_together_the_last_text_is_told_before_the_end(rig: Rig) -> None:
    runs = [rig.start_task(f"T{number}") for number in range(3)]
    ends: list[protocol.Report] = [
        protocol.TaskDone("T0", runs[0].attempt_id, Transcript("Hello.", "en", ()), 1000, 1.0),
        protocol.TaskFailed("T1", runs[1].attempt_id, "engine_error", "It failed."),
        protocol.TaskStopped("T2", runs[2].attempt_id),
    ]
    windows = [protocol.WindowDone(run.task_id, run.attempt_id, window(0)) for run in runs]
    with rig.busy_loop():  # which would start the stopped one again
        before = len(rig.events)
        rig.worker().report(*windows, *ends)
        told = rig.events[before:]
    of_tasks = [(type(event), event.task_id) for event in told if isinstance(event, (WindowFinished, TaskChanged))]
    assert of_tasks == [(kind, f"T{number}") for kind in (WindowFinished, TaskChanged) for number in range(3)]


def test_a_report_that_makes_no_sense_takes_none_of_those_before_it_along(rig: Rig) -> None:
    """Windows came in the wrong order, which only a bug of the worker can be; it is then started anew."""
    first, second = rig.start_task("T1"), rig.start_task("T2")
    with pytest.raises(ValueError, match="window 1 came before window 0"):
        rig.worker().report(
            protocol.TaskDone(first.task_id, first.attempt_id, Transcript("Hello.", "en", ()), 1000, 1.0),
            protocol.WindowDone(second.task_id, second.attempt_id, window(1)),
        )
    assert rig.queue.get("T1").status is TaskStatus.COMPLETED
    assert rig.events[-1] == TaskChanged("T1")
    assert rig.queue.get("T2").windows_done == 0


def test_of_results_that_come_together_a_late_one_changes_nothing(rig: Rig) -> None:
    first, second = rig.start_task("T1"), rig.start_task("T2")
    rig.queue.cancel("T1")
    transcript = Transcript("Hello.", "en", ())
    rig.worker().report(
        protocol.TaskDone(first.task_id, first.attempt_id, transcript, 1000, 1.0),
        protocol.TaskDone(second.task_id, second.attempt_id, transcript, 1000, 1.0),
    )
    states = [rig.queue.get(run.task_id).status for run in (first, second)]
    assert states == [TaskStatus.CANCELLED, TaskStatus.COMPLETED]
    assert [rig.files.transcript_path(run.task_id).exists() for run in (first, second)] == [False, True]


def test_the_tasks_of_one_decision_are_claimed_in_one_commit(rig: Rig) -> None:
    rig.start_task("T0")
    names = ["T1", "T2", "T3", "T4"]
    with counted("store.after_commit") as commits:
        with rig.busy_loop():
            for name in names:
                rig.submit(name)
        assert sorted(rig.worker().expect(protocol.RunTask).task_id for _ in names) == names
    assert len(commits) == len(names) + 1


def test_a_task_that_cannot_be_handed_over_keeps_none_of_those_claimed_with_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.start_task("T0")
    send, is_broken = rig.worker().send, iter([True])

    def fail_once(command: protocol.Command) -> None:
        if isinstance(command, protocol.RunTask) and next(is_broken, False):
            raise ZeroDivisionError("a bug")
        send(command)

    rig.worker().send = fail_once  # type: ignore[method-assign]
    with rig.busy_loop():
        rig.submit("T1")
        rig.submit("T2")
    assert rig.worker().expect(protocol.RunTask).task_id == "T2"
    rig.settle()
    assert "event=decision_failed" in caplog.text
    assert [rig.queue.get(task_id).status for task_id in ("T1", "T2")] == [TaskStatus.RETRYING, TaskStatus.PROCESSING]
    assert rig.owners() == {"model:base", "T0", "T2"}
    decided = [event.data["task_id"] for event in rig.event_log.events("decision")]
    assert decided == ["T2", "T0"]


def test_a_finished_task_makes_room_for_the_next_one(rig: Rig) -> None:
    rig.scheduler.set_limits(max_concurrent=1)
    first = rig.start_task("T1")
    rig.submit("T2")
    rig.settle()
    reason = rig.decisions.reason("T2")
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


def test_the_memory_of_an_evicted_model_is_reserved_only_when_the_worker_has_unloaded_it(tmp_path: Path) -> None:
    pool = MemoryEstimationPool(1.2)
    one_task = pool.weights_bytes("base", "cpu") + pool.task_bytes("base", "cpu", audio_seconds=60.0)
    small = DeviceSpec("cpu", "cpu", "small", int(1.3 * one_task))
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


def test_the_plain_path_reserves_nothing_and_runs_one_task_at_a_time(tmp_path: Path) -> None:
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
    assert rig.queue.samples.are_missing("T1")
    assert [task.id for task in rig.queue.waiting()] == []
    assert rig.owners() == {"model:base", "T0", "T2"}


def test_samples_that_vanish_while_a_task_is_claimed_cost_it_no_attempt(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.start_task("T0")
    there = iter([True])  # when it is looked at before the claim, and no more afterwards
    monkeypatch.setattr(rig.files, "has_audio", lambda task_id: next(there, False))
    rig.submit("T1")
    rig.settle()

    task = rig.queue.get("T1")
    assert (task.status, task.attempt, task.free_attempts) == (TaskStatus.PENDING, 1, 1)
    assert rig.asked_to_prepare == ["T1"]
    assert rig.queue.samples.are_missing("T1")
    assert rig.owners() == {"model:base", "T0"}


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


def test_a_loop_that_dies_is_started_again_and_a_fifth_death_in_a_minute_ends_the_process(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []
    rig.scheduler._end_process = ended.append
    for deaths in range(1, loop.MAX_DEATHS + 1):
        rig.queue.faults["waiting"] = [SystemExit()]  # type: ignore[list-item]
        with caplog.at_level(logging.CRITICAL):
            rig.settle()
        assert caplog.text.count("event=scheduler_died") == deaths
        assert rig.scheduler.is_alive()
        assert ended == ([70] if deaths == loop.MAX_DEATHS else [])
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
        before = rig.queue.iterations
        for _ in range(1000):
            rig.scheduler.wake()
    rig.settle()
    assert rig.queue.iterations - before <= 4


def test_a_loop_that_hangs_is_not_alive_and_one_that_naps_is(rig: Rig) -> None:
    rig.settle()
    rig.clock.advance(LONGEST_NAP_S)
    assert rig.scheduler.is_alive()
    with rig.busy_loop():
        rig.clock.advance(LONGEST_NAP_S + loop.ITERATION_TIMEOUT_S)
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


@pytest.mark.parametrize(("owner", "step"), [(PolicyGuard, "plan"), (Device, "supervise")])
def test_a_round_that_took_long_is_followed_by_a_rest_in_which_only_actions_run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, owner: type, step: str
) -> None:
    plan, plans, planned = PolicyGuard.plan, list[float](), threading.Semaphore(0)

    def count(guard: PolicyGuard, situation: Situation) -> Plan:
        plans.append(situation.now)
        planned.release()
        return plan(guard, situation)

    monkeypatch.setattr(PolicyGuard, "plan", count)
    quick = getattr(owner, step)

    def take_long(self: Any, *args: Any, **more: Any) -> Any:
        rig.clock.advance(0.2)
        return quick(self, *args, **more)

    monkeypatch.setattr(owner, step, take_long)
    rig.scheduler.wake()
    assert planned.acquire(timeout=WAIT_S)
    for _ in range(3):
        is_run = threading.Event()
        rig.scheduler.wake()
        rig.inbox.post(is_run.set)
        assert is_run.wait(WAIT_S)
    assert len(plans) == 1
    rig.clock.advance(0.21 * loop.REST_PER_WORK)
    rig.scheduler.wake()
    assert planned.acquire(timeout=WAIT_S)


@pytest.mark.parametrize("before", [DecisionMaker.decide, Device.supervise, IntelligentQueueManager.end_delays])
def test_wherever_the_server_stood_still_no_worker_is_blamed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, before: Callable[..., Any]
) -> None:
    run, stood_still = rig.start_task("T1"), threading.Event()

    def stand_still_once(*args: Any, **more: Any) -> Any:
        if not stood_still.is_set():
            rig.clock.advance(LONGEST_NAP_S + 3600.0)
            stood_still.set()
        return before(*args, **more)

    owner = next(each for each in (DecisionMaker, Device, IntelligentQueueManager) if hasattr(each, before.__name__))
    monkeypatch.setattr(owner, before.__name__, stand_still_once)
    rig.scheduler.wake()
    assert stood_still.wait(WAIT_S)
    for _ in range(2):
        rig.clock.advance(loop.LONGEST_REST_S)
        rig.settle()
    assert rig.worker().kills == 0
    rig.worker().finish(run)
    rig.settle()
    assert rig.queue.get("T1").status is TaskStatus.COMPLETED


def test_a_model_whose_files_were_replaced_is_loaded_anew_once_no_task_uses_it(rig: Rig) -> None:
    first = rig.start_task("T1")
    rig.decisions.note_replaced("base")
    rig.decisions.note_replaced("tiny")  # which is not in memory
    rig.settle()
    assert not rig.worker().has_commands()
    rig.worker().finish(first)
    assert rig.worker().expect(protocol.UnloadModel).model == "base"
    rig.submit("T2")
    rig.settle()
    assert not rig.worker().has_commands()
    rig.worker().report(protocol.ModelUnloaded("base"))
    assert rig.worker().expect(protocol.LoadModel).model == "base"
    second = rig.worker().expect(protocol.RunTask)
    rig.worker().report(protocol.ModelLoaded("base", weights_bytes=0, seconds=1.0))
    rig.worker().finish(second)
    rig.settle()
    assert not rig.worker().has_commands()
    assert [event.data["why"] for event in rig.event_log.events() if event.kind == "model" and "why" in event.data] == [
        "files_replaced"
    ]
