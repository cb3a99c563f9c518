"""Before anything of Ray is imported: whether it is there, new enough, and asks for the token."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from typing import Any, cast

import pytest

from config import Settings
from errors import InvalidSettingsError
from optimizer.cluster import bridge as module
from optimizer.cluster import checks
from optimizer.cluster.bridge import Bridge, BridgeConfig
from optimizer.cluster.cluster_errors import ClusterError
from optimizer.cluster.ray_nodes import Node
from optimizer.common.clock import SystemClock

ADDRESS = "127.0.0.1:6379"
HERE, PUBLIC = Node("1", "one", "127.0.0.1", is_head=True), Node("2", "two", "192.0.2.11", is_head=False)


@pytest.mark.parametrize("found", ["2.51.2", "1.13.0", None])
def test_without_a_ray_that_is_safe_the_server_does_not_start(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    def version_of(name: str) -> str:
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(checks, "version", version_of)
    checks.check_ray(make_settings())
    with pytest.raises(InvalidSettingsError, match=r"EXECUTOR=ray needs .*requirements-cluster\.txt"):
        checks.check_ray(make_settings(executor="ray", ray_address=ADDRESS))


@pytest.mark.parametrize("found", ["2.52.0", "2.60.0", "3.0.0rc1"])
def test_newer_ones_will_do(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(checks, "version", lambda name: found)
    settings = make_settings(executor="ray", ray_address=ADDRESS)
    checks.check_ray(settings)
    assert settings.executor == "ray"


class PlayedApi:
    """A cluster whose head asks for a token, or does not. looks: the nodes that there are at each look; another look
    is a fault."""

    own_node = HERE.id

    def __init__(self, *, asks: bool, looks: Iterable[list[Node]] = ()) -> None:
        self._asks = asks
        self._looks = iter(looks)
        self.described: queue.SimpleQueue[Node] = queue.SimpleQueue()

    def nodes(self) -> list[Node]:
        return next(self._looks)

    def describe(self, node: Node, wanted: dict[str, str], *, cpus_only: bool) -> dict[str, Any]:
        self.described.put(node)
        return {"asks_for_token": self._asks, "problem": "of another version"}


@pytest.mark.parametrize(
    ("token", "asks", "nodes", "refusal"),
    [
        ("", False, [HERE], None),
        ("", False, [HERE, PUBLIC], r"192\.0\.2\.11.*RAY_AUTH_MODE=token"),
        ("secret", True, [HERE, PUBLIC], None),
        ("secret", False, [HERE], "asks nobody for a token"),
        ("secret", True, [PUBLIC], "head is not among its nodes"),
    ],
)
def test_a_cluster_is_used_when_nobody_else_can(token: str, asks: bool, nodes: list[Node], refusal: str | None) -> None:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        config = BridgeConfig(ADDRESS, token)
        assert "secret" not in repr(config)
        bridge = Bridge(ours, config, SystemClock())
        api = cast(Any, PlayedApi(asks=asks))
        if refusal is None:
            bridge._check_protection(api, nodes)
        else:
            with pytest.raises(ClusterError, match=refusal):
                bridge._check_protection(api, nodes)


@contextmanager
def played_bridge(token: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    """One that looks for nodes without a pause, and whose server hears nothing of it."""
    monkeypatch.setattr(module, "NODES_EVERY_S", 0)
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        yield Bridge(ours, BridgeConfig(ADDRESS, token), SystemClock())


def test_a_node_that_other_machines_reach_and_that_joins_later_ends_the_use_of_a_cluster_without_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At whichever look it is there, and nothing is run on it; nor is the cluster used again while it stays."""
    for looks in ([[HERE, PUBLIC]], [[HERE], [HERE], [HERE, PUBLIC]]):
        api = PlayedApi(asks=False, looks=looks)
        with played_bridge("", monkeypatch) as bridge:
            bridge._watch_nodes(cast(Any, api))
            with pytest.raises(ClusterError, match=r"192\.0\.2\.11.*RAY_AUTH_MODE=token"):
                bridge._serve(cast(Any, api))
            with pytest.raises(ClusterError, match=r"192\.0\.2\.11.*RAY_AUTH_MODE=token"):
                bridge._check_protection(cast(Any, api), looks[-1])
        assert api.described.empty()


def test_with_a_token_such_a_node_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    api = PlayedApi(asks=True, looks=[[HERE], [HERE, PUBLIC]])
    with played_bridge("secret", monkeypatch) as bridge:
        with pytest.raises(StopIteration):  # it goes on looking
            bridge._watch_nodes(cast(Any, api))
        assert api.described.get(timeout=30) == PUBLIC
        assert bridge._problem is None
