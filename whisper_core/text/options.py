"""The options of one transcription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskKind = Literal["transcribe", "translate"]
Mode = Literal["exact", "vad"]

MAX_PROMPT_CHARACTERS = 2000  # Whisper keeps at most 223 tokens of it


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions:
    language: str | None = None  # a code in `languages.LANGUAGES`; None: detected from the first 30 s
    task: TaskKind = "transcribe"
    initial_prompt: str | None = None
    word_timestamps: bool = False
    temperature: float | None = None  # from 0 to 1; None: openai-whisper's fallback 0, 0.2 … 1
    mode: Mode = "exact"  # exact: openai-whisper's own text; vad: cut at pauses, so that parts can be decoded together

    @property
    def is_chunked(self) -> bool:
        """Whether its windows do not depend on each other, so that many can be decoded at the same time."""
        return self.mode == "vad"
