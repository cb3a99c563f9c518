"""The server's handle on a worker of another machine: what is heard of a run that is over changes nothing."""

from __future__ import annotations

import queue
import threading

import pytest

from errors import WorkerDiedError
from optimizer.cluster import messages
from optimizer.cluster.remote_worker import RemoteWorker
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import WorkerConfig
from optimizer.memory.probes import MemoryProbe, MemoryReading
from whisper_core.text.transcript import Transcript
from whisper_core.worker import messages as protocol

WAIT_S = 20.0
SPEC = DeviceSpec("one-cpu", "cpu", "a processor", 10**9)
DONE = protocol.TaskDone("t1", "a1", Transcript("text", "en", ()), 0, 1.0)


class PlayedBridge:
    def __init__(self) -> None:
        self.sent: list[messages.ToBridge] = []
        self.is_there = True

    def send(self, message: messages.ToBridge) -> bool:
        if self.is_there:
            self.sent.append(message)
        return self.is_there


class Heard:
    """What the device would be told."""

    def __init__(self) -> None:
        self.reports: list[protocol.Report] = []
        self.exits = 0
        self.is_over = threading.Event()

    def on_reports(self, reports: list[protocol.Report]) -> None:
        assert self.exits == 0
        self.reports += reports

    def on_exit(self) -> None:
        self.exits += 1
        self.is_over.set()


@pytest.fixture
def bridge() -> PlayedBridge:
    return PlayedBridge()


@pytest.fixture
def worker(bridge: PlayedBridge) -> RemoteWorker:
    return RemoteWorker(SPEC, WorkerConfig("tests.fake_engine:FakeEngine", cpu_threads=1), bridge)


def reports(run: int, *told: protocol.Report) -> messages.Reports:
    return messages.Reports("one-cpu", run, b"\n".join(protocol.encode(report) for report in told))


def crossed(message: messages.ToBridge) -> messages.ToBridge | messages.FromBridge:
    return messages.decode(messages.encode(message))


def test_a_result_counts_once_whatever_is_said_of_its_actor_afterwards(
    worker: RemoteWorker, bridge: PlayedBridge
) -> None:
    heard = Heard()
    worker.start(heard.on_reports, heard.on_exit)
    worker.take_reports(reports(1, protocol.ModelUnloaded("m"), DONE))
    worker.take_exit(messages.WorkerExited("one-cpu", 1, None, True))
    worker.take_reports(reports(1, DONE))
    worker.take_exit(messages.WorkerExited("one-cpu", 1, -9, False))
    assert heard.is_over.wait(WAIT_S)
    assert (heard.reports, heard.exits) == ([protocol.ModelUnloaded("m"), DONE], 1)
    assert (worker.is_lost, worker.exit_code) == (True, None)
    with pytest.raises(WorkerDiedError):
        worker.send(protocol.Shutdown())

    again = Heard()
    worker.start(again.on_reports, again.on_exit)
    worker.take_reports(reports(1, DONE))  # of the first run, late
    worker.take_reports(reports(2, protocol.ModelUnloaded("n")))
    worker.take_exit(messages.WorkerExited("one-cpu", 2, -6, False))
    assert again.is_over.wait(WAIT_S)
    assert (again.reports, worker.is_lost, worker.exit_code) == ([protocol.ModelUnloaded("n")], False, -6)
    starts = [each for each in bridge.sent if isinstance(each, messages.StartWorker)]
    assert [crossed(start) for start in starts] == starts
    assert [start.run for start in starts] == [1, 2]


def test_without_a_bridge_a_start_is_an_exit_at_once(worker: RemoteWorker, bridge: PlayedBridge) -> None:
    bridge.is_there = False
    heard = Heard()
    worker.start(heard.on_reports, heard.on_exit)
    assert heard.is_over.wait(WAIT_S)
    assert worker.is_lost


def test_a_kill_waits_for_nobody_and_the_end_of_the_node_comes_after_the_exit(
    worker: RemoteWorker, bridge: PlayedBridge
) -> None:
    heard = Heard()
    exits_at_removal: queue.SimpleQueue[int] = queue.SimpleQueue()
    worker.start(heard.on_reports, heard.on_exit)
    worker.send(protocol.UnloadModel("m"))
    worker.lose_node(lambda: exits_at_removal.put(heard.exits))
    assert exits_at_removal.get(timeout=WAIT_S) == 1
    worker.start(heard.on_reports, heard.on_exit)
    assert len(bridge.sent) == 2  # nothing starts on a node that is gone
    command = bridge.sent[1]
    assert isinstance(command, messages.SendCommand)
    assert protocol.decode(command.body) == protocol.UnloadModel("m")
    assert crossed(command) == command


def test_a_killed_worker_is_over_at_once(worker: RemoteWorker, bridge: PlayedBridge) -> None:
    heard = Heard()
    worker.start(heard.on_reports, heard.on_exit)
    worker.kill()
    assert heard.is_over.wait(WAIT_S)
    assert bridge.sent[-1] == messages.KillWorker("one-cpu", 1)
    assert not worker.is_lost


@pytest.mark.parametrize("is_reachable", [True, False])
def test_silence_is_a_worker_s_own_only_if_its_node_answers(worker: RemoteWorker, is_reachable: bool) -> None:
    heard = Heard()
    worker.start(heard.on_reports, heard.on_exit)
    worker.take_reachable(messages.Reachable("one-cpu", 1, False))
    worker.take_reachable(messages.Reachable("one-cpu", 1, is_reachable))
    worker.take_reachable(messages.Reachable("one-cpu", 0, not is_reachable))
    worker.kill()  # as the supervisor does when it has heard nothing for a minute
    assert heard.is_over.wait(WAIT_S)
    assert worker.is_lost is not is_reachable


def test_memory_is_what_the_node_read_and_not_this_machine_s(worker: RemoteWorker) -> None:
    assert worker.read_memory(MemoryProbe()) is None
    worker.take_memory(messages.MemoryRead("one-cpu", 10, 7, None))
    assert worker.read_memory(MemoryProbe()) == MemoryReading(10, 7, None)
