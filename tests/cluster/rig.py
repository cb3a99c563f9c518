"""A Ray cluster on this machine: a head, where the server is, and nodes that come and go.

The nodes listen on the loopback address only, and ask for a token.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.leaks import children
from tests.paths import ROOT

TOKEN = "the token of the tests' cluster"
LOOPBACK = "127.0.0.1"
OBJECT_STORE_BYTES = 100_000_000
# A killed node is noticed in two seconds and not in a quarter of a minute, one that hangs in half a minute, a lost head
# in twenty seconds and not in a minute. No shorter: on a busy machine those that are there may take long to answer.
QUICK = {"health_check_period_ms": 500, "health_check_timeout_ms": 10_000, "health_check_failure_threshold": 3}
STARTS = 5
PATIENCE_S = 300  # beyond what any start of Ray's own takes on a busy machine
VARIABLES = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
    "RAY_worker_register_timeout_seconds": str(PATIENCE_S),
    "RAY_agent_register_timeout_ms": str(1000 * PATIENCE_S),
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_enable_open_telemetry": "0",
}
SETTINGS_OF_A_NODE = {"DEVICES": "cpu", "CPU_MEMORY_MB": "4000", "CPU_THREADS": "1", "MODEL_SOURCES": "local"}


class RayCluster:
    """Its nodes by name."""

    def __init__(self, temp_dir: Path, port: int | None) -> None:
        from ray.cluster_utils import Cluster

        self._temp_dir = temp_dir
        head = {
            "num_cpus": 0,
            "include_dashboard": False,
            "node_ip_address": LOOPBACK,
            "object_store_memory": OBJECT_STORE_BYTES,
            "gcs_server_port": port,
            "_system_config": QUICK,
        }
        self._cluster: Any = _started(lambda: Cluster(initialize_head=True, head_node_args=head))
        self._nodes: dict[str, Any] = {}
        self.address: str = self._cluster.address

    def add(self, name: str, *, folder: Path = ROOT, **environ: str) -> None:
        """folder: where `ray start` would be run, that is, the node's checkout. environ: of the node."""
        wanted = {"TMPDIR": str(self._temp_dir), **SETTINGS_OF_A_NODE, **environ}
        with _environment(wanted), _working_in(folder):
            self._nodes[name] = _started(
                lambda: self._cluster.add_node(
                    node_name=name, num_cpus=0, node_ip_address=LOOPBACK, object_store_memory=OBJECT_STORE_BYTES
                )
            )

    def kill(self, name: str) -> None:
        """As when its power is cut: everything of it at once, and nobody says goodbye."""
        node = self._nodes.pop(name)
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        below = raylet.children(recursive=True)
        for process in (raylet, *below):
            with _gone_is_fine():
                process.kill()
        self._cluster.remove_node(node, allow_graceful=False)

    def freeze(self, name: str) -> list[psutil.Process]:
        """As when its machine hangs: nothing of it runs on, and nothing ends. Returns its processes."""
        frozen = self.processes_of(name)
        for process in frozen:
            process.suspend()
        return frozen

    def remove(self, name: str) -> None:
        """As `ray stop` does."""
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=True)

    def kill_head(self) -> None:
        self._cluster.head_node.kill_gcs_server()

    def processes_of(self, name: str) -> list[psutil.Process]:
        raylet = psutil.Process(self._nodes[name].all_processes["raylet"][0].process.pid)
        return [raylet, *raylet.children(recursive=True)]

    def close(self) -> None:
        """May be called again."""
        self._cluster.shutdown()


def _started(start: Callable[[], Any]) -> Any:
    """Again, where Ray gave it up: that it does when a start takes more than 30 s, as on a busy machine, and no setting
    says otherwise."""
    for _ in range(STARTS - 1):
        before = children()
        try:
            return start()
        except Exception as error:  # noqa: BLE001 - Ray raises nothing narrower
            print(f"started again: {error}")
            for process in children() - before:  # also those that a server starts meanwhile
                with _gone_is_fine():
                    if "/ray/" in " ".join(process.cmdline()):
                        process.kill()
    return start()


@contextmanager
def ray_cluster(temp_dir: Path, *names: str, port: int | None = None, **environ: str) -> Iterator[RayCluster]:
    """With these nodes beside the head. port: of the head. environ: of all of them."""
    with _environment({**VARIABLES, **environ}):
        cluster = RayCluster(temp_dir, port)
        try:
            for name in names:
                cluster.add(name)
            yield cluster
        finally:
            cluster.close()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return
