"""What the engine needs of a recording: the streams of requests that transcribe it, and the result."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, Union

from whisper_core.model_requests import Request
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.transcribe import Steps

RequestStream = Generator[Union[Request, WindowResult], Any, None]
"""Yields model requests and is sent their answers; may yield finished windows, and is sent None. The streams of one
recording are independent of each other."""


class Recording(Protocol):
    """A recording that is being transcribed."""

    @property
    def is_complete(self) -> bool: ...

    @property
    def is_handed_out(self) -> bool:
        """Whether `next_stream` will return None from now on."""

    def next_stream(self) -> RequestStream | None:
        """The next stream, or None when there is none now."""

    def finished_windows(self) -> list[WindowResult]:
        """The windows that were finished since the last call and that no stream yields, in order."""

    def transcript(self) -> Transcript:
        """Once the recording is complete."""


class ExactRecording:
    """openai-whisper's sequential algorithm: a single stream, because every window depends on the one before.

    The stream yields its windows itself. steps: the algorithm's, not begun.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps: Steps | None = steps
        self._transcript: Transcript | None = None

    @property
    def is_complete(self) -> bool:
        return self._transcript is not None

    @property
    def is_handed_out(self) -> bool:
        return self._steps is None

    def next_stream(self) -> RequestStream | None:
        steps, self._steps = self._steps, None
        return None if steps is None else self._run(steps)

    def _run(self, steps: Steps) -> RequestStream:
        self._transcript = yield from steps

    def finished_windows(self) -> list[WindowResult]:
        return []

    def transcript(self) -> Transcript:
        if self._transcript is None:
            raise RuntimeError("the recording is not complete")
        return self._transcript
