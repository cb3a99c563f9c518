"""What an engine needs of a recording that it transcribes: strands of steps, and what has come of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, Union

from whisper_core.audio.log_mel import LogMel
from whisper_core.model_requests import DecodeSettings, ModelTraits, Request
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.transcribe import ResumePoint, Steps, transcription_steps

Strand = Generator[Union[Request, WindowResult], Any, None]
"""Yields model requests and is sent their answers; may yield windows. Strands of one recording run side by side."""


class Recording(Protocol):
    """A recording while it is transcribed."""

    @property
    def is_complete(self) -> bool: ...
    def next_strand(self) -> Strand | None:
        """The next one, or None when there is none to be had now."""

    def finished_windows(self) -> list[WindowResult]:
        """Those that have not been given out yet, in order."""

    def transcript(self) -> Transcript:
        """Once it is complete."""


class ExactRecording:
    """openai-whisper's sequential algorithm: one strand, since every window depends on the one before.

    The strand yields its windows itself, among its requests.
    """

    def __init__(
        self,
        mel: LogMel,
        model: ModelTraits,
        options: TranscribeOptions,
        settings: DecodeSettings,
        resume: ResumePoint | None,
    ) -> None:
        self._steps: Steps | None = transcription_steps(mel, model, options, settings=settings, resume=resume)
        self._transcript: Transcript | None = None

    @property
    def is_complete(self) -> bool:
        return self._transcript is not None

    def next_strand(self) -> Strand | None:
        steps, self._steps = self._steps, None
        return None if steps is None else self._run(steps)

    def _run(self, steps: Steps) -> Strand:
        self._transcript = yield from steps

    def finished_windows(self) -> list[WindowResult]:
        return []

    def transcript(self) -> Transcript:
        if self._transcript is None:
            raise RuntimeError("the recording is not complete")
        return self._transcript
