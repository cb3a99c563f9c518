"""One device as the scheduler sees it: its ledger, its worker, the models in its memory, the tasks that run on it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from errors import (
    DeviceLostError,
    ModelUnavailableError,
    OutOfMemoryError,
    TaskError,
    WorkerDiedError,
    error_class_of,
)
from optimizer.common.clock import Clock
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.ledger_sync import LedgerSync
from optimizer.devices.residency import ModelResidency
from optimizer.devices.status import DeviceState, DeviceStatus, RunningTask
from optimizer.devices.supervisor import WorkerSupervisor
from optimizer.devices.worker_process import Worker
from optimizer.memory.ledger import GPUMemoryPool, Reservation
from optimizer.memory.probes import MemoryReading
from optimizer.tasks import transitions
from optimizer.tasks.task import Task
from whisper_core.text.transcript import Checkpoint, WindowResult
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)


class WorkerListener(Protocol):
    """Who hears of a device's worker. Called on the thread `device-<name>`."""

    def on_reports(self, device: Device, reports: Sequence[protocol.Report], /) -> None: ...

    def on_exit(self, device: Device, /) -> None:
        """The worker is gone, and every report that it managed to send has been handled."""


class Device:
    """Belongs to the scheduler's thread; any thread may call `status`."""

    def __init__(
        self,
        spec: DeviceSpec,
        worker: Worker,
        clock: Clock,
        listener: WorkerListener,
        *,
        context_bytes: int,
        models_dir: Path,
        model_sources: str,
        gets_own_weights: bool = False,
    ) -> None:
        """context_bytes: what the worker takes before any model is loaded. models_dir: where it finds the weights.
        model_sources: from which it may fetch those that tell speakers apart. gets_own_weights: its machine is another
        one, which may lack models that are here.
        """
        self.spec = spec
        self.worker = worker
        self.pool = GPUMemoryPool(spec.name, spec.total_bytes, headroom_bytes=spec.headroom_bytes)
        self.models = ModelResidency(self.pool, worker, clock, models_dir)
        self.supervisor = WorkerSupervisor(
            spec,
            self.pool,
            worker,
            clock,
            context_bytes,
            on_reports=partial(listener.on_reports, self),
            on_exit=partial(listener.on_exit, self),
        )
        self.running: dict[str, RunningTask] = {}
        self._models_dir = models_dir
        self._model_sources = model_sources
        self._gets_own_weights = gets_own_weights
        self.accepts_auto = True  # False for one that gets only tasks which ask for it
        self.slots = 1  # until its worker has said how many tasks it can run at the same time
        self._ledger_sync = LedgerSync(spec, self.pool)
        self._clock = clock

    @property
    def state(self) -> DeviceState:
        return self.supervisor.state

    @property
    def is_ready(self) -> bool:
        return self.state is DeviceState.READY

    @property
    def models_in_use(self) -> set[str]:
        return {running.task.options.model for running in self.running.copy().values()}

    def start(self) -> None:
        self.supervisor.start()

    def stop(self, grace_s: float) -> None:
        """Returns when the worker is gone. What it ran stays in `running` for the caller to give back."""
        self.supervisor.stop(grace_s)

    def supervise(self, now: float, *, is_silence_excused: bool = False) -> None:
        """Start a worker whose pause is over; kill one that no longer answers.

        is_silence_excused: the server itself stood still until now. now: monotonic seconds, as read to find that out: a
        later moment could lie behind another standstill.
        """
        if is_silence_excused:
            self.supervisor.excuse_silence(self.running.values())
        self.supervisor.supervise(now, self.running.values())

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
        """Send a claimed task to the worker, to continue after `windows`. Raises WorkerDiedError; it is not here then.

        windows_at_once: of a chunked task, as many as the reservation is for.
        """
        if task.lease_token is None:
            raise ValueError(f"task {task.id} is not claimed")
        self.supervisor.mark_attempt_begins()
        resume: Checkpoint | None = windows[-1].checkpoint if windows else None
        self.worker.send(
            protocol.RunTask(
                task_id=task.id,
                attempt_id=task.lease_token,
                model=task.options.model,
                audio_path=str(audio_path),
                options=task.options.transcribe,
                resume=resume,
                segments=tuple(segment for window in windows for segment in window.segments),
                first_window=len(windows),
                seed=seed,
                windows_at_once=windows_at_once,
                speakers=self._speakers_of(task, resume),
            )
        )
        now = self._clock.monotonic()
        arrived = now - max(0.0, (self._clock.now() - task.created_at).total_seconds())
        self.running[task.id] = RunningTask(task, reservation, now, arrived, latest=resume)

    def _speakers_of(self, task: Task, resume: Checkpoint | None) -> protocol.TellSpeakers | None:
        """What the worker is to do about them; None if they are not wanted, or were the worker's end too often."""
        has_text = resume is not None and resume.is_at_end
        if not task.options.speakers or (has_text and transitions.is_at_last_try(task)):
            return None
        return protocol.TellSpeakers(str(self._models_dir), self._model_sources, task.options.num_speakers)

    def stop_task(self, task_id: str) -> None:
        """Have the task ended as soon as its worker can; harmless when it is not here."""
        running = self.running.get(task_id)
        if running is None or running.is_stopping or running.task.lease_token is None:
            return
        running.is_stopping = True
        self._send_stop(protocol.StopTask(task_id, running.task.lease_token))

    def preempt(self, task_id: str) -> str | None:
        """Have the task ended at its next window, where nothing of it is lost.

        Returns the id of its attempt; None, and nothing done, when the task is not here or is ending anyway.
        `stop_task` may follow and overrides it.
        """
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
            log.info("task=%s event=stop_not_sent device=%s is gone", command.task_id, self.spec.name)

    # --- keeping up with the worker and the machine ------------------------------------------------------------

    def apply_report(self, report: protocol.Report) -> None:
        """Bring this picture of the device up to date with what its worker reported."""
        now = self._clock.monotonic()
        self.supervisor.mark_alive()
        match report:
            case protocol.WorkerReady():
                self.supervisor.mark_ready()
                self.slots = report.slots
                self._ledger_sync.apply_worker_use(report.memory.used)
                log.info(
                    "device=%s event=ready title=%s pid=%s slots=%d",
                    self.spec.name, report.title, report.pid, report.slots,
                )  # fmt: skip
            case protocol.ModelLoaded():
                self.models.mark_loaded(report.model)
                for running in self.running.values():
                    running.last_progress_at = now
                log.info("model=%s event=loaded device=%s seconds=%.1f", report.model, self.spec.name, report.seconds)
            case protocol.ModelUnloaded() | protocol.ModelLoadFailed():
                if isinstance(report, protocol.ModelLoadFailed) and report.code == OutOfMemoryError.code:
                    self.models.mark_short(report.model)
                if isinstance(report, protocol.ModelLoadFailed) and self._gets_own_weights and _is_missing(report.code):
                    self.models.mark_lacking(report.model)
                self.models.remove(report.model)
            case protocol.Heartbeat():
                self._ledger_sync.apply_worker_use(report.memory.used)
            case protocol.WindowDone():
                self.supervisor.mark_productive()
                if (task := self.running.get(report.task_id)) is not None:
                    task.last_progress_at = now
                    task.has_progressed = True
                    task.latest = report.window.checkpoint
            case protocol.SpeakersProgress():
                if (task := self.running.get(report.task_id)) is not None:
                    task.last_progress_at = now
            case protocol.TaskFailed() if report.code == DeviceLostError.code:
                # The task stays here until the worker is gone.
                self.supervisor.mark_device_lost(DeviceLostError(report.message))
            case protocol.TaskDone() | protocol.TaskFailed() | protocol.TaskStopped():
                self._end_task(report.task_id, report.attempt_id)

    def apply_exit(self) -> tuple[TaskError, list[RunningTask]]:
        """The worker is gone: nothing is resident or reserved any more. Returns why, and the tasks that it had."""
        tasks = list(self.running.values())
        self.running.clear()
        self.models.clear()
        self.pool.void_all()
        return self.supervisor.mark_exited(), tasks

    def apply_reading(self, reading: MemoryReading) -> None:
        """What the machine says of the device's memory, or that it no longer has the device."""
        self._ledger_sync.apply_reading(reading)
        self.supervisor.mark_card_gone(reading.is_gone)

    def _end_task(self, task_id: str, attempt_id: str) -> None:
        """Give the task's memory back, if the report is about the attempt that runs here."""
        running = self.running.get(task_id)
        if running is not None and running.task.lease_token == attempt_id:
            del self.running[task_id]
            self.models.mark_used(running.task.options.model)
            running.reservation.release()

    def status(self) -> DeviceStatus:
        running = self.running.copy()
        return DeviceStatus(
            spec=self.spec,
            state=self.state,
            memory=self.pool.snapshot(),
            is_unstable=self.supervisor.is_unstable,
            restarts=self.supervisor.restarts,
            slots=self.slots,
            accepts_auto=self.accepts_auto,
            models=self.models.statuses(self.models_in_use),
            tasks=tuple(task.status() for task in running.values()),
        )


def _is_missing(code: str) -> bool:
    """Whether an error with this code says that a model's weights are not to be had."""
    return issubclass(error_class_of(code), ModelUnavailableError)
