"""Keeps the server in touch with a Ray cluster, and its fleet in step with the nodes that the cluster has.

Ray ends a program that uses it when its head has been gone for a while, and may keep one for ever that asks for what is
not there. So nothing of Ray is in the server's process: it is in the bridge, a process that is started again, each time
later, when it ends. To the server the end of the bridge is the loss of all nodes: their tasks go on elsewhere, and the
devices of this machine notice nothing.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Protocol

from optimizer.cluster import messages
from optimizer.cluster.bridge import BridgeConfig, run_bridge
from optimizer.cluster.remote_worker import RemoteWorker
from optimizer.common.clock import Clock
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import Worker, WorkerConfig, bound_sends

log = logging.getLogger(__name__)

POLL_S = 0.5
HUNG_S = 30.0  # without a word of the bridge, which speaks every two seconds; before any worker counts as hung
HEAD_SILENT_S = 15.0  # without a word of the head: then the cluster is said to be unreachable
GIVEN_UP_S = 120.0  # twice what Ray waits for its head before it ends the bridge
CONNECTED_S = 90.0  # from the start of the bridge to its first word
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
STOP_GRACE_S = 5.0
UNREACHABLE = "the Ray cluster cannot be reached"


class ClusterListener(Protocol):
    """Called on threads of the client's."""

    def add(self, spec: DeviceSpec, worker: Worker) -> None:
        """A node has this device, which can be started. An earlier one of that name may not have been removed yet."""

    def remove(self, worker: Worker) -> None:
        """The node of its device is gone, and its exit has been handled."""

    def tell(self, name: str, text: str) -> None:
        """text: a sentence about a node, or about the cluster."""


