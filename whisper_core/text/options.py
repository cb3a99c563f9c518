"""What a person may choose about one transcription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskKind = Literal["transcribe", "translate"]
Mode = Literal["exact", "vad"]

MAX_PROMPT_CHARACTERS = 2000  # Whisper keeps at most 223 tokens of it


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions:
    """language: a code of `languages.LANGUAGES`, or None to detect it from the first 30 s.
    temperature: one temperature in [0, 1], or None for openai-whisper's ladder 0, 0.2 … 1.
    mode: `exact` says what openai-whisper says; `vad` cuts the recording at pauses, so that its parts can be decoded at
    the same time."""

    language: str | None = None
    task: TaskKind = "transcribe"
    initial_prompt: str | None = None
    word_timestamps: bool = False
    temperature: float | None = None
    mode: Mode = "exact"

    @property
    def is_chunked(self) -> bool:
        """Whether its windows do not depend on each other, so that many of them may be at work at once."""
        return self.mode == "vad"
