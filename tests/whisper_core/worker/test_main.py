"""The worker's side of the pipe: what it answers to each command, and how it ends."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import pytest

from errors import DeviceLostError, ModelUnavailableError
from tests.fake_engine import FakeEngine
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Checkpoint, Transcript, WindowResult
from whisper_core.worker import messages as protocol
from whisper_core.worker.main import EXIT_DEVICE_LOST, EXIT_FAILED, EXIT_SERVER_GONE, run_worker, serve
from whisper_core.worker.messages import LoadModel, MemoryReport, RunTask, Shutdown, StopTask, UnloadModel

WAIT_S = 30.0
FAKE = "tests.fake_engine:FakeEngine"
PARALLEL = "tests.fake_engine:ParallelFakeEngine"
SCRIPTED = "tests.whisper_core.worker.test_main:ScriptedEngine"
ENDLESS = "endless window_s=0.01"
R = TypeVar("R")


class ScriptedEngine(FakeEngine):
    """Does what a task's prompt says: `fail`, `lose` (the device), `endless` (windows until it has to stop)."""

    def __init__(self, device: str, cpu_threads: int) -> None:
        if device == "broken":
            raise RuntimeError("no such device")
        super().__init__(device, cpu_threads)
        self.title = f"{device} with {cpu_threads} threads"

    def load(self, model: str, models_dir: Path) -> int:
        if model == "absent":
            raise ModelUnavailableError("Put absent.pt into the models folder.")
        return super().load(model, models_dir)

    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        match command.options.initial_prompt:
            case "fail":
                raise IndexError("what torch said")
            case "lose":
                raise DeviceLostError
            case "endless":
                for index in range(1_000_000):
                    on_window(WindowResult(index, (), Checkpoint("en", index, 1)))
                    self._hold.wait(0.01)
                    if should_stop():
                        return None
        return super().run(command, on_window, should_stop)


