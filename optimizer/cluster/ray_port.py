"""The only module that imports Ray: what the bridge asks of it, and its errors as ours."""

from __future__ import annotations

from typing import Any

import ray
import ray.exceptions as failures
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from optimizer.cluster import shim
from optimizer.cluster.cluster_errors import ClusterError, HostFailedError, HostLostError, HostUnavailableError
from optimizer.cluster.ray_nodes import Node, node_of

HOST_THREADS = 8  # calls of one host at the same time: two that wait for reports, and what is sent meanwhile
DESCRIBE_S = 120.0


class RayPort:
    """Connected once. Any thread."""

    def __init__(self) -> None:
        cloudpickle.register_pickle_by_value(shim)
        self._describe = ray.remote(num_cpus=0, max_retries=0)(shim.describe)
        self._actor = ray.remote(shim.HostActor)
        self.own_node = ""

    def connect(self, address: str) -> None:
        """Raises ClusterError. May never return, where the address does not answer."""
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="transcription")
        except (ConnectionError, RuntimeError, ValueError, failures.RayError) as error:
            first_line = str(error).strip().partition("\n")[0]
            raise ClusterError(f"Ray says: {first_line}") from error
        self.own_node = ray.get_runtime_context().get_node_id()

    def close(self) -> None:
        ray.shutdown()

    def nodes(self) -> list[Node]:
        """Those that are there."""
        return [node_of(each) for each in ray.nodes() if each["Alive"]]

    def is_alive(self, node_id: str) -> bool:
        return any(node.id == node_id for node in self.nodes())

    def describe(self, node: Node, version: str, *, cpus_only: bool) -> dict[str, Any]:
        """See shim.describe. Raises ClusterError."""
        answer = self._describe.options(scheduling_strategy=_on(node.id)).remote(version, cpus_only)
        return _get(answer, DESCRIBE_S)  # type: ignore[no-any-return]

    def make_host(self, node_id: str, device: dict[str, Any], worker: dict[str, Any]) -> Host:
        """Returns at once; whether there is one is seen when it is asked something."""
        options = self._actor.options(
            num_cpus=0,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=HOST_THREADS,
            scheduling_strategy=_on(node_id),
        )
        return Host(options.remote(device, worker))


class Host:
    """One HostActor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def ask(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        """Raises ClusterError."""
        try:
            answer = getattr(self._actor, method).remote(*arguments)
        except failures.RayError as error:
            raise _as_ours(error) from error
        return _get(answer, timeout_s)

    def put(self, data: bytes) -> Any:
        """As an argument for `ask`, through the object store. Raises ClusterError."""
        try:
            return ray.put(data)
        except failures.RayError as error:
            raise _as_ours(error) from error

    def kill(self) -> None:
        """Its process, and so the worker. Needs the cluster's head."""
        ray.kill(self._actor)


def _on(node_id: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def _get(answer: Any, timeout_s: float | None) -> Any:
    try:
        return ray.get(answer, timeout=timeout_s)
    except failures.RayError as error:
        raise _as_ours(error) from error


def _as_ours(error: failures.RayError) -> ClusterError:
    first_line = str(error).strip().partition("\n")[0]
    match error:
        case failures.RayTaskError():
            return HostFailedError(str(error.cause))
        case failures.ActorUnavailableError():
            return HostUnavailableError(first_line)
        case failures.RayActorError() | failures.NodeDiedError() | failures.ActorUnschedulableError():
            return HostLostError(first_line)
    return HostUnavailableError(first_line)
