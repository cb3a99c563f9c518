"""Encoding: windows that wait are encoded together, in the encoder's thread or in the engine's own."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import torch

from errors import DeviceLostError
from whisper_core.engine.active_task import ActiveStream
from whisper_core.engine.executors import SerialExecutor, run_inline
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.memory_recovery import MemoryRecovery
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.pipeline import WindowPipeline
from whisper_core.engine.stream_driver import StreamDriver
from whisper_core.model_requests import Decode
from whisper_core.worker.device_errors import guarded


@dataclass
class _EncodedBatch:
    streams: list[ActiveStream] = field(default_factory=list)  # those whose windows were encoded
    cross: CrossCache | None = None  # one slot for each of `streams`; None when there are none
    failures: list[tuple[ActiveStream, OSError]] = field(default_factory=list)  # whose samples could not be read


class EncodeStage:
    """Encodes one model's windows. The work may run in the encoder's thread; all else is the engine's thread's."""

    def __init__(
        self,
        model: LoadedModel,
        pipeline: WindowPipeline,
        driver: StreamDriver,
        recovery: MemoryRecovery,
        executor: SerialExecutor,
    ) -> None:
        self._model = model
        self._pipeline = pipeline
        self._driver = driver
        self._recovery = recovery
        self._executor = executor
        self.latest_seconds = float("inf")  # that an encoding took

    def submit(self) -> None:
        """Have the encoder's thread encode the next windows."""
        if streams := self._pipeline.start_encoding():
            self._executor.submit(partial(self._encode, streams), partial(self._accept, streams))

    def run_inline(self) -> None:
        """Encode the next windows in this thread, while the encoder's thread is busy with others."""
        if streams := self._pipeline.start_encoding():
            self._accept(streams, run_inline(partial(self._encode, streams)))

    @torch.inference_mode()
    def _encode(self, streams: list[ActiveStream]) -> _EncodedBatch:
        """Either thread."""
        began = time.perf_counter()
        batch = _EncodedBatch()
        mels = []
        for stream in streams:
            if stream.window is None:
                raise RuntimeError("the stream has asked for no encoding")
            try:
                mels.append(guarded(stream.window.mel.tensor))
                batch.streams.append(stream)
            except OSError as error:  # its samples cannot be read, or its task has ended and closed them
                batch.failures.append((stream, error))
        if mels:
            batch.cross = guarded(lambda: self._model.encoder.encode(torch.stack(mels)))
        self.latest_seconds = time.perf_counter() - began
        return batch

    def _accept(self, streams: list[ActiveStream], encoded: Future[_EncodedBatch]) -> None:
        """The engine's thread: give the streams their windows, or handle the failure."""
        self._pipeline.finish_encoding(streams)
        waiting = [stream for stream in streams if not stream.is_done]
        if not waiting and not isinstance(encoded.exception(), DeviceLostError):
            return  # no task needs these windows any more, so their failure must not shrink or end anything
        batch = self._recovery.attempt(encoded.result, waiting)
        if batch is None:
            return
        for stream, error in batch.failures:
            stream.task.fail(error)
        if batch.cross is not None:
            batch.cross.keep_for_current_stream()
            self._continue_streams(batch.streams, batch.cross)

    def _continue_streams(self, streams: list[ActiveStream], cross: CrossCache) -> None:
        """cross: one slot for each stream. Its memory is shared, and stays until the last window has got a slot."""
        for number, stream in enumerate(streams):
            if stream.is_done or stream.window is None:
                continue
            stream.window.own_cross = cross.slots(number)
            is_decoded_again = isinstance(stream.request, Decode)  # it had been evicted, and still waits for the result
            if not is_decoded_again:
                self._driver.advance_stream(stream, stream.window)
            self._pipeline.enqueue(stream)