class Server:
    """The server's end of the pipe."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def send(self, *commands: protocol.Command) -> None:
        for command in commands:
            self.connection.send_bytes(protocol.encode(command))

    def receive(self) -> protocol.Command | protocol.Report:
        """The next report. Raises EOFError when the worker has closed its end."""
        assert self.connection.poll(WAIT_S), "the worker says nothing"
        return protocol.decode(self.connection.recv_bytes())

    def wait_for(self, kind: type[R]) -> R:
        """The next report of a kind; others are skipped."""
        while not isinstance(report := self.receive(), kind):
            pass
        return report

    def remaining(self) -> list[protocol.Command | protocol.Report]:
        """Everything up to the worker's end."""
        reports = []
        try:
            while True:
                reports.append(self.receive())
        except EOFError:
            return reports


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts `run_worker` in a thread; it must have ended when the test has."""
    servers: list[Server] = []
    threads: list[threading.Thread] = []

    def start(factory: str = SCRIPTED, device: str = "cpu", cpu_threads: int = 1) -> Server:
        ours, theirs = multiprocessing.Pipe()
        thread = threading.Thread(target=run_worker, args=(theirs, device, factory, cpu_threads))
        thread.start()
        threads.append(thread)
        servers.append(Server(ours))
        return servers[-1]

    yield start
    for server in servers:
        server.connection.close()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """65 s of samples, so three windows."""
    path = tmp_path / "samples.pcm"
    path.write_bytes(struct.pack("<h", 7) * (65 * 16_000))
    return path


def task(path: Path, prompt: str | None = None, number: int = 1) -> RunTask:
    options = TranscribeOptions(initial_prompt=prompt)
    return RunTask(f"task-{number}", f"attempt-{number}", "tiny", str(path), options)


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


def test_heartbeats_name_the_tasks_that_it_has(audio: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = Server(ours)
    arguments = {"on_server_gone": lambda: None, "heartbeat_s": 0.01}
    thread = threading.Thread(target=serve, args=(theirs, "cpu", SCRIPTED, 1), kwargs=arguments)
    thread.start()
    assert server.wait_for(protocol.Heartbeat).running == ()
    server.send(task(audio, "endless"), task(audio, None, 2))
    while (beat := server.wait_for(protocol.Heartbeat)).running != ("task-1", "task-2"):
        assert set(beat.running) <= {"task-1", "task-2"}
    assert beat.memory == MemoryReport(used=0, peak=2_000_000)
    server.send(StopTask("task-1", "attempt-1"))
    server.wait_for(protocol.TaskDone)
    while server.wait_for(protocol.Heartbeat).running:
        pass
    server.send(Shutdown())
    thread.join(WAIT_S)
    ours.close()
    theirs.close()
    assert not thread.is_alive()


# --- several tasks at once ---------------------------------------------------------------------------------------


def ends(reports: Iterable[object]) -> dict[str, str]:
    """How each task ended, by id; the same task never ends twice."""
    kinds = (protocol.TaskDone, protocol.TaskStopped, protocol.TaskFailed)
    ended = [report for report in reports if isinstance(report, kinds)]
    assert len({report.task_id for report in ended}) == len(ended)
    return {report.task_id: type(report).__name__ for report in ended}


def until_ended(server: Server, count: int) -> dict[str, str]:
    """How `count` tasks end, as `ends` has it."""
    reports: list[object] = []
    while len(ends(reports)) < count:
        reports.append(server.receive())
    return ends(reports)


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


def start_process(device: str = "cpu", factory: str = FAKE) -> tuple[Server, multiprocessing.process.BaseProcess]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run_worker, args=(theirs, device, factory, 1))
    process.start()
    theirs.close()
    return Server(ours), process


def test_a_process_runs_eight_tasks_at_once(audio: Path, tmp_path: Path) -> None:
    server, process = start_process(factory=PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)))
    server.wait_for(protocol.ModelLoaded)
    server.send(*(task(audio, None, number) for number in range(8)))
    assert until_ended(server, 8) == {f"task-{number}": "TaskDone" for number in range(8)}
    server.send(Shutdown())
    assert end_of(process) == 0
    server.connection.close()


def end_of(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join(WAIT_S)
    process.kill()
    return process.exitcode


def test_a_process_ignores_ctrl_c_and_ends_with_its_server(audio: Path) -> None:
    server, process = start_process()
    ready = server.wait_for(protocol.WorkerReady)
    assert ready.pid == process.pid
    os.kill(ready.pid, signal.SIGINT)
    server.send(task(audio))
    assert len(server.wait_for(protocol.TaskDone).transcript.segments) == 3
    server.send(task(audio, "hang@0", 2))  # not at a window boundary: it must end all the same
    server.connection.close()
    assert end_of(process) == EXIT_SERVER_GONE


def test_a_process_that_lost_its_device_ends_with_its_own_status(audio: Path) -> None:
    server, process = start_process()
    server.send(task(audio, "fail=device_lost"))
    assert server.wait_for(protocol.TaskFailed).code == "device_lost"
    assert end_of(process) == EXIT_DEVICE_LOST
    server.connection.close()


def test_a_process_whose_engine_cannot_be_made_says_so_by_its_status() -> None:
    server, process = start_process(device="broken", factory=SCRIPTED)
    assert server.remaining() == []
    assert end_of(process) == EXIT_FAILED
    server.connection.close()


def test_what_a_process_logs_has_the_form_of_the_servers_log(capfd: pytest.CaptureFixture[str]) -> None:
    """The lines of a traceback, which may contain anything, cannot be mistaken for lines of ours."""
    server, process = start_process(device="broken", factory=SCRIPTED)
    assert end_of(process) == EXIT_FAILED
    server.connection.close()
    lines = capfd.readouterr().out.splitlines()
    assert any("event=worker_failed" in line for line in lines)
    assert [line for line in lines if not re.match(r"[\d-]{10} [\d:,]{12} \[[A-Z]+\] |  \| ", line)] == []
