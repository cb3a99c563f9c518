"""A device's worker as a process of its own."""

from __future__ import annotations

import multiprocessing
import threading

import psutil
import pytest

from errors import WorkerDiedError
from optimizer.devices import worker_process
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import DeviceWorker, WorkerConfig
from whisper_core.worker import messages as protocol

CPU = DeviceSpec("cpu", "cpu", "a processor", 10**9)
WAIT_S = 60.0


def test_a_worker_that_reads_nothing_does_not_hold_up_who_sends_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pipe fills up. A command that was sent in part would garble the next, so it is killed."""
    monkeypatch.setattr(worker_process, "SEND_TIMEOUT_S", 0.2)
    is_ready, is_gone = threading.Event(), threading.Event()
    worker = DeviceWorker(CPU, WorkerConfig("tests.fake_engine:FakeEngine", cpu_threads=1))
    worker.start(lambda report: is_ready.set(), is_gone.set)
    assert is_ready.wait(WAIT_S)
    assert worker.pid is not None
    process = psutil.Process(worker.pid)
    process.suspend()
    with pytest.raises(WorkerDiedError):
        worker.send(protocol.LoadModel("x" * 10_000_000, "models"))
    assert is_gone.wait(WAIT_S)
    assert not process.is_running()


def _over() -> threading.Thread:
    """A worker that has ended."""
    thread = threading.Thread()
    thread.start()
    thread.join()
    return thread


def test_reports_that_are_there_are_handled_together_and_none_is_lost_at_the_end_of_the_pipe() -> None:
    ours, theirs = multiprocessing.Pipe()
    models = [f"m{number}" for number in range(worker_process.MAX_REPORTS_AT_ONCE + 3)]
    for model in models:
        theirs.send_bytes(protocol.encode(protocol.ModelUnloaded(model)))
    theirs.close()
    groups: list[list[protocol.Report]] = []
    is_gone = threading.Event()
    worker = DeviceWorker(CPU, WorkerConfig("tests.fake_engine:FakeEngine"))
    worker._read(ours, _over(), groups.append, is_gone.set)
    ours.close()
    assert [len(group) for group in groups] == [worker_process.MAX_REPORTS_AT_ONCE, 3]
    assert [report for group in groups for report in group] == [protocol.ModelUnloaded(model) for model in models]
    assert is_gone.is_set()
