"""One device as the scheduler sees it: its ledger, its worker, which models are resident, which tasks run.

Everything here is touched by the scheduler's thread only, except `status`, which any thread may read, and the callbacks
of the worker's reader thread, which just hand the report on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from errors import DeviceLostError, TaskError, WorkerDiedError, WorkerHungError
from optimizer.common.clock import Clock
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.ledger_sync import LedgerSync
from optimizer.devices.status import DeviceState, DeviceStatus, ModelOnDevice, RunningTask
from optimizer.devices.worker_process import DeviceWorker, WorkerConfig
from optimizer.memory.ledger import CONTEXT_OWNER, GPUMemoryPool, Reservation, model_owner
from optimizer.memory.probes import MemoryReading
from optimizer.tasks.task import Task
from whisper_core.common.units import FRAMES_PER_SECOND
from whisper_core.text.transcript import Checkpoint, WindowResult
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)

HEARTBEAT_TIMEOUT_S = 60.0
START_TIMEOUT_S = 300.0
WINDOW_TIMEOUT_S = {"cpu": 1800.0, "cuda": 300.0}  # ten times the window's 30 s on a card; a CPU may hold a large model
RESTART_PAUSES_S = (0.0, 0.0, 1.0, 5.0, 15.0, 60.0)
START_TRIES = 3
UNSTABLE_RESTARTS = 3
UNSTABLE_WITHIN_S = 600.0


@dataclass
class Device:
    spec: DeviceSpec
    worker_config: WorkerConfig
    clock: Clock
    context_bytes: int  # what the worker takes before any model is loaded
    on_report: Callable[[Device, protocol.Report], None]
    on_exit: Callable[[Device], None]

    pool: GPUMemoryPool = field(init=False)
    worker: DeviceWorker = field(init=False)
    state: DeviceState = field(default=DeviceState.STOPPED, init=False)
    resident: dict[str, Reservation] = field(default_factory=dict, init=False)
    loaded: set[str] = field(default_factory=set, init=False)
    evicting: set[str] = field(default_factory=set, init=False)
    running: dict[str, RunningTask] = field(default_factory=dict, init=False)
    last_used: dict[str, float] = field(default_factory=dict, init=False)  # of models, monotonic seconds
    accepts_auto: bool = field(default=True, init=False)  # otherwise only tasks that ask for it
    slots: int = field(default=1, init=False)  # until its worker has said how many tasks it can run at the same time

    def __post_init__(self) -> None:
        self.pool = GPUMemoryPool(self.spec.name, self.spec.total_bytes, headroom_bytes=self.spec.headroom_bytes)
        self._memory = LedgerSync(self.spec, self.pool)
        self._is_gone = False  # the machine no longer has it
        self._short_promises: set[str] = set()  # models, so that each is complained of once
        self.worker = DeviceWorker(
            self.spec,
            self.worker_config,
            on_report=lambda report: self.on_report(self, report),
            on_exit=lambda: self.on_exit(self),
        )
        self._restarts: deque[float] = deque(maxlen=32)
        self._idle_exits = 0  # in a row, without a finished window between start and exit
        self._restart_at = 0.0
        self._last_heard = 0.0
        self._end_reason: TaskError | None = None  # of the worker, where it is known before its end
        self._was_ready = False

    @property
    def is_ready(self) -> bool:
        return self.state is DeviceState.READY

    # --- the worker's life -------------------------------------------------------------------------------------

    def start(self) -> None:
        self.state = DeviceState.STARTING
        self._last_heard = self.clock.monotonic()
        if self.pool.try_reserve(CONTEXT_OWNER, min(self.context_bytes, self.pool.free_bytes)) is None:
            log.warning("device=%s event=no_memory_for_its_worker", self.spec.name)
        try:
            self.worker.start()
        except OSError:  # no process or no pipe to be had
            log.exception("device=%s event=worker_not_started", self.spec.name)
            self.on_exit(self)  # as if it had ended at once: the same pauses, the same number of tries

    def stop(self, grace_s: float) -> None:
        """Returns when the worker is gone. What it ran stays in `running` for the caller to give back."""
        self.state = DeviceState.STOPPED
        self.worker.stop(grace_s)

    def supervise(self) -> None:
        """Start a worker whose pause is over; kill one that no longer answers."""
        now = self.clock.monotonic()
        if self.state is DeviceState.RESTARTING and now >= self._restart_at:
            self.start()
        elif self.state in (DeviceState.STARTING, DeviceState.READY) and (complaint := self._complaint(now)):
            log.error("device=%s event=worker_hung reason=%s", self.spec.name, complaint)
            self._end_reason = WorkerHungError()
            self._last_heard = now  # once is enough; its exit follows
            self.worker.kill()

    def next_supervision_in(self) -> float | None:
        """Seconds until `supervise` has something to do; None when only a report can bring that."""
        if self.state is DeviceState.RESTARTING:
            return max(0.0, self._restart_at - self.clock.monotonic())
        return None

    def exited(self) -> tuple[TaskError, list[RunningTask]]:
        """The worker is gone: nothing is resident or promised any more. Returns why, and the tasks that it had."""
        tasks = list(self.running.values())
        error, self._end_reason = self._end_reason or WorkerDiedError(), None
        self.running.clear()
        self.resident.clear()
        self.loaded.clear()
        self.evicting.clear()
        self.pool.void_all()
        if self.state is DeviceState.STARTING and not self._was_ready and len(self._restarts) + 1 >= START_TRIES:
            self.state = DeviceState.UNAVAILABLE
            log.error("device=%s event=unavailable: its worker cannot use it", self.spec.name)
        elif self.state is not DeviceState.STOPPED:
            self._plan_restart()
        return error, tasks

    def _plan_restart(self) -> None:
        """At once when the worker had done some work; otherwise it may never do any, so after a growing pause."""
        now = self.clock.monotonic()
        self._restarts.append(now)
        pause = RESTART_PAUSES_S[min(self._idle_exits, len(RESTART_PAUSES_S) - 1)]
        self._idle_exits += 1
        self.state = DeviceState.RESTARTING
        self._restart_at = now + pause
        log.error("device=%s event=worker_exited restart_in_s=%.0f", self.spec.name, pause)

    def _recent_restarts(self, now: float) -> int:
        return sum(now - at < UNSTABLE_WITHIN_S for at in self._restarts.copy())

    def _complaint(self, now: float) -> str | None:
        if self.worker.is_passing_on:
            # The silence is ours: a full disk or a busy database holds up the thread that listens to the worker.
            self._last_heard = now
            for running in self.running.values():
                running.last_sign = now
            return None
        silent_s = now - self._last_heard
        if silent_s > (START_TIMEOUT_S if self.state is DeviceState.STARTING else HEARTBEAT_TIMEOUT_S):
            return f"no word for {silent_s:.0f} s"
        for running in self.running.values():
            if now - running.last_sign > WINDOW_TIMEOUT_S[self.spec.kind]:
                return f"task {running.task.id} finished no window for {now - running.last_sign:.0f} s"
        return None

    def measured(self, reading: MemoryReading) -> None:
        """What the machine says of the device's memory, or that it has the device no longer.

        Without its card a worker may sit idle for ever, so it is ended; when none can be started, the device becomes
        unavailable. It is started again as soon as the card is back.
        """
        self._memory.measured(reading)
        if reading.is_gone == self._is_gone:
            return
        self._is_gone = reading.is_gone
        if self._is_gone:
            log.error("device=%s event=gone", self.spec.name)
            self._was_ready = False
            if self.state in (DeviceState.STARTING, DeviceState.READY):
                self._end_reason = DeviceLostError()
                self.worker.kill()
        else:
            log.warning("device=%s event=back", self.spec.name)
            if self.state is DeviceState.UNAVAILABLE:
                self._restarts.clear()
                self._idle_exits = 0
                self._restart_at = self.clock.monotonic()
                self.state = DeviceState.RESTARTING

    # --- models ------------------------------------------------------------------------------------------------

    def load(self, model: str, nbytes: int, *, respects_others: bool = True) -> bool:
        """Promise the weights' memory and have them loaded; False, and nothing changed, when they do not fit now."""
        reservation = self.pool.try_reserve(model_owner(model), nbytes, respects_others=respects_others)
        if reservation is None:
            return False
        try:
            self.worker.send(protocol.LoadModel(model, str(self.worker_config.models_dir)))
        except WorkerDiedError:
            reservation.release()
            raise
        self.resident[model] = reservation
        self.last_used[model] = self.clock.monotonic()
        return True

    def correct_promise(self, model: str, nbytes: int) -> None:
        """Promise what the model is now known to take, not what was guessed when it was loaded, as far as that fits."""
        reservation = self.resident.get(model)
        if reservation is None or reservation.nbytes in (0, nbytes):
            return
        if reservation.try_resize(nbytes):
            self._short_promises.discard(model)
        elif model not in self._short_promises:
            self._short_promises.add(model)
            log.warning("device=%s event=promise_too_small model=%s bytes=%d", self.spec.name, model, nbytes)

    def evict(self, model: str) -> None:
        """Have an idle model unloaded; its memory is free again once the worker says so."""
        if model in self.resident and model not in self.evicting:
            self.evicting.add(model)
            self.worker.send(protocol.UnloadModel(model))

    def idle_models(self, for_s: float) -> dict[str, float]:
        """Loaded models that no task has used for so long, with the seconds since."""
        in_use = {running.task.options.model for running in self.running.values()}
        now = self.clock.monotonic()
        idle = {model: now - self.last_used.get(model, now) for model in self.loaded - in_use - self.evicting}
        return {model: idle_s for model, idle_s in idle.items() if idle_s >= for_s}

    def forget_model(self, model: str) -> None:
        self.loaded.discard(model)
        self.evicting.discard(model)
        if (reservation := self.resident.pop(model, None)) is not None:
            reservation.release()

    # --- tasks -------------------------------------------------------------------------------------------------

    def run(
        self,
        task: Task,
        reservation: Reservation,
        audio_path: Path,
        windows: list[WindowResult],
        seed: int,
        windows_at_once: int = 1,
    ) -> None:
        """Hand a claimed task over, to go on after `windows`, with as many at work as memory was promised for. Raises
        WorkerDiedError; the task is then not here."""
        if task.lease_token is None:
            raise ValueError(f"task {task.id} is not claimed")
        resume: Checkpoint | None = windows[-1].checkpoint if windows else None
        self.worker.send(
            protocol.RunTask(
                task_id=task.id,
                lease_token=task.lease_token,
                model=task.options.model,
                audio_path=str(audio_path),
                options=task.options.transcribe,
                resume=resume,
                segments=tuple(segment for window in windows for segment in window.segments),
                first_window=len(windows),
                seed=seed,
                windows_at_once=windows_at_once,
            )
        )
        now = self.clock.monotonic()
        audio_done = resume.seek / FRAMES_PER_SECOND if resume else 0.0
        arrived = now - max(0.0, (self.clock.now() - task.created_at).total_seconds())
        self.running[task.id] = RunningTask(task, reservation, now, now, arrived, audio_done_seconds=audio_done)

    def stop_task(self, task_id: str) -> None:
        """Have the task ended as soon as its worker can; harmless when it is not here."""
        running = self.running.get(task_id)
        if running is None or running.is_stopping or running.task.lease_token is None:
            return
        running.is_stopping = True
        self._send_stop(protocol.StopTask(task_id, running.task.lease_token))

    def preempt(self, task_id: str) -> str | None:
        """Have the task ended where nothing of it is lost, at its next window. Its lease token; None, and nothing done,
        when it is not here or is ending anyway. A stop may follow and goes before it."""
        running = self.running.get(task_id)
        if running is None or running.task.lease_token is None or running.is_stopping or running.is_being_preempted:
            return None
        running.is_being_preempted = True
        self._send_stop(protocol.StopTask(task_id, running.task.lease_token, at_window=True))
        return running.task.lease_token

    def _send_stop(self, command: protocol.StopTask) -> None:
        try:
            self.worker.send(command)
        except WorkerDiedError:
            log.info("task=%s event=stop device=%s is gone", command.task_id, self.spec.name)

    def heard(self, report: protocol.Report) -> None:
        """Bring this picture of the device up to date with what its worker said."""
        now = self.clock.monotonic()
        self._last_heard = now
        match report:
            case protocol.WorkerReady():
                self.state = DeviceState.READY
                self._was_ready = True
                self.slots = report.slots
                self._memory.heard(report.memory.used)
                log.info(
                    "device=%s event=ready title=%s pid=%s slots=%d",
                    self.spec.name, report.title, report.pid, report.slots,
                )  # fmt: skip
            case protocol.ModelLoaded():
                self.loaded.add(report.model)
                for running in self.running.values():
                    running.last_sign = now
                log.info("model=%s event=loaded device=%s seconds=%.1f", report.model, self.spec.name, report.seconds)
            case protocol.ModelUnloaded() | protocol.ModelLoadFailed():
                self.forget_model(report.model)
            case protocol.Heartbeat():
                self._memory.heard(report.memory.used)
            case protocol.WindowDone():
                self._idle_exits = 0
                if (task := self.running.get(report.task_id)) is not None:
                    task.last_sign = now
                    task.has_progressed = True
                    task.audio_done_seconds = report.window.checkpoint.seek / FRAMES_PER_SECOND
            case protocol.TaskFailed() if report.code == DeviceLostError.code:
                self._end_reason = DeviceLostError(report.message)  # the task stays here until the worker is gone
            case protocol.TaskDone() | protocol.TaskFailed() | protocol.TaskStopped():
                self._task_ended(report.task_id, report.lease_token)

    def _task_ended(self, task_id: str, lease_token: str) -> None:
        running = self.running.get(task_id)
        if running is not None and running.task.lease_token == lease_token:
            del self.running[task_id]
            self.last_used[running.task.options.model] = self.clock.monotonic()
            running.reservation.release()

    def status(self) -> DeviceStatus:
        now = self.clock.monotonic()
        running = self.running.copy()
        return DeviceStatus(
            spec=self.spec,
            state=self.state,
            memory=self.pool.snapshot(),
            resident_models=tuple(sorted(self.loaded.copy())),
            running=tuple(running),
            work_left=tuple(task.work_left for task in running.values()),
            is_unstable=self._recent_restarts(now) >= UNSTABLE_RESTARTS,
            slots=self.slots,
            accepts_auto=self.accepts_auto,
            models=tuple(self._model_status(model, running) for model in sorted(self.resident.copy())),
            tasks=tuple(task.status() for task in running.values()),
        )

    def _model_status(self, model: str, running: Mapping[str, RunningTask]) -> ModelOnDevice:
        reservation = self.resident.get(model)
        state = "evicting" if model in self.evicting else "loaded" if model in self.loaded else "loading"
        is_used = any(task.task.options.model == model for task in running.values())
        return ModelOnDevice(model, reservation.nbytes if reservation else 0, state, is_used)
