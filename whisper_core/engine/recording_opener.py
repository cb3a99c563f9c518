"""Opening the recordings of new tasks, in a thread of its own, because that reads whole recordings.

They are read in parts, the one with the least left first, so that a clip does not wait until long ones have been read.
The thread is given several at a time, as far as they are short, because it gets more only between two of the decoder's
steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from errors import DeviceLostError, OutOfMemoryError
from whisper_core.audio.log_mel import LogMel
from whisper_core.audio.sample_file import open_samples
from whisper_core.chunked import ChunkedTranscription
from whisper_core.common.units import BYTES_PER_SAMPLE, FRAMES_PER_SECOND, HOP_SAMPLES
from whisper_core.engine.active_task import ActiveTask
from whisper_core.engine.alignment import compile_alignment
from whisper_core.engine.executors import SerialExecutor
from whisper_core.engine.recording import ExactRecording, Recording
from whisper_core.model_requests import DecodeSettings, ModelTraits
from whisper_core.speech_filter import FilteredRecording, filtered_steps
from whisper_core.transcribe import ResumePoint, transcription_steps
from whisper_core.worker.device_errors import free_memory, guarded
from whisper_core.worker.messages import RunTask

PART_FRAMES = 600 * FRAMES_PER_SECOND  # read in 0.2 s on two cores of the development machine
PARTS_AT_ONCE = 2  # that a clip may have to wait for
MOST_AT_ONCE = 32  # recordings


class Reading(Protocol):
    """What has to read a whole recording before its first window: LogMel or FilteredRecording."""

    @property
    def frames_left(self) -> int: ...
    def prepare(self, frames: int) -> bool: ...


@dataclass(eq=False)
class _Opening:
    task: ActiveTask
    model: ModelTraits
    frames: int  # that there are to read, about
    recording: Recording | None = None
    reading: Reading | None = None  # of an exact recording

    @property
    def frames_left(self) -> int:
        """0 before it was begun: tasks are begun in order."""
        return self.reading.frames_left if self.reading is not None else 0

    @property
    def frames_of_next_part(self) -> int:
        return min(PART_FRAMES, self.frames if self.reading is None else self.reading.frames_left)


class RecordingOpener:
    """Gives each task its `recording`, or ends it. The engine's thread only; the work is the executor's.

    free_elsewhere: has models free memory for a recording, and returns whether they did.
    """

    def __init__(
        self,
        open_executor: SerialExecutor,
        device: torch.device,
        settings: DecodeSettings | None,
        free_elsewhere: Callable[[], bool],
    ) -> None:
        self._executor = open_executor
        self._device = device
        self._settings = settings
        self._free_elsewhere = free_elsewhere
        self._waiting: list[_Opening] = []
        self._frames_at_once = 0  # that the executor has to read

    def enqueue(self, task: ActiveTask, model: ModelTraits) -> None:
        self._waiting.append(_Opening(task, model, _frames_to_read(task.command)))

    def submit_waiting(self) -> None:
        """Give the executor as many parts as it takes now."""
        if not self._waiting:
            return
        self._waiting = [opening for opening in self._waiting if not opening.task.is_done]
        while self._waiting and self._executor.has_capacity and self._frames_at_once < PARTS_AT_ONCE * PART_FRAMES:
            opening = min(self._waiting, key=lambda opening: opening.frames_left)
            self._waiting.remove(opening)
            frames = opening.frames_of_next_part
            self._frames_at_once += frames
            self._executor.submit(partial(self._open, opening), partial(self._accept, opening, frames))

    def _open(self, opening: _Opening) -> Recording | None:
        """The executor's thread. None while there is more of it to be read.

        An exact recording is read as a whole, for the floor of its features and where only speech counts."""
        if opening.recording is None:
            opening.recording = self._begin(opening)
        is_read = opening.reading is None or guarded(partial(opening.reading.prepare, PART_FRAMES))
        return opening.recording if is_read else None

    def _begin(self, opening: _Opening) -> Recording:
        task, model = opening.task, opening.model
        command, options = task.command, task.command.options
        if options.word_timestamps:
            compile_alignment()
        task.samples = samples = open_samples(Path(command.audio_path))
        resume = ResumePoint.of(command.resume, command.segments, command.first_window)
        if options.vad_filter and task.is_exact:
            opening.reading = speech = FilteredRecording(samples, model.n_mels, self._device)
            return ExactRecording(filtered_steps(speech, model, options, settings=self._settings, resume=resume))
        if task.is_exact:
            opening.reading = mel = LogMel(samples, model.n_mels, self._device)
            return ExactRecording(transcription_steps(mel, model, options, settings=self._settings, resume=resume))
        return ChunkedTranscription(
            samples, model, options, settings=self._settings, resume=resume, device=self._device
        )

    def _accept(self, opening: _Opening, frames: int, opened: Future[Recording | None]) -> None:
        """frames: that were to be read."""
        self._frames_at_once -= frames
        task = opening.task
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
            self.enqueue(task, opening.model)
        elif failure is not None:
            task.fail(failure)
        elif task.recording is None:
            self._waiting.append(opening)
        if task.is_done:  # it was stopped while its recording was being opened
            task.close_samples()


def _frames_to_read(command: RunTask) -> int:
    """0 in fast mode, which reads on while it transcribes, and where there is no file, which opening it will tell."""
    if command.options.is_chunked:
        return 0
    try:
        return os.stat(command.audio_path).st_size // (BYTES_PER_SAMPLE * HOP_SAMPLES)
    except OSError:
        return 0
