"""The only module that imports Ray: what the bridge asks of it, and its errors as ours."""

from __future__ import annotations

from typing import Any

import ray
import ray.exceptions as failures
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from optimizer.cluster import bootstrap
from optimizer.cluster.cluster_errors import ActorFailedError, ActorLostError, ActorUnavailableError, ClusterError
from optimizer.cluster.ray_nodes import Node, node_of

ACTOR_THREADS = 8  # calls of one actor at the same time: two that wait for reports, and what is sent meanwhile
DESCRIBE_S = 120.0


class RayApi:
    """Connected once. Any thread."""

    def __init__(self) -> None:
        cloudpickle.register_pickle_by_value(bootstrap)
        self._describe = ray.remote(num_cpus=0, max_retries=0)(bootstrap.describe)
        self._actor = ray.remote(bootstrap.DeviceActor)
        self.own_node = ""

    def connect(self, address: str) -> None:
        """Raises ClusterError. May never return, where the address does not answer."""
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="transcription")
        except (ConnectionError, RuntimeError, ValueError, failures.RayError) as error:
            raise ClusterError(f"Ray says: {_first_line(error)}") from error
        self.own_node = ray.get_runtime_context().get_node_id()

    def close(self) -> None:
        ray.shutdown()

    def nodes(self) -> list[Node]:
        """Those that are there. Raises ClusterError when the head does not say."""
        try:
            return [node_of(each) for each in ray.nodes() if each["Alive"]]
        except Exception as error:
            raise ClusterError(f"Ray says: {_first_line(error)}") from error

    def is_alive(self, node_id: str) -> bool:
        """Raises ClusterError."""
        return any(node.id == node_id for node in self.nodes())

    def describe(self, node: Node, wanted: dict[str, str], *, cpus_only: bool) -> dict[str, Any]:
        """See bootstrap.describe. Raises ClusterError."""
        answer = self._describe.options(scheduling_strategy=_on(node.id)).remote(wanted, cpus_only)
        try:
            return _get(answer, DESCRIBE_S)  # type: ignore[no-any-return]
        except ActorUnavailableError:
            ray.cancel(answer, force=True)  # or one more would wait at a hung node for each time that it is asked
            raise

    def make_actor(self, node_id: str, device: dict[str, Any], worker: dict[str, Any]) -> ActorHandle:
        """Returns at once; whether there is one is seen when it is asked something. Raises ClusterError."""
        options = self._actor.options(
            num_cpus=0,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=ACTOR_THREADS,
            scheduling_strategy=_on(node_id),
        )
        try:
            return ActorHandle(options.remote(device, worker))
        except failures.RayError as error:
            raise _as_ours(error) from error


class ActorHandle:
    """One DeviceActor."""

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
        """As an argument for `ask`, through the object store. Raises ClusterError, also when the store is full."""
        try:
            return ray.put(data)
        except failures.RayError as error:
            raise _as_ours(error) from error

    def kill(self) -> None:
        """Its process, and so the worker. Needs the cluster's head. Raises ClusterError."""
        try:
            ray.kill(self._actor)
        except Exception as error:  # of its bindings, too
            raise ClusterError(f"Ray says: {_first_line(error)}") from error


def _on(node_id: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def _get(answer: Any, timeout_s: float | None) -> Any:
    try:
        return ray.get(answer, timeout=timeout_s)
    except failures.RayError as error:
        raise _as_ours(error) from error


def _as_ours(error: failures.RayError) -> ClusterError:
    match error:
        case failures.RayTaskError():
            return ActorFailedError(str(error.cause))
        case failures.ActorUnavailableError():
            return ActorUnavailableError(_first_line(error))
        case failures.RayActorError() | failures.NodeDiedError() | failures.ActorUnschedulableError():
            return ActorLostError(_first_line(error))
    return ActorUnavailableError(_first_line(error))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
