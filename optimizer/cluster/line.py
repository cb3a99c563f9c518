"""The bridge's line to one device's worker: a host on its node, and what goes to it and comes from it.

A task is handed over once its recording is on the node, and a model once its weights are; what comes behind waits,
except for stops. Whatever the host may not have heard is said again under the same number.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from errors import TaskError
from optimizer.cluster import messages
from optimizer.cluster.cluster_errors import ClusterError, HostFailedError, HostLostError, HostUnavailableError
from optimizer.cluster.sound import chunks_of, fingerprint
from optimizer.common.clock import Clock
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import WorkerConfig
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)

REPORTS_WAIT_S = 5.0  # of one question for reports
ANSWER_S = 20.0  # beyond what the host itself waits; then the question is asked again
ASKED_AGAIN_AFTER_S = 0.5


class Host(Protocol):
    """See ray_port.Host."""

    def ask(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any: ...
    def put(self, data: bytes) -> Any: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class LineConfig:
    shared_dir: str
    memory_interval_s: float


class DeviceLine:
    """One run of a worker. `put` and `kill` from the bridge's thread."""

    def __init__(
        self,
        start: messages.StartWorker,
        spec: DeviceSpec,
        *,
        make_host: Callable[[dict[str, Any], dict[str, Any]], Host],
        is_node_alive: Callable[[], bool],
        on_node_lost: Callable[[], None],
        emit: Callable[[messages.FromBridge], None],
        clock: Clock,
        config: LineConfig,
    ) -> None:
        """make_host: takes the fields of its DeviceSpec and of its WorkerConfig. on_node_lost: called once the exit has
        been told."""
        self.device = start.device
        self.run = start.run
        self._spec = spec
        self._worker = WorkerConfig(start.engine_factory, start.cpu_threads, log_level=start.log_level)
        self._make_host = make_host
        self._is_node_alive = is_node_alive
        self._on_node_lost = on_node_lost
        self._emit = emit
        self._clock = clock
        self._config = config
        self._host: Host | None = None
        self._is_ended = threading.Event()
        self._lock = threading.Lock()
        self._unsent: set[str] = set()  # attempts that the host has not been given yet
        self._stopped: set[str] = set()  # some of those, which it will not be given
        self._commands: queue.SimpleQueue[protocol.Command | None] = queue.SimpleQueue()
        self._urgent: queue.SimpleQueue[protocol.Command | None] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._sent = 0

    def start(self) -> None:
        threading.Thread(target=self._read, name=f"reports-{self.device}", daemon=True).start()

    def put(self, command: bytes) -> None:
        message = cast(protocol.Command, protocol.decode(command))
        match message:
            case protocol.RunTask():
                with self._lock:
                    self._unsent.add(message.attempt_id)
                self._commands.put(message)
            case protocol.StopTask():
                with self._lock:
                    if message.attempt_id in self._unsent:
                        self._stopped.add(message.attempt_id)
                        return
                self._urgent.put(message)
            case protocol.Shutdown():
                self._urgent.put(message)
            case _:
                self._commands.put(message)

    def kill(self) -> None:
        """Returns at once; nothing is heard of it any more."""
        self._is_ended.set()
        threading.Thread(target=self._end_host, name=f"kill-{self.device}", daemon=True).start()

    def lose(self) -> None:
        """Its node is gone."""
        self._end(None, is_lost=True)

    # --- reports -----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            self._host = self._make_host(asdict(self._spec), asdict(self._worker))
            for commands in (self._commands, self._urgent):
                threading.Thread(target=self._work, args=(commands,), name=f"to-{self.device}", daemon=True).start()
            exit_code = self._relay()
        except ClusterError as error:
            is_lost = not self._is_node_alive()
            log.warning("device=%s event=host_lost node_alive=%s reason=%s", self.device, not is_lost, error)
            self._end(None, is_lost=is_lost)
            if is_lost:
                self._on_node_lost()
        else:
            self._end(exit_code, is_lost=False)

    def _relay(self) -> int | None:
        """Returns the worker's exit code."""
        after, memory_at = 0, self._clock.monotonic()
        while True:
            if self._clock.monotonic() >= memory_at:
                memory_at = self._clock.monotonic() + self._config.memory_interval_s
                if (reading := self._ask("memory", timeout_s=ANSWER_S)) is not None:
                    self._emit(messages.MemoryRead(self.device, *reading))
            after, reports, end = self._ask("next_reports", after, REPORTS_WAIT_S, timeout_s=REPORTS_WAIT_S + ANSWER_S)
            if reports:
                self._emit(messages.Reports(self.device, self.run, b"\n".join(reports)))
            elif end is not None:
                return cast("int | None", end["exit_code"])

    # --- commands ----------------------------------------------------------------------------------------------

    def _work(self, commands: queue.SimpleQueue[protocol.Command | None]) -> None:
        while (command := commands.get()) is not None and not self._is_ended.is_set():
            with suppress(HostLostError):  # the thread that reads reports says so
                self._execute(command)

    def _execute(self, command: protocol.Command) -> None:
        match command:
            case protocol.LoadModel():
                with self._preparing():
                    problem = self._ask("prepare_model", command.model)
                if problem is not None:
                    self._report(protocol.ModelLoadFailed(command.model, *problem))
                    return
            case protocol.RunTask():
                if not self._bring_sound(command):
                    return
        self._send(command)

    def _bring_sound(self, command: protocol.RunTask) -> bool:
        """False when the task has been answered instead."""
        attempt = command.attempt_id
        problem = ""
        with self._preparing():
            try:
                self._move(Path(command.audio_path), attempt)
            except (OSError, HostFailedError) as error:
                log.warning("task=%s event=sound_not_sent device=%s reason=%s", command.task_id, self.device, error)
                problem = "Its recording could not be brought to the machine that was to transcribe it."
        with self._lock:
            self._unsent.discard(attempt)
            is_stopped = attempt in self._stopped
            self._stopped.discard(attempt)
        if is_stopped:
            self._report(protocol.TaskStopped(command.task_id, attempt))
        elif problem:
            self._report(protocol.TaskFailed(command.task_id, attempt, TaskError.code, problem))
        return not is_stopped and not problem

    def _move(self, path: Path, attempt: str) -> None:
        """Raises OSError, ClusterError."""
        if self._config.shared_dir and path.resolve().is_relative_to(Path(self._config.shared_dir).resolve()):
            if self._ask("has_shared", str(path), *fingerprint(path), timeout_s=ANSWER_S):
                return
            log.warning("device=%s event=not_shared: SHARED_DIR has another file there, or none", self.device)
        for offset, data in chunks_of(path):
            if attempt in self._stopped:
                return
            self._ask("take_sound", attempt, offset, self._put(data))

    def _preparing(self) -> _Preparing:
        return _Preparing(self._emit, self.device, self.run)

    def _send(self, command: protocol.Command) -> None:
        with self._sending:
            self._ask("send", self._sent, protocol.encode(command), timeout_s=ANSWER_S)
            self._sent += 1

    def _report(self, report: protocol.Report) -> None:
        self._emit(messages.Reports(self.device, self.run, protocol.encode(report)))

    # --- the host ----------------------------------------------------------------------------------------------

    def _put(self, data: bytes) -> Any:
        if self._host is None:
            raise HostLostError("There is no host.")
        return self._host.put(data)

    def _ask(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        """Again and again, until there is an answer. Raises HostLostError, HostFailedError."""
        while self._host is not None and not self._is_ended.is_set():
            try:
                return self._host.ask(method, *arguments, timeout_s=timeout_s)
            except HostUnavailableError as error:
                log.info("device=%s event=asked_again what=%s reason=%s", self.device, method, error)
                self._is_ended.wait(ASKED_AGAIN_AFTER_S)
        raise HostLostError("It was killed.")

    def _end(self, exit_code: int | None, *, is_lost: bool) -> None:
        """Once."""
        with self._lock:
            if self._is_ended.is_set():
                return
            self._is_ended.set()
        self._emit(messages.WorkerExited(self.device, self.run, exit_code, is_lost))
        self._end_host()

    def _end_host(self) -> None:
        self._commands.put(None)
        self._urgent.put(None)
        if self._host is not None:
            with suppress(ClusterError):
                self._host.ask("end", timeout_s=ANSWER_S)  # needs no head
            self._host.kill()


class _Preparing:
    """Says when the block begins and ends."""

    def __init__(self, emit: Callable[[messages.FromBridge], None], device: str, run: int) -> None:
        self._emit = emit
        self._device = device
        self._run = run

    def __enter__(self) -> None:
        self._emit(messages.Preparing(self._device, self._run, True))

    def __exit__(self, *_: object) -> None:
        self._emit(messages.Preparing(self._device, self._run, False))
