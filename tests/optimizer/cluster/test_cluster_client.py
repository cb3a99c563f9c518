"""The server's end of the bridge: one that dies or hangs is the loss of all nodes, and another one is started."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from optimizer.cluster import cluster_client, messages
from optimizer.cluster.bridge import BridgeConfig
from optimizer.cluster.cluster_client import HEAD_SILENT_S, HUNG_S, ClusterClient
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.supervisor import HEARTBEAT_TIMEOUT_S
from optimizer.devices.worker_process import Worker, WorkerConfig
from tests.optimizer.cluster.played_bridge import FOUND, run_bridge_without_head, run_silent_bridge
from tests.optimizer.fakes import FakeClock

WAIT_S = 30.0


@dataclass
class Heard:
    added: queue.SimpleQueue[Worker] = field(default_factory=queue.SimpleQueue)
    removed: queue.SimpleQueue[Worker] = field(default_factory=queue.SimpleQueue)
    texts: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def add(self, spec: DeviceSpec, worker: Worker) -> None:
        assert spec == FOUND.spec()
        self.added.put(worker)

    def remove(self, worker: Worker) -> None:
        self.removed.put(worker)

    def tell(self, name: str, text: str) -> None:
        self.texts.put(text)

    def wait_for(self, part: str) -> None:
        while part not in self.texts.get(timeout=WAIT_S):
            continue


@contextmanager
def opened(
    monkeypatch: pytest.MonkeyPatch, bridge: Callable[..., Any], clock: FakeClock
) -> Iterator[tuple[ClusterClient, Heard]]:
    monkeypatch.setattr(cluster_client, "run_bridge", bridge)
    monkeypatch.setattr(cluster_client, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(cluster_client, "STOP_GRACE_S", 0.1)
    heard = Heard()
    config = BridgeConfig("127.0.0.1:6379", "")
    client = ClusterClient(config, WorkerConfig("tests.fake_engine:FakeEngine"), clock, heard)
    client.start()
    try:
        yield client, heard
    finally:
        client.stop()


def bridges() -> list[psutil.Process]:
    return [psutil.Process(each.pid) for each in multiprocessing.active_children() if each.name == "cluster-bridge"]


def test_a_killed_bridge_is_the_loss_of_all_nodes_and_another_one_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(monkeypatch, run_silent_bridge, FakeClock()) as (_, heard):
        worker = heard.added.get(timeout=WAIT_S)
        for process in bridges():
            process.kill()
        assert heard.removed.get(timeout=WAIT_S) is worker
        heard.wait_for("cannot be reached")
        heard.wait_for("can be reached")
        assert heard.added.get(timeout=WAIT_S) is not worker
    assert bridges() == []


def test_a_bridge_that_hangs_is_killed_before_its_workers_count_as_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """That would charge their tasks, which did nothing wrong."""
    assert HUNG_S < HEARTBEAT_TIMEOUT_S
    clock = FakeClock()
    with opened(monkeypatch, run_silent_bridge, clock) as (client, heard):
        worker = heard.added.get(timeout=WAIT_S)
        (hung,) = bridges()
        clock.advance(HUNG_S + 1)
        assert heard.removed.get(timeout=WAIT_S) is worker
        assert not hung.is_running()
        heard.wait_for("did not answer in time")
        assert client.problem() is not None


def test_without_its_head_a_cluster_is_used_on_as_long_as_the_bridge_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    with opened(monkeypatch, run_bridge_without_head, clock) as (client, heard):
        worker = heard.added.get(timeout=WAIT_S)
        clock.advance(HEAD_SILENT_S + 1)
        heard.wait_for("Its head does not answer.")
        assert client.problem() == "the Ray cluster cannot be reached: its head does not answer"
        assert client.send(messages.KillWorker("one-cpu", 1))
        assert heard.removed.empty()
    assert heard.removed.get(timeout=WAIT_S) is worker
