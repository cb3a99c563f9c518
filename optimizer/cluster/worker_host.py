"""One device of a node: its worker, a process as on the server's own machine, and what it needs beside commands.

Everything here runs on the node, in an actor of Ray's. The actor may be asked anything twice, because an answer can be
lost on its way: commands and reports have numbers, and pieces of a recording their offsets.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import psutil

from config import Settings, load_settings
from errors import ModelUnavailableError, TaskError, TranscriptionServerError, WorkerDiedError
from optimizer.cluster.code_digest import code_digest
from optimizer.cluster.sound import SoundFolder, fingerprint
from optimizer.common.machine import oom_kills
from optimizer.devices.discovery import DeviceSpec, cpu_device, discover_devices
from optimizer.devices.worker_process import DeviceWorker, WorkerConfig
from optimizer.memory.probes import MemoryProbe
from whisper_core.models.fetch import fetch
from whisper_core.models.registry import ModelRegistry
from whisper_core.models.weight_files import locate
from whisper_core.worker import messages as protocol

log = logging.getLogger(__name__)

# Ray changes these for its actors: cards are hidden from one that asked Ray for none, and it computes on one core.
_OF_THE_NODE = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


def describe(wanted_digest: str, *, cpus_only: bool) -> dict[str, Any]:
    """{"devices": …} of this node by its own settings, such as DEVICES, or {"problem": a sentence}.

    wanted_digest: of the server's code.
    """
    if code_digest(Path.cwd()) != wanted_digest:
        return {"problem": "It has the same version of the transcription server, but from another commit."}
    _restore_environment()
    try:
        settings = _settings()
        devices = [cpu_device(settings)] if cpus_only else discover_devices(settings)
    except TranscriptionServerError as error:
        return {"problem": " ".join(error.message.split())}
    return {"devices": [asdict(spec) for spec in devices]}


class WorkerHost:
    """Several threads of the actor's call it at the same time."""

    def __init__(self, device: Mapping[str, Any], worker: Mapping[str, Any]) -> None:
        """device: the fields of its DeviceSpec. worker: of its WorkerConfig; 0 threads: as the node's settings say.

        Raises OSError when the system has no process or no place for recordings.
        """
        _restore_environment()
        _hide_main_module()
        self._settings = _settings()
        self._spec = DeviceSpec(**device)
        config = WorkerConfig(**worker)
        config = replace(config, cpu_threads=config.cpu_threads or self._settings.cpu_threads)
        self._changed = threading.Condition()
        self._reports: list[bytes] = []  # those that nobody has confirmed yet
        self._first = 0  # the number of the first of them
        self._exit: dict[str, Any] | None = None
        self._next_command = 0
        self._sending = threading.Lock()
        self._should_end = threading.Event()
        self._oom_kills: int | None = None
        self._probe = MemoryProbe()
        self._probing = threading.Lock()
        self._sound = SoundFolder(self._spec.name)
        self._worker = DeviceWorker(self._spec, config)
        self._worker.start(self._take_reports, self._take_exit)

    # --- reports -----------------------------------------------------------------------------------------------

    def next_reports(self, after: int, wait_s: float) -> tuple[int, list[bytes], dict[str, Any] | None]:
        """Those from number `after` on, which confirms all before it; waits up to wait_s for one.

        Returns the number behind the last of them, and what is known of the worker's exit once there are no more.
        """
        with self._changed:
            confirmed = max(0, after - self._first)
            del self._reports[:confirmed]
            self._first += confirmed
            self._changed.wait_for(lambda: self._reports or self._exit is not None, wait_s)
            return self._first + len(self._reports), list(self._reports), self._exit

    def _take_reports(self, reports: list[protocol.Report]) -> None:
        encoded = [protocol.encode(report) for report in reports]
        with self._changed:
            self._reports += encoded
            self._changed.notify_all()
        for report in reports:
            if isinstance(report, protocol.TaskDone | protocol.TaskFailed | protocol.TaskStopped):
                self._sound.remove(report.attempt_id)

    def _take_exit(self) -> None:
        self._sound.close()
        code = self._worker.exit_code
        if code == -signal.SIGKILL and (self._oom_kills is None or oom_kills() != self._oom_kills):
            code = None  # the kernel did it, for lack of memory; the server cannot know how it is here
        with self._changed:
            self._exit = {"exit_code": code}
            self._changed.notify_all()

    # --- commands ----------------------------------------------------------------------------------------------

    def send(self, number: int, command: bytes) -> None:
        """One that is here already does nothing. Raises ValueError when one that comes before it is not here."""
        with self._sending:
            if number < self._next_command:
                return
            if number > self._next_command:
                raise ValueError(f"command {number} came, and {self._next_command} was expected")
            self._next_command += 1
            try:
                self._worker.send(self._as_here(cast(protocol.Command, protocol.decode(command))))
            except WorkerDiedError:
                log.debug("device=%s event=command_undelivered", self._spec.name)  # its exit follows

    def _as_here(self, command: protocol.Command) -> protocol.Command:
        """With the paths of this machine."""
        match command:
            case protocol.LoadModel():
                return replace(command, models_dir=str(self._models_dir))
            case protocol.RunTask():
                self._oom_kills = oom_kills()
                speakers = command.speakers
                if speakers is not None:
                    models_dir, sources = str(self._models_dir), self._settings.model_sources
                    speakers = replace(speakers, models_dir=models_dir, sources=sources)
                sent = self._sound.path(command.attempt_id)
                audio_path = str(sent) if sent.exists() else command.audio_path
                return replace(command, audio_path=audio_path, speakers=speakers)
        return command

    # --- what tasks need ---------------------------------------------------------------------------------------

    def prepare_model(self, model: str) -> tuple[str, str] | None:
        """Fetches its weights, if they are not here. Returns why they cannot be had: an error's code and message."""
        try:
            registry = ModelRegistry(self._models_dir)
            info = registry.find(model)
            if info is None:
                raise ModelUnavailableError(f"The node {self._spec.name} does not have the model {model}.")
            if not info.is_brought and locate(model, self._models_dir) is None:
                fetch(
                    info.weights_name,
                    self._models_dir,
                    sources=self._settings.model_sources,
                    should_stop=self._should_end.is_set,
                )
        except TranscriptionServerError as error:
            known = error if isinstance(error, TaskError) else ModelUnavailableError(error.message)
            return known.code, known.message
        return None

    def has_shared(self, path: str, size: int, digest: str) -> bool:
        """Whether the recording is here under the same path, too, and is the same."""
        try:
            return fingerprint(Path(path)) == (size, digest)
        except OSError:
            return False

    def take_sound(self, attempt_id: str, offset: int, data: bytes) -> None:
        """A piece of a recording. Raises OSError."""
        self._sound.write(attempt_id, offset, data)

    def drop_sound(self, attempt_id: str) -> None:
        """Of an attempt that will not come, as far as it is here."""
        self._sound.remove(attempt_id)

    def memory(self) -> tuple[int, int, int | None] | None:
        """The fields of a MemoryReading."""
        with self._probing:
            reading = self._worker.read_memory(self._probe)
        return None if reading is None else (reading.total, reading.free, reading.ours)

    def end(self) -> None:
        """Kill the worker, at once."""
        self._should_end.set()
        self._worker.kill()

    @property
    def _models_dir(self) -> Path:
        return self._settings.models_dir


def _settings() -> Settings:
    """The node's own. It needs none of a server's, and is in a cluster already. Raises InvalidSettingsError."""
    os.environ["EXECUTOR"] = "local"  # whatever a copied .env says
    return load_settings()


def _restore_environment() -> None:
    """As `ray start` was given it: the process above this one has it still."""
    try:
        given = psutil.Process(os.getppid()).environ()
    except psutil.Error:
        return
    for name in _OF_THE_NODE:
        if name in given:
            os.environ[name] = given[name]
        else:
            os.environ.pop(name, None)


def _hide_main_module() -> None:
    """multiprocessing has a child import its parent's main module, which here is Ray's, with all of Ray."""
    vars(sys.modules["__main__"]).pop("__file__", None)