@dataclass
class _Attempt:
    """One bridge, from its start to its end."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    heard_at: float  # monotonic seconds
    head_heard_at: float
    is_connected: bool = False
    reason: str = ""  # why it ended, as a sentence


class ClusterClient:
    """start and stop once; everything else from any thread."""

    def __init__(self, config: BridgeConfig, worker: WorkerConfig, clock: Clock, listener: ClusterListener) -> None:
        """worker: how a device's worker is started."""
        self._config = config
        self._worker = worker
        self._clock = clock
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name="cluster")
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # over sends
        self._attempt: _Attempt | None = None
        self._workers: dict[str, tuple[RemoteWorker, str]] = {}  # by device, with its node
        self._problem: str | None = f"{UNREACHABLE} yet"
        self._was_told = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the bridge is gone."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def problem(self) -> str | None:
        """Why the devices of other machines cannot be used at the moment, if so."""
        return self._problem

    def send(self, message: messages.ToBridge) -> bool:
        """See remote_worker.CommandSink."""
        attempt = self._attempt
        if attempt is None:
            return False
        try:
            with self._lock:
                attempt.connection.send_bytes(messages.encode(message))
        except BlockingIOError:
            log.error("event=bridge_hung reason=it takes no messages")
            attempt.process.kill()  # it may have got half of it
            return False
        except OSError:
            return False
        return True

    # --- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                was_connected = self._use_bridge()
            except Exception:  # whatever it is, the devices of this machine go on
                log.exception("event=bridge_failed")
                was_connected = False
            pause_s = FIRST_PAUSE_S if was_connected else pause_s
            if not self._stopping.wait(pause_s):
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _use_bridge(self) -> bool:
        """From its start to its end. Whether it reached the cluster."""
        attempt = self._attempt = self._start_bridge()
        try:
            while not self._stopping.is_set() and self._listen(attempt):
                pass
        finally:
            self._attempt = None
            self._end_bridge(attempt)
            self._lose_all()
        if not self._stopping.is_set():
            self._tell_unreachable(attempt.reason or "Ray ended the connection.")
        return attempt.is_connected

    def _start_bridge(self) -> _Attempt:
        ours, theirs = multiprocessing.Pipe(duplex=True)
        bound_sends(ours)
        process = multiprocessing.get_context("spawn").Process(
            target=run_bridge, args=(theirs, self._config), name="cluster-bridge"
        )
        try:
            process.start()
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()  # the child's copy must be the only one, or its death would not close the pipe
        now = self._clock.monotonic()
        return _Attempt(process, ours, now, now)

    def _end_bridge(self, attempt: _Attempt) -> None:
        """It ends when its pipe does."""
        with self._lock:  # nobody is sending, so nobody writes into what gets the pipe's number next
            attempt.connection.close()
        attempt.process.join(STOP_GRACE_S if self._stopping.is_set() or attempt.reason else 0)
        if attempt.process.is_alive():
            attempt.process.kill()
            attempt.process.join()

    def _listen(self, attempt: _Attempt) -> bool:
        """False when the bridge is at its end, or is given up."""
        try:
            if attempt.connection.poll(POLL_S):
                self._note_life(attempt, message := messages.decode(attempt.connection.recv_bytes()))
                self._apply(attempt, message)
        except (EOFError, OSError):
            return False
        if (reason := self._reason_to_give_up(attempt)) is None:
            return True
        attempt.reason = reason
        attempt.process.kill()
        return False

    def _note_life(self, attempt: _Attempt, message: messages.ToBridge | messages.FromBridge) -> None:
        attempt.heard_at = self._clock.monotonic()
        if isinstance(message, messages.Connected | messages.HeadAnswered):
            attempt.head_heard_at = attempt.heard_at
            attempt.is_connected = True

    def _reason_to_give_up(self, attempt: _Attempt) -> str | None:
        """A sentence."""
        now = self._clock.monotonic()
        if not attempt.is_connected:
            return "Ray did not answer in time." if now - attempt.heard_at > CONNECTED_S else None
        if now - attempt.heard_at > HUNG_S:
            log.error("event=bridge_hung reason=no word for %.0f s", now - attempt.heard_at)
            return "The process that talks to Ray did not answer in time."
        if now - attempt.head_heard_at > HEAD_SILENT_S:
            self._tell_unreachable("Its head does not answer.")
        return "Ray did not answer in time." if now - attempt.head_heard_at > GIVEN_UP_S else None

    def _apply(self, attempt: _Attempt, message: messages.ToBridge | messages.FromBridge) -> None:
        match message:
            case messages.Connected() | messages.HeadAnswered():
                self._tell_reachable()
            case messages.DeviceFound():
                self._add(message)
            case messages.NodeRefused():
                log.warning("node=%s event=refused reason=%s", message.node, message.reason)
                self._listener.tell(message.node, f"{message.node} is not used. {message.reason}")
            case messages.NodeLost():
                self._lose(message.node)
                self._listener.tell(message.node, f"{message.node} is gone; its tasks go on elsewhere.")
            case messages.BridgeFailed():
                attempt.reason = message.reason
            case messages.Reports() if (found := self._workers.get(message.device)) is not None:
                found[0].take_reports(message)
            case messages.MemoryRead() if (found := self._workers.get(message.device)) is not None:
                found[0].take_memory(message)
            case messages.Preparing() if (found := self._workers.get(message.device)) is not None:
                found[0].take_preparing(message)
            case messages.Reachable() if (found := self._workers.get(message.device)) is not None:
                found[0].take_reachable(message)
            case messages.WorkerExited() if (found := self._workers.get(message.device)) is not None:
                found[0].take_exit(message)

    # --- devices -----------------------------------------------------------------------------------------------

    def _add(self, found: messages.DeviceFound) -> None:
        spec = found.spec()
        worker = RemoteWorker(spec, self._worker, self)
        self._workers[spec.name] = worker, found.node
        self._listener.add(spec, worker)
        self._listener.tell(found.node, f"{found.node} brings {found.title} as {spec.name}.")

    def _lose(self, node: str) -> None:
        for device, (worker, its_node) in list(self._workers.items()):
            if its_node == node:
                del self._workers[device]
                worker.lose_node(partial(self._listener.remove, worker))

    def _lose_all(self) -> None:
        for node in {node for _, node in self._workers.values()}:
            self._lose(node)

    # --- what is said ------------------------------------------------------------------------------------------

    def _tell_reachable(self) -> None:
        self._problem = None
        self._tell("The Ray cluster can be reached.")

    def _tell_unreachable(self, reason: str) -> None:
        """reason: a sentence."""
        self._problem = f"{UNREACHABLE}: {reason[:1].lower()}{reason[1:].rstrip('.')}"
        self._tell(f"The Ray cluster cannot be reached. {reason} The devices of this machine go on.")

    def _tell(self, text: str) -> None:
        """Not again as long as it is the same."""
        if text != self._was_told:
            self._was_told = text
            log.warning("event=cluster text=%r", text)
            self._listener.tell("cluster", text)
