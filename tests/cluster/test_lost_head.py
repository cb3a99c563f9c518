"""A cluster whose head is lost, cannot be reached, or is somebody's who asks for no token: this machine goes on."""

from __future__ import annotations

import socket

import pytest

from optimizer.tasks.task import TaskStatus
from tests.cluster.conftest import OpenClustered, StartCluster, wait_for_devices
from tests.cluster.rig import LOOPBACK
from tests.paths import MINUTE, SHORT
from tests.system.conftest import Open, Submit, Watcher


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        return int(taken.getsockname()[1])


@pytest.mark.proves("F40")
def test_without_the_head_this_machine_goes_on_and_with_a_new_one_the_nodes_are_back(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit
) -> None:
    port = free_port()
    cluster = start_cluster("one", port=port)
    with open_clustered(cluster, max_task_retries=0) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "cpu", "one-cpu")
        assert system.degradations() == []
        remote = submit(system, MINUTE, knobs="hold@1 once", device="one-cpu")
        watcher.wait_for_a_window(remote)
        cluster.kill_head()
        local = watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        assert (local.device, local.attempt) == ("cpu", 1)
        watcher.wait_until(lambda: system.degradations() != [], "the remark")
        assert (system.health(), system.readiness()) == ([], [])
        watcher.wait_until(lambda: system.device_names() == ["cpu"], "the end of the node")
        waiting = watcher.wait_for(remote, TaskStatus.PENDING)  # stored a moment after the device has left the list
        assert (waiting.windows_done, waiting.attempt) == (1, 1)
        cluster.close()

        cluster = start_cluster("one", port=port)
        task = watcher.wait_for(remote, TaskStatus.COMPLETED)
        assert (task.device, task.attempt, task.attempt - task.free_attempts) == ("one-cpu", 2, 1)
        assert [window.seq for window in watcher.windows_of(remote)] == [1, 2, 3]
        assert system.degradations() == []


def test_a_head_that_was_never_there_keeps_nobody_from_work(open_system: Open, submit: Submit) -> None:
    address = f"{LOOPBACK}:{free_port()}"
    with open_system(executor="ray", ray_address=address) as system:
        watcher = Watcher(system)
        watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        reason = f"the Ray cluster cannot be reached: nobody answers at {address} (Connection refused)"
        watcher.wait_until(lambda: system.degradations() == [reason], "the remark")
        assert system.readiness() == []


def test_a_head_that_asks_nobody_for_a_token_is_not_used(
    start_cluster: StartCluster, open_clustered: OpenClustered
) -> None:
    cluster = start_cluster("one", RAY_AUTH_MODE="disabled")
    with open_clustered(cluster) as system:
        watcher = Watcher(system)
        watcher.wait_until(lambda: "asks nobody for a token" in str(system.degradations()), "the remark")
        assert system.device_names() == ["cpu"]
