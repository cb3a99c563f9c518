"""Opening the recordings of new tasks, in a thread of its own, because that reads whole recordings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import torch

from errors import DeviceLostError, OutOfMemoryError
from whisper_core.audio.log_mel import LogMel
from whisper_core.audio.sample_file import open_samples
from whisper_core.chunked import ChunkedTranscription
from whisper_core.engine.active_task import ActiveTask
from whisper_core.engine.alignment import compile_alignment
from whisper_core.engine.executors import SerialExecutor
from whisper_core.engine.recording import ExactRecording, Recording
from whisper_core.model_requests import DecodeSettings, ModelTraits
from whisper_core.transcribe import ResumePoint
from whisper_core.worker.device_errors import free_memory, guarded


class RecordingOpener:
    """Gives each task its `recording`, or ends it. The engine's thread only; the work is the executor's.

    free_elsewhere: has models free memory for a recording, and returns whether they did.
    """

    def __init__(
        self,
        open_executor: SerialExecutor,
        device: torch.device,
        settings: DecodeSettings,
        free_elsewhere: Callable[[], bool],
    ) -> None:
        self._executor = open_executor
        self._device = device
        self._settings = settings
        self._free_elsewhere = free_elsewhere
        self._waiting: deque[tuple[ActiveTask, ModelTraits]] = deque()

    def enqueue(self, task: ActiveTask, model: ModelTraits) -> None:
        self._waiting.append((task, model))

    def submit_waiting(self) -> None:
        """Give the executor as many tasks as it takes now."""
        while self._waiting and self._executor.has_capacity:
            task, model = self._waiting.popleft()
            if not task.is_done:
                self._executor.submit(partial(self._open, task, model), partial(self._accept, task, model))

    def _open(self, task: ActiveTask, model: ModelTraits) -> Recording:
        """The executor's thread. An exact recording is read as a whole, for the floor of its features."""
        command, options = task.command, task.command.options
        if options.word_timestamps:
            compile_alignment()
        task.samples = samples = open_samples(Path(command.audio_path))
        resume = ResumePoint.of(command.resume, command.segments, command.first_window)
        if task.is_exact:
            mel = LogMel(samples, model.n_mels, self._device)
            guarded(mel.prepare)
            return ExactRecording(mel, model, options, self._settings, resume)
        return ChunkedTranscription(
            samples, model, options, settings=self._settings, resume=resume, device=self._device
        )

    def _accept(self, task: ActiveTask, model: ModelTraits, opened: Future[Recording]) -> None:
        failure: Exception | None = None
        try:
            task.recording = guarded(opened.result)
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this task only
            failure = error
        if isinstance(failure, OutOfMemoryError) and not task.is_done and self._free_elsewhere():
            task.close_samples()
            free_memory()
            self.enqueue(task, model)
        elif failure is not None:
            task.fail(failure)
        if task.is_done:  # it was stopped while its recording was being opened
            task.close_samples()
