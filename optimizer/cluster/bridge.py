"""The process between the server and a Ray cluster, see `link`. It ends when its pipe does, or when Ray ends it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import version
from cluster_settings import host_of, is_loopback
from logs import LogFormat, configure_logging
from optimizer.cluster import messages
from optimizer.cluster.cluster_errors import ClusterError
from optimizer.cluster.line import DeviceLine, LineConfig
from optimizer.common.clock import Clock, SystemClock

if TYPE_CHECKING:
    from optimizer.cluster.ray_nodes import Node
    from optimizer.cluster.ray_port import RayPort

log = logging.getLogger(__name__)

NODES_EVERY_S = 2.0
DESCRIBED_AGAIN_AFTER_S = 30.0
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
        self._emitting = threading.Lock()
        self._lines: dict[str, DeviceLine] = {}
        self._devices: dict[str, tuple[messages.DeviceFound, Node]] = {}
        self._known: dict[str, Node] = {}  # by id: described, or being described
        self._used: set[str] = set()  # ids of those that bring devices
        self._again_at: dict[str, float] = {}  # by id: those that could not be described
        self._postponed: set[str] = set()
        self._lock = threading.RLock()  # over what stands above

    def run(self) -> None:
        """Until the server closes its end of the pipe. Raises ClusterError."""
        _dial(self._config.address)
        from optimizer.cluster.ray_port import RayPort

        port = RayPort()
        port.connect(self._config.address)
        nodes = port.nodes()
        self._check_protection(port, nodes)
        self.emit(messages.Connected(len(nodes) - 1))
        threading.Thread(target=self._watch_nodes, args=(port,), name="nodes", daemon=True).start()
        try:
            while True:
                self._execute(port, messages.decode(self._connection.recv_bytes()))
        except (EOFError, OSError):
            log.debug("event=server_gone")
        closing = threading.Thread(target=port.close, daemon=True)  # its end ends the hosts
        closing.start()
        closing.join(CLOSE_S)

    def emit(self, message: messages.FromBridge) -> None:
        try:
            with self._emitting:
                self._connection.send_bytes(messages.encode(message))
        except OSError:
            log.debug("event=not_emitted type=%s", type(message).__name__)

    def _check_protection(self, port: RayPort, nodes: list[Node]) -> None:
        """Raises ClusterError when other machines can use the cluster without the token."""
        if not self._config.token:
            if exposed := [node for node in nodes if not is_loopback(node.address)]:
                raise ClusterError(
                    f"Other machines can reach the cluster at {exposed[0].address}, and it is used without a token:"
                    " set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here and on every node."
                )
            return
        for head in nodes:
            if head.is_head and not port.describe(head, "", cpus_only=False)["asks_for_token"]:
                raise ClusterError("The cluster's head asks nobody for a token: start it with RAY_AUTH_MODE=token.")

    # --- what the server wants ---------------------------------------------------------------------------------

    def _execute(self, port: RayPort, message: messages.ToBridge | messages.FromBridge) -> None:
        match message:
            case messages.StartWorker():
                self._start_line(port, message)
            case messages.SendCommand() if (line := self._lines.get(message.device)) is not None:
                if line.run == message.run:
                    line.put(message.body)
            case messages.KillWorker() if (line := self._lines.get(message.device)) is not None:
                if line.run == message.run:
                    line.kill()

    def _start_line(self, port: RayPort, start: messages.StartWorker) -> None:
        with self._lock:
            found = self._devices.get(start.device)
            if found is None:  # its node has just gone
                self.emit(messages.WorkerExited(start.device, start.run, None, True))
                return
            device, node = found
            line = self._lines[start.device] = DeviceLine(
                start,
                device.spec(),
                make_host=lambda spec, worker: port.make_host(node.id, spec, worker),
                is_node_alive=lambda: port.is_alive(node.id),
                on_node_lost=lambda: self._forget(node.id),
                emit=self.emit,
                clock=self._clock,
                config=LineConfig(self._config.shared_dir, self._config.memory_interval_s),
            )
        line.start()

    # --- nodes -------------------------------------------------------------------------------------------------

    def _watch_nodes(self, port: RayPort) -> None:
        pause = threading.Event()
        while True:
            try:
                alive = {node.id: node for node in port.nodes() if node.id != port.own_node}
            except Exception as error:  # noqa: BLE001 - Ray's bindings raise what they like; the server sees our silence
                log.warning("event=nodes_unknown reason=%s", error)
            else:
                self.emit(messages.StillThere())
                self._follow(port, alive)
            pause.wait(NODES_EVERY_S)

    def _follow(self, port: RayPort, alive: dict[str, Node]) -> None:
        with self._lock:
            for node_id in set(self._known) - set(alive):
                self._forget(node_id)
            for node_id, node in alive.items():
                if node_id in self._known or self._clock.monotonic() < self._again_at.get(node_id, 0.0):
                    continue
                if any(other.name == node.name for other in self._known.values()):
                    self._postpone(node)
                    continue
                self._known[node_id] = node
                threading.Thread(
                    target=self._meet, args=(port, node), name=f"describe-{node.name}", daemon=True
                ).start()

    def _postpone(self, node: Node) -> None:
        """It is most likely the same machine again, whose earlier end the cluster has not noticed yet."""
        if node.id not in self._postponed:
            self._postponed.add(node.id)
            log.warning("node=%s event=postponed: another node still has this name (ray start --node-name)", node.name)

    def _forget(self, node_id: str) -> None:
        with self._lock:
            node = self._known.pop(node_id, None)
            if node is None or node_id not in self._used:
                return
            self._used.discard(node_id)
            for name, (_, of_node) in list(self._devices.items()):
                if of_node.id == node_id:
                    del self._devices[name]
                    if (line := self._lines.pop(name, None)) is not None:
                        line.lose()
            self.emit(messages.NodeGone(node.name))

    def _meet(self, port: RayPort, node: Node) -> None:
        """Find out what it is, and say so."""
        try:
            facts = port.describe(node, version.__version__, cpus_only=self._config.cpus_only)
        except ClusterError as error:
            log.warning("node=%s event=not_described reason=%s", node.name, error)
            with self._lock:
                self._known.pop(node.id, None)
                self._again_at[node.id] = self._clock.monotonic() + DESCRIBED_AGAIN_AFTER_S
            return
        if problem := self._problem_of(facts):
            self.emit(messages.NodeRefused(node.name, problem))
            return
        with self._lock:
            if node.id not in self._known:  # gone meanwhile
                return
            self._used.add(node.id)
            for fields in facts["devices"]:
                device = messages.DeviceFound(**{**fields, "name": f"{node.name}-{fields['name']}"}, node=node.name)
                self._devices[device.name] = device, node
                self.emit(device)

    def _problem_of(self, facts: dict[str, Any]) -> str | None:
        if self._config.token and not facts["asks_for_token"]:
            return "Its Ray asks nobody for a token: start it with RAY_AUTH_MODE=token."
        return facts.get("problem")


def _dial(address: str) -> None:
    """Raises ClusterError where nobody listens: Ray itself would try for a long time."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), DIAL_S).close()
    except OSError as error:
        raise ClusterError(f"Nobody answers at {address} ({error.strerror or 'no answer in time'}).") from error
