"""More nodes get more done, because each works on a window of its own at the same time as all others.

How near to linear that comes, `python -m benchmarks.cluster` measures, and fails below 90 %: a figure that depends on
what else the machine does at that moment is no test, and what it could reveal, a node that waits for another one or for
the server, is visible here without a clock.
"""

from __future__ import annotations

from tests.cluster.conftest import OpenClustered, StartCluster, wait_for_devices
from tests.paths import MINUTE
from tests.system.conftest import Submit, Watcher, statuses_of

NODES = ("one", "two", "three", "four")


def test_as_many_nodes_hold_as_many_windows_at_the_same_time(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit
) -> None:
    cluster = start_cluster()
    with open_clustered(cluster, devices=[], max_concurrent_tasks_limit="auto") as system:
        watcher = Watcher(system)
        for count in (1, 2, 4):
            for node in NODES[len(system.device_names()) : count]:
                cluster.add(node)
            wait_for_devices(watcher, *(f"{node}-cpu" for node in NODES[:count]))
            ids = [
                submit(system, MINUTE, knobs="hold@1") for _ in range(count)
            ]  # its second window, until it is stopped
            watcher.wait_for_a_window(*ids)
            assert {system.task(task_id).task.device for task_id in ids} == {f"{node}-cpu" for node in NODES[:count]}
            for task_id in ids:
                system.cancel(task_id)
            watcher.wait_until(lambda: not any(status.tasks for status in statuses_of(system)), "the end of all")
