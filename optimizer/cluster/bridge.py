"""The process between the server and a Ray cluster, see `cluster_client`. It ends with its pipe, or Ray ends it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import version
from cluster_settings import host_of, is_loopback
from logs import LogFormat, configure_logging
from optimizer.cluster import messages
from optimizer.cluster.cluster_errors import ClusterError
from optimizer.cluster.code_digest import code_digest
from optimizer.cluster.device_channel import ChannelConfig, DeviceChannel
from optimizer.common.clock import Clock, SystemClock

if TYPE_CHECKING:
    from optimizer.cluster.ray_api import RayApi
    from optimizer.cluster.ray_nodes import Node

log = logging.getLogger(__name__)

ALIVE_EVERY_S = 2.0
NODES_EVERY_S = 2.0
DESCRIBED_AGAIN_AFTER_S = 30.0
NAME_TAKEN_S = 60.0  # by when the end of an earlier node of that name would have been noticed
DIAL_S = 5.0
CLOSE_S = 3.0
EXIT_FAILED = 1


@dataclass(frozen=True)
class BridgeConfig:
    address: str
    token: str  # secret; empty: Ray asks for none
    shared_dir: str = ""
    cpus_only: bool = False  # whether the engine computes on CPUs only
    memory_interval_s: float = 30.0
    log_level: str = "INFO"
    log_format: LogFormat = "text"

    def __repr__(self) -> str:
        return f"BridgeConfig({self.address})"


def run_bridge(connection: Connection, config: BridgeConfig) -> None:
    """Entry point of the process. It ends here whatever Ray's threads do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server then closes the pipe
    configure_logging(config.log_level, log_format=config.log_format)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - Ray prints, among other things, logs of its own
    _set_ray_variables(config)
    bridge = Bridge(connection, config, SystemClock())
    try:
        bridge.run()
    except ClusterError as error:
        bridge.emit(messages.BridgeFailed(str(error)))
        os._exit(EXIT_FAILED)
    except Exception:
        log.exception("event=bridge_failed")
        os._exit(EXIT_FAILED)
    os._exit(0)


