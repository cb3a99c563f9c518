"""One task by openai-whisper's algorithm, with a model that answers its requests one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from whisper_core.audio.log_mel import LogMel
from whisper_core.audio.sample_file import open_samples
from whisper_core.chunked import transcribe_chunked
from whisper_core.model_requests import DecodeSettings, ModelTraits, Request
from whisper_core.speech_filter import transcribe_filtered
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.transcribe import ResumePoint, transcribe_audio
from whisper_core.worker.messages import RunTask


class ServingModel(Protocol):
    traits: ModelTraits

    def serve(self, request: Request) -> Any:
        """The answer that model_requests.py describes."""


def transcribe_with(
    model: ServingModel,
    command: RunTask,
    on_window: Callable[[WindowResult], None],
    should_stop: Callable[[], bool],
    settings: DecodeSettings | None = None,
) -> Transcript | None:
    """See SequentialEngine.run. settings: in place of those that the task's options name."""
    with open_samples(Path(command.audio_path)) as samples:
        if command.options.mode == "vad":
            transcribe = partial(transcribe_chunked, samples)
        elif command.options.vad_filter:
            transcribe = partial(transcribe_filtered, samples)
        else:
            transcribe = partial(transcribe_audio, LogMel(samples, model.traits.n_mels))
        return transcribe(
            model.traits,
            command.options,
            model.serve,
            settings=settings,
            resume=ResumePoint.of(command.resume, command.segments, command.first_window),
            on_window=on_window,
            should_stop=should_stop,
        )
