"""Runs recordings with pauses through mode=vad, with a model's answers or others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.whisper_core.parity import RATE, Samples, noise
from whisper_core.chunked import ChunkStream, transcribe_chunked
from whisper_core.model_requests import Align, Decode, DecodeSettings, DetectLanguage, Encode, Request
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.transcribe import ResumePoint

GREEDY = TranscribeOptions(language="en", temperature=0.0, mode="vad")
DETECTED = replace(GREEDY, language=None)
TWO_STEPS = DecodeSettings(temperatures=(0.0, 0.8))
WORDS = replace(GREEDY, word_timestamps=True)
PLAIN = DecodeSettings()

Serve = Callable[[Request], Any]


def with_pauses(*seconds: float, seed: int = 0) -> Samples:
    """Noise, silence, noise, …: of these lengths."""
    loud = np.maximum(np.abs(noise(sum(seconds), seed)), 1)
    start = 0
    for number, length in enumerate(seconds):
        stop = start + round(length * RATE)
        if number % 2:
            loud[start:stop] = 0
        start = stop
    return loud


FOUR_CHUNKS = with_pauses(7, 22, 6, 25, 5, 26, 3, 0)


class Remembering:
    """A model's answers, each worked out once: a recording is gone through many times here."""

    def __init__(self, model: ReferenceModel) -> None:
        self._model = model
        self._answers: dict[Any, Any] = {}
        self.traits = model.traits

    def serve(self, request: Request) -> Any:
        match request:
            case Encode(mel):
                key: Any = mel.tensor().numpy().tobytes()
            case Align(mel):
                key = (mel.tensor().numpy().tobytes(), request.segments)
            case DetectLanguage(features):
                key = id(features)  # which is remembered too
            case Decode(features):
                key = replace(request, features=id(features))
        if key not in self._answers:
            self._answers[key] = self._model.serve(request)
        return self._answers[key]


def transcribed(
    serve: Serve,
    samples: Samples,
    options: TranscribeOptions,
    settings: DecodeSettings = PLAIN,
    *,
    model: ReferenceModel | Remembering,
    resume: ResumePoint | None = None,
) -> tuple[Transcript, list[WindowResult]]:
    windows: list[WindowResult] = []
    transcript = transcribe_chunked(
        samples, model.traits, options, serve, settings=settings, resume=resume, on_window=windows.append
    )
    assert transcript is not None
    before = () if resume is None else resume.segments
    assert transcript.segments == (*before, *(segment for window in windows for segment in window.segments))
    return transcript, windows


def run(stream: ChunkStream, serve: Serve) -> None:
    answer = None
    while True:
        try:
            answer = serve(stream.send(answer))
        except StopIteration:
            return
