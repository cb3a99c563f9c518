"""Encoding: windows that wait are encoded together, in the encoder's thread or in the engine's own."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import torch

from errors import DeviceLostError
from whisper_core.engine.active_task import ActiveStream
from whisper_core.engine.decoding.encoded_window import Encoded, EncodedWindow, Place
from whisper_core.engine.executors import SerialExecutor, run_inline
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.memory_recovery import MemoryRecovery
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.pipeline import WindowPipeline
from whisper_core.engine.stream_driver import StreamDriver
from whisper_core.engine.window_memory import WindowMemory
from whisper_core.model_requests import Decode
from whisper_core.worker.device_errors import guarded


@dataclass(frozen=True)
class _Job:
    """A window that is being encoded. It may be given up meanwhile, with its place; then nobody reads what comes."""

    stream: ActiveStream
    window: EncodedWindow
    place: Place | None

    @classmethod
    def of(cls, stream: ActiveStream, place: Place | None) -> _Job:
        """Raises RuntimeError when the stream has asked for no encoding."""
        if stream.window is None:
            raise RuntimeError("the stream has asked for no encoding")
        stream.window.place = place
        return cls(stream, stream.window, place)


@dataclass
class _EncodedBatch:
    jobs: list[_Job] = field(default_factory=list)  # those whose windows were encoded
    encoded: Encoded = field(default_factory=lambda: Encoded([]))  # of `jobs`, in their order
    failures: list[tuple[ActiveStream, OSError]] = field(default_factory=list)  # whose samples could not be read


class EncodeStage:
    """Encodes one model's windows. The work may run in the encoder's thread; all else is the engine's thread's."""

    def __init__(
        self,
        model: LoadedModel,
        memory: WindowMemory,
        pipeline: WindowPipeline,
        driver: StreamDriver,
        recovery: MemoryRecovery,
        executor: SerialExecutor,
    ) -> None:
        self._model = model
        self._memory = memory
        self._pipeline = pipeline
        self._driver = driver
        self._recovery = recovery
        self._executor = executor
        self.latest_seconds = float("inf")  # that an encoding took

    def submit(self) -> None:
        """Have the encoder's thread encode the next windows."""
        if jobs := self._start():
            self._executor.submit(partial(self._encode, jobs), partial(self._accept, jobs))

    def run_inline(self) -> None:
        """Encode the next windows in this thread, while the encoder's thread is busy with others."""
        if jobs := self._start():
            self._accept(jobs, run_inline(partial(self._encode, jobs)))

    def _start(self) -> list[_Job]:
        """Take the windows that are encoded next, and give each a place."""
        streams = self._pipeline.start_encoding()
        if not streams:
            return []
        places = self._recovery.attempt(partial(self._memory.places, len(streams)), streams)
        if places is None:
            self._pipeline.finish_encoding(streams)
            return []
        return [_Job.of(stream, place) for stream, place in zip(streams, places, strict=True)]

    @torch.inference_mode()
    def _encode(self, jobs: list[_Job]) -> _EncodedBatch:
        """Either thread."""
        began = time.perf_counter()
        batch = _EncodedBatch()
        mels = []
        for job in jobs:
            try:
                mels.append(guarded(job.window.mel.tensor))
                batch.jobs.append(job)
            except OSError as error:  # its samples cannot be read, or its task has ended and closed them
                batch.failures.append((job.stream, error))
        if mels:
            detects = self._model.traits.is_multilingual and any(job.stream.asks_for_language for job in batch.jobs)
            places = [job.place for job in batch.jobs]
            batch.encoded = guarded(lambda: self._memory.encode(mels, places, detects=detects))
        self.latest_seconds = time.perf_counter() - began
        return batch

    def _accept(self, jobs: list[_Job], encoded: Future[_EncodedBatch]) -> None:
        """The engine's thread: give the streams their windows, or handle the failure."""
        streams = [job.stream for job in jobs]
        self._pipeline.finish_encoding(streams)
        waiting = [stream for stream in streams if not stream.is_done]
        if not waiting and not isinstance(encoded.exception(), DeviceLostError):
            return  # no task needs these windows any more, so their failure must not shrink or end anything
        batch = self._recovery.attempt(encoded.result, waiting)
        if batch is None:
            return
        for stream, error in batch.failures:
            stream.task.fail(error)
        languages = batch.encoded.languages
        numbers = [None] * len(batch.jobs) if languages is None else languages.tolist()
        for job, cross, number in zip(batch.jobs, batch.encoded.cross, numbers, strict=True):
            if not job.stream.is_done:
                job.window.language = None if number is None else self._model.language(number)
                self._continue(job, cross)

    def _continue(self, job: _Job, cross: CrossCache) -> None:
        stream, window = job.stream, job.window
        if self._memory.has_kept(job.place):
            window.own_cross = cross
            is_decoded_again = isinstance(stream.request, Decode)  # it had been evicted, and still waits for the result
            if not is_decoded_again:
                self._driver.advance_stream(stream, window)
        else:
            window.evict()
        self._pipeline.enqueue(stream)
