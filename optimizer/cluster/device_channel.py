"""The bridge's channel to one device's worker: an actor on its node, and what goes to it and comes from it.

A task is handed over once its recording is on the node, and a model once its weights are; what comes behind waits,
except for stops. Whatever the actor may not have heard is said again under the same number.
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

from errors import ModelUnavailableError, TaskError
from optimizer.cluster import messages
from optimizer.cluster.cluster_errors import ActorFailedError, ActorLostError, ActorUnavailableError, ClusterError
from optimizer.cluster.sound import chunks_of, fingerprint
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import WorkerConfig
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)

REPORTS_WAIT_S = 5.0  # of one question for reports
ANSWER_S = 20.0  # beyond what the actor itself waits; then the question is asked again
ASKED_AGAIN_AFTER_S = 0.5
CHUNK_S = 120.0  # for one piece of a recording: 32 MB, so 2 Mbit/s
CHUNK_TRIES = 5


class Actor(Protocol):
    """See ray_api.ActorHandle."""

    def ask(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any: ...
    def put(self, data: bytes) -> Any: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class ChannelConfig:
    shared_dir: str
    memory_interval_s: float


class DeviceChannel:
    """One run of a worker. `put` and `kill` from the bridge's main thread, `lose` from any."""

    def __init__(
        self,
        start: messages.StartWorker,
        spec: DeviceSpec,
        *,
        make_actor: Callable[[dict[str, Any], dict[str, Any]], Actor],
        is_node_alive: Callable[[], bool],
        on_node_lost: Callable[[], None],
        emit: Callable[[messages.FromBridge], None],
        config: ChannelConfig,
    ) -> None:
        """make_actor: takes the fields of its DeviceSpec and of its WorkerConfig. is_node_alive: raises ClusterError
        when that is unknown. on_node_lost: called once the exit has been told."""
        self.device = start.device
        self.run = start.run
        self._spec = spec
        self._worker = WorkerConfig(start.engine_factory, start.cpu_threads, log_level=start.log_level)
        self._make_actor = make_actor
        self._is_node_alive = is_node_alive
        self._on_node_lost = on_node_lost
        self._emit = emit
        self._config = config
        self._actor: Actor | None = None
        self._is_reachable = True
        self._is_ended = threading.Event()
        self._lock = threading.Lock()
        self._unsent: set[str] = set()  # attempts that the actor has not been given yet
        self._unprepared: dict[str, tuple[str, str]] = {}  # code and message for each model that is not there
        self._stopped: set[str] = set()  # some of those, which it will not be given
        self._commands: queue.SimpleQueue[protocol.Command | None] = queue.SimpleQueue()
        self._urgent: queue.SimpleQueue[protocol.Command | None] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._sent = 0

    def start(self) -> None:
        self._start_thread(self._read, "reports")

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
        with self._lock:
            self._is_ended.set()
        self._start_thread(self._end_actor, "end")

    def lose(self) -> None:
        """Its node is gone. Returns at once, too."""
        self._end(None, is_lost=True)

    def _start_thread(self, target: Callable[[], None], name: str) -> None:
        threading.Thread(target=target, name=f"{name}-{self.device}", daemon=True).start()

    # --- reports -----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            self._open()
            exit_code = self._relay()
        except ClusterError as error:
            if self._is_ended.is_set():  # from here
                return
            # No task can have been the cause: what its engine does ends the worker, whose exit the actor would tell.
            log.warning("device=%s event=actor_lost reason=%s", self.device, error)
            self._end(None, is_lost=True)
            self._tell_if_node_is_lost()
        except Exception:
            log.exception("device=%s event=channel_failed", self.device)
            self._end(None, is_lost=False)
        else:
            self._end(exit_code, is_lost=False)

    def _open(self) -> None:
        """Raises ActorLostError when it was ended meanwhile."""
        actor = self._make_actor(asdict(self._spec), asdict(self._worker))
        with self._lock:
            self._actor = actor
            is_ended = self._is_ended.is_set()
        if is_ended:  # by somebody who found no actor to end
            self._end_actor()
            raise ActorLostError("It was ended before it had begun.")
        self._start_thread(self._watch_memory, "memory")
        self._start_thread(lambda: self._work(self._commands), "to")
        self._start_thread(lambda: self._work(self._urgent), "stops-to")

    def _relay(self) -> int | None:
        """Returns the worker's exit code."""
        after = 0
        while True:
            try:
                answer = self._living_actor().ask(
                    "next_reports", after, REPORTS_WAIT_S, timeout_s=REPORTS_WAIT_S + ANSWER_S
                )
            except ActorUnavailableError as error:
                self._tell_reachable(False)
                self._note_and_pause("next_reports", error)
                continue
            self._tell_reachable(True)
            after, reports, end = answer
            if reports:
                self._emit(messages.Reports(self.device, self.run, b"\n".join(reports)))
            elif end is not None:
                return cast("int | None", end["exit_code"])

    def _tell_reachable(self, is_reachable: bool) -> None:
        """Where that is news."""
        if is_reachable != self._is_reachable:
            self._is_reachable = is_reachable
            self._emit(messages.Reachable(self.device, self.run, is_reachable))

    def _tell_if_node_is_lost(self) -> None:
        """At once, where that is known: otherwise those who watch the nodes find out some seconds later."""
        with suppress(ClusterError):
            if not self._is_node_alive():
                self._on_node_lost()

    def _watch_memory(self) -> None:
        """On a thread of its own: a driver that hangs holds up no reports."""
        while not self._is_ended.is_set():
            try:
                reading = self._ask("memory")
            except ActorFailedError as error:
                log.warning("device=%s event=memory_unknown reason=%s", self.device, error)
            except ActorLostError:
                return
            else:
                if reading is not None and not self._is_ended.is_set():
                    self._emit(messages.MemoryRead(self.device, *reading))
            self._is_ended.wait(self._config.memory_interval_s)

    # --- commands ----------------------------------------------------------------------------------------------

    def _work(self, commands: queue.SimpleQueue[protocol.Command | None]) -> None:
        while (command := commands.get()) is not None and not self._is_ended.is_set():
            try:
                self._execute(command)
            except ActorLostError:
                return  # the thread that reads reports says so
            except Exception:
                # The two sides no longer agree, so start over with a new worker.
                log.exception("device=%s event=command_failed type=%s", self.device, type(command).__name__)
                self._end(None, is_lost=False)

    def _execute(self, command: protocol.Command) -> None:
        match command:
            case protocol.LoadModel():
                self._load_model(command)
            case protocol.RunTask():
                self._run_task(command)
            case _:
                self._send(command)

    def _load_model(self, command: protocol.LoadModel) -> None:
        with self._preparing():
            try:
                problem = self._ask("prepare_model", command.model)
            except ActorFailedError as error:
                log.warning("device=%s event=model_not_prepared model=%s reason=%s", self.device, command.model, error)
                problem = ModelUnavailableError.code, "Its node could not prepare the model."
        if problem is None:
            self._unprepared.pop(command.model, None)
            self._send(command)
        else:
            self._unprepared[command.model] = problem
            self._report(protocol.ModelLoadFailed(command.model, *problem))

    def _run_task(self, command: protocol.RunTask) -> None:
        attempt, problem = command.attempt_id, self._unprepared.get(command.model)
        try:
            if problem is None:
                with self._preparing():
                    self._bring_sound(Path(command.audio_path), attempt)
        except OSError as error:  # on this machine
            log.warning("task=%s event=sound_not_read device=%s reason=%s", command.task_id, self.device, error)
            problem = TaskError.code, "Its recording could not be brought to the machine that was to transcribe it."
        except ActorFailedError as error:
            # Reported as a failure of the task, one full disk would fail task after task: the device that cannot take
            # any is always the idle one. As the device's failure it costs no task an attempt, and each makes it wait
            # longer.
            log.error("device=%s event=sound_not_taken reason=%s", self.device, error)
            self._end(None, is_lost=True)
            return
        with self._sending:  # from here on a stop is sent, and behind the task
            with self._lock:
                self._unsent.discard(attempt)
                is_stopped = attempt in self._stopped
                self._stopped.discard(attempt)
            if not is_stopped and problem is None:
                self._send_next(command)
                return
        self._ask("drop_sound", attempt, timeout_s=ANSWER_S)
        if is_stopped or problem is None:
            self._report(protocol.TaskStopped(command.task_id, attempt))
        else:
            self._report(protocol.TaskFailed(command.task_id, attempt, *problem))

    def _bring_sound(self, path: Path, attempt: str) -> None:
        """All of it, unless the task is stopped meanwhile. Raises OSError, ActorLostError; ActorFailedError when the
        node does not take it."""
        if self._config.shared_dir and path.resolve().is_relative_to(Path(self._config.shared_dir).resolve()):
            if self._ask("has_shared", str(path), *fingerprint(path), timeout_s=ANSWER_S):
                return
            log.warning("device=%s event=not_shared: SHARED_DIR has another file there, or none", self.device)
        for offset, data in chunks_of(path):
            if attempt in self._stopped:
                return
            self._send_chunk(attempt, offset, data)

    def _send_chunk(self, attempt: str, offset: int, data: bytes) -> None:
        """Not for ever, because meanwhile nobody minds that the task makes no progress."""
        for _ in range(CHUNK_TRIES):
            actor = self._living_actor()
            try:
                actor.ask("take_sound", attempt, offset, actor.put(data), timeout_s=CHUNK_S)
            except ActorUnavailableError as error:
                self._note_and_pause("take_sound", error)
            else:
                return
        raise ActorFailedError(f"It did not take a piece of a recording in {CHUNK_TRIES} tries.")

    def _preparing(self) -> _Preparing:
        return _Preparing(self._emit, self.device, self.run)

    def _send(self, command: protocol.Command) -> None:
        with self._sending:
            self._send_next(command)

    def _send_next(self, command: protocol.Command) -> None:
        """Under `_sending`: the numbers must arrive in order."""
        self._ask("send", self._sent, protocol.encode(command), timeout_s=ANSWER_S)
        self._sent += 1

    def _report(self, report: protocol.Report) -> None:
        self._emit(messages.Reports(self.device, self.run, protocol.encode(report)))

    # --- the actor ---------------------------------------------------------------------------------------------

    def _ask(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        """Again and again, until there is an answer. Raises ActorLostError, ActorFailedError."""
        while True:
            try:
                return self._living_actor().ask(method, *arguments, timeout_s=timeout_s)
            except ActorUnavailableError as error:
                self._note_and_pause(method, error)

    def _living_actor(self) -> Actor:
        """Raises ActorLostError when there is none, or it was ended from here."""
        if self._actor is None or self._is_ended.is_set():
            raise ActorLostError("It was ended.")
        return self._actor

    def _note_and_pause(self, method: str, error: ActorUnavailableError) -> None:
        log.info("device=%s event=asked_again what=%s reason=%s", self.device, method, error)
        self._is_ended.wait(ASKED_AGAIN_AFTER_S)

    def _end(self, exit_code: int | None, *, is_lost: bool) -> None:
        """Once. Returns at once."""
        with self._lock:
            if self._is_ended.is_set():
                return
            self._is_ended.set()
        self._emit(messages.WorkerExited(self.device, self.run, exit_code, is_lost))
        self._start_thread(self._end_actor, "end")

    def _end_actor(self) -> None:
        """On a thread of its own: the actor of a lost node does not answer."""
        self._commands.put(None)
        self._urgent.put(None)
        if self._actor is None:
            return
        try:
            with suppress(ClusterError):
                self._actor.ask("end", timeout_s=ANSWER_S)  # needs no head
            self._actor.kill()
        except ClusterError as error:
            log.warning("device=%s event=actor_not_killed reason=%s", self.device, error)


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
