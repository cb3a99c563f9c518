"""The loop of a worker: it executes the server's commands in order and, between two of them, advances the tasks."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import cast

from errors import DeviceLostError
from whisper_core.worker import messages
from whisper_core.worker.engine_protocol import Engine, SlotHoldingEngine, StopsWatcher
from whisper_core.worker.inbox import WorkCommand, WorkerInbox
from whisper_core.worker.messages import LoadModel, RunTask, UnloadModel
from whisper_core.worker.outbox import TaskReporter, WorkerOutbox, as_public_error
from whisper_core.worker.speaker_desk import SpeakerDesk, SpeakerFinder, SpeakerStage
from whisper_core.worker.speaker_finder import PipelineFinder

log = logging.getLogger(__name__)


class CommandLoop:
    """One engine at work. `run` is called once; the engine is used by the calling thread only."""

    def __init__(self, engine: Engine, inbox: WorkerInbox, outbox: WorkerOutbox) -> None:
        self._engine = engine
        self._inbox = inbox
        self._outbox = outbox
        self._is_finished = threading.Event()
        self._desk = SpeakerDesk(_finder_of(engine), outbox)
        if isinstance(engine, StopsWatcher):
            engine.watch_stops(inbox.num_stops)

    def run(self, device: str, heartbeat_s: float) -> None:
        """Returns when no command is left and every task has been answered. Raises DeviceLostError."""
        engine = self._engine
        self._outbox.send(messages.WorkerReady(device, engine.title, os.getpid(), engine.memory(), engine.slots))
        heartbeat = threading.Thread(target=self._send_heartbeats, args=(heartbeat_s,), name="heartbeat", daemon=True)
        heartbeat.start()
        try:
            self._work()
            self._desk.close()
        finally:
            self._is_finished.set()
            heartbeat.join()

    def _work(self) -> None:
        """Executes all commands that are there before it advances the engine, so tasks sent together start together."""
        while self._engine.is_busy or not self._inbox.is_exhausted:
            command = self._inbox.next_command(waits=not self._engine.is_busy)
            if command is not None:
                self._execute(command)
            elif self._engine.is_busy:
                self._engine.advance()

    def _execute(self, command: WorkCommand) -> None:
        match command:
            case LoadModel():
                self._load_model(command)
            case UnloadModel():
                self._engine.unload(command.model)
                self._outbox.send(messages.ModelUnloaded(command.model))
            case RunTask():
                self._start_task(command)

    def _load_model(self, command: LoadModel) -> None:
        started_at = time.perf_counter()
        try:
            weights_bytes = self._load(command)
        except Exception as error:  # any fault concerns this model alone, unless the device is lost
            public = as_public_error(error)
            log.warning("event=load_failed model=%s code=%s", command.model, public.code, exc_info=error)
            self._outbox.send(messages.ModelLoadFailed(command.model, public.code, public.message))
            if isinstance(error, DeviceLostError):
                raise
            return
        self._outbox.send(messages.ModelLoaded(command.model, weights_bytes, time.perf_counter() - started_at))

    def _load(self, command: LoadModel) -> int:
        models_dir = Path(command.models_dir)
        if not command.slots:
            return self._engine.load(command.model, models_dir)
        return cast(SlotHoldingEngine, self._engine).load(command.model, models_dir, command.slots)

    def _start_task(self, command: RunTask) -> None:
        reporter = TaskReporter(command, self._inbox, self._outbox)
        if reporter.should_stop() or reporter.should_preempt():
            reporter.stopped()
        elif command.speakers is None:
            self._engine.start(command, reporter)
        else:
            self._engine.start(command, SpeakerStage(command, reporter, self._desk))

    def _send_heartbeats(self, interval_s: float) -> None:
        try:
            while not self._is_finished.wait(interval_s):
                self._outbox.send(messages.Heartbeat(self._engine.memory()))
        except Exception:
            # Without heartbeats the server considers the worker hung and restarts it, which is what is needed.
            log.exception("event=heartbeat_failed")


def _finder_of(engine: object) -> SpeakerFinder:
    """The engine itself if it has a way of its own; see engine_protocol.Engine."""
    return cast(SpeakerFinder, engine) if hasattr(engine, "find_speakers") else PipelineFinder()