def _set_ray_variables(config: BridgeConfig) -> None:
    """Ray reads them when it is imported. The token never gets into a command line or a log."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.pop("RAY_ADDRESS", None)
    if config.token:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = config.token
    if is_loopback(host_of(config.address)):
        # Otherwise Ray takes the loopback address for this machine's address in its network.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


class Bridge:
    """`run` once, by the process's main thread."""

    def __init__(self, connection: Connection, config: BridgeConfig, clock: Clock) -> None:
        self._connection = connection
        self._config = config
        self._clock = clock
        self._wanted = {"version": version.__version__, "digest": code_digest(Path(version.__file__).parent)}
        self._emitting = threading.Lock()
        self._channels: dict[str, DeviceChannel] = {}
        self._devices: dict[str, tuple[messages.DeviceFound, Node]] = {}
        self._known: dict[str, Node] = {}  # by id: described, or being described
        self._used: set[str] = set()  # ids of those that bring devices
        self._again_at: dict[str, float] = {}  # by id: those that could not be described
        self._postponed: dict[str, float] = {}  # by id: since when; inf: the server has been told
        self._problem: ClusterError | None = None  # why the cluster is not to be used any longer
        self._lock = threading.RLock()  # over what stands above

    def run(self) -> None:
        """Until the server closes its end of the pipe. Raises ClusterError."""
        _dial(self._config.address)
        from optimizer.cluster.ray_api import RayApi

        api = RayApi()
        api.connect(self._config.address)
        nodes = api.nodes()
        self._check_protection(api, nodes)
        self.emit(messages.Connected(len(nodes) - 1))
        threading.Thread(target=self._watch_nodes, args=(api,), name="nodes", daemon=True).start()
        try:
            self._serve(api)
        except (EOFError, OSError):
            log.debug("event=server_gone")
        closing = threading.Thread(target=api.close, daemon=True)  # its end ends the actors
        closing.start()
        closing.join(CLOSE_S)

    def _serve(self, api: RayApi) -> None:
        """Raises EOFError or OSError when the server is gone, ClusterError when the cluster must not be used."""
        alive_at = self._clock.monotonic()
        while True:
            if self._connection.poll(max(0.0, alive_at - self._clock.monotonic())):
                self._execute(api, messages.decode(self._connection.recv_bytes()))
            if self._clock.monotonic() >= alive_at:
                alive_at = self._clock.monotonic() + ALIVE_EVERY_S
                self.emit(messages.BridgeAlive())
            if self._problem is not None:
                raise self._problem

    def emit(self, message: messages.FromBridge) -> None:
        try:
            with self._emitting:
                self._connection.send_bytes(messages.encode(message))
        except OSError:
            log.debug("event=not_emitted type=%s", type(message).__name__)

    # --- protection --------------------------------------------------------------------------------------------

    def _check_protection(self, api: RayApi, nodes: list[Node]) -> None:
        """Raises ClusterError when other machines can use the cluster without the token."""
        self._check_addresses(nodes)
        if not self._config.token:
            return
        heads = [node for node in nodes if node.is_head]
        if not heads:
            raise ClusterError(
                "The cluster's head is not among its nodes, so whether it asks for the token is unknown."
            )
        for head in heads:
            # The answer is needed, not the devices: for another version than its own it looks for none.
            if not api.describe(head, {"version": ""}, cpus_only=False)["asks_for_token"]:
                raise ClusterError("The cluster's head asks nobody for a token: start it with RAY_AUTH_MODE=token.")

    def _check_addresses(self, nodes: Iterable[Node]) -> None:
        """Raises ClusterError."""
        exposed = [] if self._config.token else [node for node in nodes if not is_loopback(node.address)]
        if exposed:
            raise ClusterError(
                f"Other machines can reach the cluster at {exposed[0].address}, and it is used without a token:"
                " set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here and on every node."
            )

    def _problem_of(self, facts: dict[str, Any]) -> str | None:
        if self._config.token and not facts["asks_for_token"]:
            return "Its Ray asks nobody for a token: start it with RAY_AUTH_MODE=token."
        return facts.get("problem")

    # --- what the server wants ---------------------------------------------------------------------------------

    def _execute(self, api: RayApi, message: messages.ToBridge | messages.FromBridge) -> None:
        match message:
            case messages.StartWorker():
                self._start_channel(api, message)
            case messages.SendCommand() if (channel := self._channels.get(message.device)) is not None:
                if channel.run == message.run:
                    channel.put(message.body)
            case messages.KillWorker() if (channel := self._channels.get(message.device)) is not None:
                if channel.run == message.run:
                    channel.kill()

    def _start_channel(self, api: RayApi, start: messages.StartWorker) -> None:
        with self._lock:
            found = self._devices.get(start.device)
            if found is None:  # its node has just gone
                self.emit(messages.WorkerExited(start.device, start.run, None, True))
                return
            device, node = found
            channel = self._channels[start.device] = DeviceChannel(
                start,
                device.spec(),
                make_actor=lambda spec, worker: api.make_actor(node.id, spec, worker),
                is_node_alive=lambda: api.is_alive(node.id),
                on_node_lost=lambda: self._remove_node(node.id),
                emit=self.emit,
                config=ChannelConfig(self._config.shared_dir, self._config.memory_interval_s),
            )
        channel.start()

    # --- nodes -------------------------------------------------------------------------------------------------

    def _watch_nodes(self, api: RayApi) -> None:
        pause = threading.Event()
        while self._problem is None:
            try:
                nodes = api.nodes()
            except ClusterError as error:
                log.warning("event=nodes_unknown reason=%s", error)  # the server notices that the head is silent
            else:
                self._take_nodes(api, nodes)
            pause.wait(NODES_EVERY_S)

    def _take_nodes(self, api: RayApi, nodes: list[Node]) -> None:
        try:
            self._check_addresses(nodes)
        except ClusterError as error:
            self._problem = error  # the main thread ends the bridge
            return
        self.emit(messages.HeadAnswered())
        self._update_nodes(api, {node.id: node for node in nodes if node.id != api.own_node})

    def _update_nodes(self, api: RayApi, alive: dict[str, Node]) -> None:
        with self._lock:
            for node_id in set(self._known) - set(alive):
                self._remove_node(node_id)
            for by_id in (self._postponed, self._again_at):
                for node_id in set(by_id) - set(alive):
                    del by_id[node_id]
            for node_id, node in alive.items():
                if node_id in self._known or self._clock.monotonic() < self._again_at.get(node_id, 0.0):
                    continue
                if any(other.name == node.name for other in self._known.values()):
                    self._postpone(node)
                    continue
                self._known[node_id] = node
                threading.Thread(
                    target=self._describe, args=(api, node), name=f"describe-{node.name}", daemon=True
                ).start()

    def _postpone(self, node: Node) -> None:
        """It is most likely the same machine again, whose earlier end the cluster has not noticed yet."""
        since = self._postponed.setdefault(node.id, self._clock.monotonic())
        if self._clock.monotonic() - since >= NAME_TAKEN_S:
            self._postponed[node.id] = float("inf")
            reason = "Another node has this name, too: give each its own, with ray start --node-name."
            self.emit(messages.NodeRefused(node.name, reason))

    def _remove_node(self, node_id: str) -> None:
        with self._lock:
            node = self._known.pop(node_id, None)
            if node is None or node_id not in self._used:
                return
            self._used.discard(node_id)
            for name, (_, of_node) in list(self._devices.items()):
                if of_node.id == node_id:
                    del self._devices[name]
                    if (channel := self._channels.pop(name, None)) is not None:
                        channel.lose()
            self.emit(messages.NodeLost(node.name))

    def _describe(self, api: RayApi, node: Node) -> None:
        """Find out what the node is, and say so."""
        try:
            facts = api.describe(node, self._wanted, cpus_only=self._config.cpus_only)
            problem = self._problem_of(facts)
            devices = [] if problem else _devices_of(node, facts)
        except Exception as error:  # noqa: BLE001 - the top of a thread; it is tried again
            log.warning("node=%s event=not_described reason=%r", node.name, error)
            with self._lock:
                self._known.pop(node.id, None)
                self._again_at[node.id] = self._clock.monotonic() + DESCRIBED_AGAIN_AFTER_S
            return
        if problem:
            self.emit(messages.NodeRefused(node.name, problem))
            return
        with self._lock:
            if node.id not in self._known:  # gone meanwhile
                return
            self._used.add(node.id)
            for device in devices:
                self._devices[device.name] = device, node
                self.emit(device)


def _devices_of(node: Node, facts: dict[str, Any]) -> list[messages.DeviceFound]:
    return [
        messages.DeviceFound(**{**fields, "name": f"{node.name}-{fields['name']}"}, node=node.name)
        for fields in facts["devices"]
    ]


def _dial(address: str) -> None:
    """Raises ClusterError where nobody listens: Ray itself would try for a long time."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), DIAL_S).close()
    except OSError as error:
        raise ClusterError(f"Nobody answers at {address} ({error.strerror or 'no answer in time'}).") from error
