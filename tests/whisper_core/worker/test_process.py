"""A worker in a process of its own, as the server starts it: signals, exit statuses, what it logs."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from pathlib import Path

import pytest

from tests.whisper_core.worker.pipe import FAKE, PARALLEL, SCRIPTED, WAIT_S, Server, task, until_ended
from whisper_core.worker import messages as protocol
from whisper_core.worker.main import CPU_NICENESS, EXIT_DEVICE_LOST, EXIT_FAILED, EXIT_SERVER_GONE, run_worker
from whisper_core.worker.messages import LoadModel, Shutdown


def start_process(device: str = "cpu", factory: str = FAKE) -> tuple[Server, multiprocessing.process.BaseProcess]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run_worker, args=(theirs, device, factory, 1))
    process.start()
    theirs.close()
    return Server(ours), process


def end_of(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join(WAIT_S)
    process.kill()
    return process.exitcode


def test_a_process_runs_eight_tasks_at_once(audio: Path, tmp_path: Path) -> None:
    server, process = start_process(factory=PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)))
    server.wait_for(protocol.ModelLoaded)
    server.send(*(task(audio, None, number) for number in range(8)))
    assert until_ended(server, 8) == {f"task-{number}": "TaskDone" for number in range(8)}
    server.send(Shutdown())
    assert end_of(process) == 0
    server.connection.close()


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


@pytest.mark.skipif(not hasattr(os, "nice"), reason="the system knows no niceness")
@pytest.mark.parametrize(("device", "niceness"), [("cpu", CPU_NICENESS), ("cuda:0", 0)])
def test_a_process_that_computes_on_the_cpu_leaves_the_cores_to_the_server(device: str, niceness: int) -> None:
    server, process = start_process(device)
    ready = server.wait_for(protocol.WorkerReady)
    assert os.getpriority(os.PRIO_PROCESS, ready.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    server.send(Shutdown())
    assert end_of(process) == 0
    server.connection.close()


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
