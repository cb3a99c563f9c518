"""A worker whose engine runs several tasks at once: every report is of its own task, and none harms another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.whisper_core.worker.pipe import ENDLESS, PARALLEL, Server, ends, task, until_ended
from whisper_core.worker import messages as protocol
from whisper_core.worker.messages import LoadModel, Shutdown, StopTask, UnloadModel


def test_tasks_run_together_and_each_reports_for_its_own_attempt(
    start: Callable[..., Server], audio: Path, tmp_path: Path
) -> None:
    server = start(PARALLEL)
    assert server.wait_for(protocol.WorkerReady).slots == 8
    server.send(LoadModel("tiny", str(tmp_path)), *(task(audio, None, number) for number in range(8)))
    assert until_ended(server, 8) == {f"task-{number}": "TaskDone" for number in range(8)}


def test_windows_of_tasks_that_run_together_come_in_turn(
    start: Callable[..., Server], audio: Path, tmp_path: Path
) -> None:
    server = start(PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)), *(task(audio, ENDLESS, number) for number in range(3)))
    while server.wait_for(protocol.WindowDone).task_id != "task-2":
        pass
    windows = [server.wait_for(protocol.WindowDone) for _ in range(6)]
    assert [(report.task_id, report.attempt_id) for report in windows] == [
        (f"task-{number}", f"attempt-{number}") for number in (0, 1, 2)
    ] * 2


def test_a_command_is_obeyed_while_tasks_run(start: Callable[..., Server], audio: Path, tmp_path: Path) -> None:
    server = start(PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)), task(audio, ENDLESS))
    server.wait_for(protocol.WindowDone)
    server.send(LoadModel("base", str(tmp_path)), UnloadModel("base"), task(audio, "fail", 2))
    assert server.wait_for(protocol.ModelLoaded).model == "base"
    assert server.wait_for(protocol.ModelUnloaded) == protocol.ModelUnloaded("base")
    assert server.wait_for(protocol.TaskFailed).task_id == "task-2"


def test_only_the_stopped_one_of_several_tasks_ends(start: Callable[..., Server], audio: Path, tmp_path: Path) -> None:
    server = start(PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)))
    server.send(task(audio, None, 1), task(audio, ENDLESS, 2), task(audio, None, 3))
    server.wait_for(protocol.WindowDone)
    server.send(StopTask("task-2", "attempt-2"))
    assert until_ended(server, 3) == {"task-1": "TaskDone", "task-2": "TaskStopped", "task-3": "TaskDone"}


def test_a_failure_of_one_leaves_the_others_alone(start: Callable[..., Server], audio: Path, tmp_path: Path) -> None:
    server = start(PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)), task(audio, ENDLESS, 1))
    server.wait_for(protocol.WindowDone)
    server.send(task(audio, "oom@cpu", 2), task(audio, None, 3))
    assert until_ended(server, 2) == {"task-2": "TaskFailed", "task-3": "TaskDone"}


def test_a_note_about_a_task_names_its_attempt(start: Callable[..., Server], audio: Path, tmp_path: Path) -> None:
    server = start(PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)), *(task(audio, "oom>2 window_s=0.2", number) for number in range(4)))
    reports: list[object] = []
    while len(ends(reports)) < 4:
        reports.append(server.receive())
    assert set(ends(reports).values()) == {"TaskDone"}
    note = next(report for report in reports if isinstance(report, protocol.TaskNote))
    assert (note.task_id, note.attempt_id, note.code) == ("task-0", "attempt-0", "memory")
    assert note.data["step"] == "batch_shrunk"


def test_a_lost_device_fails_every_task_and_ends_the_worker(
    start: Callable[..., Server], audio: Path, tmp_path: Path
) -> None:
    server = start(PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)), *(task(audio, ENDLESS, number) for number in (1, 2)))
    while server.wait_for(protocol.WindowDone).task_id != "task-2":
        pass
    server.send(task(audio, "fail=device_lost", 3))
    failures = [report for report in server.remaining() if isinstance(report, protocol.TaskFailed)]
    assert [(report.task_id, report.code) for report in failures] == [
        (f"task-{number}", "device_lost") for number in (1, 2, 3)
    ]


def test_shutdown_stops_all_that_run_together(start: Callable[..., Server], audio: Path, tmp_path: Path) -> None:
    server = start(PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)))
    server.send(*(task(audio, ENDLESS, number) for number in range(4)))
    server.wait_for(protocol.WindowDone)
    server.send(Shutdown())
    assert ends(server.remaining()) == {f"task-{number}": "TaskStopped" for number in range(4)}
