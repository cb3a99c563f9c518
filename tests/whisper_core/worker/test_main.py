"""The worker's side of the pipe: what it answers to each command, and how it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest

from tests.fake_engine import FakeEngine
from tests.whisper_core.worker.pipe import SCRIPTED, WAIT_S, Server, task
from whisper_core.worker import messages as protocol
from whisper_core.worker.command_loop import CommandLoop
from whisper_core.worker.engine_protocol import Engine
from whisper_core.worker.main import serve
from whisper_core.worker.messages import LoadModel, MemoryReport, Shutdown, StopTask, UnloadModel


def test_it_introduces_itself_first(start: Callable[..., Server]) -> None:
    server = start(device="cuda:1", cpu_threads=3)
    memory = MemoryReport(used=0, peak=2_000_000)
    assert server.receive() == protocol.WorkerReady("cuda:1", "cuda:1 with 3 threads", os.getpid(), memory, slots=1)


def test_models_are_loaded_and_unloaded(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start()
    server.send(LoadModel("tiny", str(tmp_path)), UnloadModel("tiny"))
    loaded = server.wait_for(protocol.ModelLoaded)
    assert (loaded.model, loaded.weights_bytes) == ("tiny", 1_000_000)
    assert server.receive() == protocol.ModelUnloaded("tiny")


class TwoArguments:
    """An engine of before models held slots."""

    def load(self, model: str, models_dir: Path) -> int:
        return len(model)


@pytest.mark.parametrize(("slots", "told"), [(0, 0), (24, 24)])
def test_an_engine_is_told_how_many_slots_a_model_is_to_hold(slots: int, told: int) -> None:
    engine = FakeEngine("cuda:0", 1)
    loop = CommandLoop(engine, Mock(), outbox := Mock())
    command = protocol.decode(protocol.encode(LoadModel("tiny", "models", slots)))
    loop._load_model(cast(LoadModel, command))
    assert isinstance(outbox.send.call_args.args[0], protocol.ModelLoaded)
    assert engine.slots_held == {"tiny": told}


def test_an_engine_that_knows_of_no_slots_is_told_of_none() -> None:
    loop = CommandLoop(cast(Engine, TwoArguments()), Mock(), outbox := Mock())
    loop._load_model(LoadModel("tiny", "models"))
    assert outbox.send.call_args.args[0].weights_bytes == 4


def test_a_model_that_cannot_be_loaded_is_reported_with_its_reason(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start()
    server.send(LoadModel("absent", str(tmp_path)))
    failed = protocol.ModelLoadFailed("absent", "model_unavailable", "Put absent.pt into the models folder.")
    assert server.wait_for(protocol.ModelLoadFailed) == failed


def test_a_task_reports_each_window_and_then_its_transcript(start: Callable[..., Server], audio: Path) -> None:
    server = start()
    server.send(task(audio))
    windows = [server.wait_for(protocol.WindowDone) for _ in range(3)]
    done = server.wait_for(protocol.TaskDone)
    assert (done.task_id, done.attempt_id, done.peak_bytes) == ("task-1", "attempt-1", 500_000)
    assert done.transcript.segments == tuple(segment for report in windows for segment in report.window.segments)


def test_a_running_task_stops_at_its_next_window(start: Callable[..., Server], audio: Path) -> None:
    server = start()
    server.send(task(audio, "endless"))
    server.wait_for(protocol.WindowDone)
    server.send(StopTask("task-1", "attempt-1"))
    assert server.wait_for(protocol.TaskStopped) == protocol.TaskStopped("task-1", "attempt-1")


def test_a_running_task_is_preempted_after_a_window(start: Callable[..., Server], audio: Path) -> None:
    server = start()
    server.send(task(audio, "endless"))
    server.wait_for(protocol.WindowDone)
    server.send(StopTask("task-1", "attempt-1", at_window=True))
    assert server.wait_for(protocol.TaskStopped) == protocol.TaskStopped("task-1", "attempt-1")


def test_a_waiting_task_is_preempted_at_once(start: Callable[..., Server], audio: Path) -> None:
    server = start()
    server.send(task(audio, "endless"))
    server.wait_for(protocol.WindowDone)
    server.send(task(audio, None, 2), StopTask("task-2", "attempt-2", at_window=True))
    server.send(StopTask("task-1", "attempt-1"))
    assert server.wait_for(protocol.TaskStopped).task_id == "task-1"
    assert server.receive() == protocol.TaskStopped("task-2", "attempt-2")


def test_a_stop_for_another_attempt_stops_nothing(start: Callable[..., Server], audio: Path) -> None:
    server = start()
    server.send(StopTask("task-1", "attempt-1"), StopTask("task-1", "an earlier attempt"), task(audio))
    assert server.wait_for(protocol.TaskDone).attempt_id == "attempt-1"


def test_a_waiting_task_is_stopped_without_being_run(start: Callable[..., Server], audio: Path) -> None:
    server = start()
    server.send(task(audio, "endless"))
    server.wait_for(protocol.WindowDone)
    server.send(task(audio, "fail", 2), StopTask("task-2", "attempt-2"), StopTask("task-1", "attempt-1"))
    assert server.wait_for(protocol.TaskStopped).task_id == "task-1"
    assert server.receive() == protocol.TaskStopped("task-2", "attempt-2")


def test_a_failure_is_reported_and_the_next_task_runs(start: Callable[..., Server], audio: Path) -> None:
    server = start()
    server.send(task(audio, "fail"), task(audio, None, 2))
    failed = server.wait_for(protocol.TaskFailed)
    assert (failed.task_id, failed.code) == ("task-1", "engine_error")
    assert "what torch said" not in failed.message
    assert "what torch said" in failed.detail
    assert server.wait_for(protocol.TaskDone).task_id == "task-2"


def test_a_lost_device_is_reported_and_ends_the_worker(start: Callable[..., Server], audio: Path) -> None:
    server = start()
    server.send(task(audio, "lose"), task(audio, None, 2))
    reports = [report for report in server.remaining() if not isinstance(report, protocol.WorkerReady)]
    failures = [report for report in reports if isinstance(report, protocol.TaskFailed)]
    assert failures == reports
    assert [report.code for report in failures] in (["device_lost"], ["device_lost"] * 2)  # or unread


def test_shutdown_answers_for_every_task_and_ends(start: Callable[..., Server], audio: Path, tmp_path: Path) -> None:
    server = start()
    server.send(task(audio, "endless"))
    server.wait_for(protocol.WindowDone)
    server.send(task(audio, None, 2), LoadModel("tiny", str(tmp_path)), Shutdown())
    ends = [report for report in server.remaining() if not isinstance(report, protocol.WindowDone)]
    assert ends == [protocol.TaskStopped("task-1", "attempt-1"), protocol.TaskStopped("task-2", "attempt-2")]


def test_it_ends_when_the_server_is_gone(audio: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    is_gone = threading.Event()
    thread = threading.Thread(target=serve, args=(theirs, "cpu", SCRIPTED, 1), kwargs={"on_server_gone": is_gone.set})
    thread.start()
    server = Server(ours)
    server.send(task(audio, "endless"))
    server.wait_for(protocol.WindowDone)
    ours.close()
    thread.join(WAIT_S)
    theirs.close()
    assert not thread.is_alive()
    assert is_gone.is_set()


def test_a_command_that_cannot_be_read_ends_the_worker(start: Callable[..., Server]) -> None:
    server = start()
    server.receive()
    server.connection.send_bytes(b'{"type": "Unheard"}')
    assert server.remaining() == []


def test_an_engine_that_cannot_be_made_ends_the_worker(start: Callable[..., Server]) -> None:
    assert start(device="broken").remaining() == []


def test_heartbeats_tell_the_memory_in_use_while_a_task_runs(audio: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = Server(ours)
    arguments = {"on_server_gone": lambda: None, "heartbeat_s": 0.01}
    thread = threading.Thread(target=serve, args=(theirs, "cpu", SCRIPTED, 1), kwargs=arguments)
    thread.start()
    server.send(task(audio, "endless"))
    server.wait_for(protocol.WindowDone)
    for _ in range(3):
        assert server.wait_for(protocol.Heartbeat).memory == MemoryReport(used=0, peak=2_000_000)
    server.send(StopTask("task-1", "attempt-1"))
    server.wait_for(protocol.TaskStopped)
    server.send(Shutdown())
    thread.join(WAIT_S)
    ours.close()
    theirs.close()
    assert not thread.is_alive()
