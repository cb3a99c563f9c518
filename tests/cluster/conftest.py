"""A server's system that uses a Ray cluster of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pytest

from optimizer.system import OptimizedWhisperSystem
from tests.cluster.rig import PATIENCE_S, TOKEN, RayCluster, ray_cluster
from tests.system.conftest import Open, Watcher, open_system, statuses_of, submit

__all__ = ["open_system", "submit"]


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what `-m` does not name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(1800))
            if find_spec("ray") is None:
                item.add_marker(pytest.mark.skip(reason="Ray is not installed: `make test-cluster` does that"))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node is a few programs that start first."""
    monkeypatch.setattr("tests.system.conftest.WAIT_S", PATIENCE_S)


class StartCluster(Protocol):
    def __call__(self, *names: str, port: int | None = None, **environ: str) -> RayCluster: ...


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """Starts a head with these nodes; all of them end with the test."""
    with ExitStack() as stack:

        def start(*names: str, port: int | None = None, **environ: str) -> RayCluster:
            folder = tmp_path / "nodes"
            folder.mkdir(exist_ok=True)
            return stack.enter_context(ray_cluster(folder, *names, port=port, **environ))

        yield start


class OpenClustered(Protocol):
    def __call__(self, cluster: RayCluster, **values: Any) -> AbstractContextManager[OptimizedWhisperSystem]: ...


@pytest.fixture
def open_clustered(open_system: Open) -> OpenClustered:
    """A started system with EXECUTOR=ray."""

    def opened(cluster: RayCluster, **values: Any) -> AbstractContextManager[OptimizedWhisperSystem]:
        settings = {
            "executor": "ray",
            "ray_address": cluster.address,
            "ray_auth_mode": "token",
            "ray_auth_token": TOKEN,
            "in_thread": False,
            "performance_monitor_interval": 1,
        }
        return partial(open_system, **settings)(**values)

    return opened


def ready_devices(system: OptimizedWhisperSystem) -> set[str]:
    return {status.spec.name for status in statuses_of(system) if status.is_ready}


def wait_for_devices(watcher: Watcher, *names: str) -> None:
    """Until these are ready."""
    watcher.wait_until(lambda: set(names) <= ready_devices(watcher.system), f"{names}")
