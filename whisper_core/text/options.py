"""The options of one transcription."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from errors import InvalidOptionError

TaskKind = Literal["transcribe", "translate"]
Mode = Literal["exact", "vad"]
DetectedFrom = Literal["start", "first_speech"]

MAX_PROMPT_CHARACTERS = 2000  # Whisper keeps at most 223 tokens of it
NO_CLIP = "0,0"  # clip_timestamps: nothing of the recording, so that its language is found and no text
ALL_SYMBOLS = "-1"  # suppress_tokens: openai-whisper's list of symbols that are not spoken

# Those that every task's JSON and every stored task name; the others only where they differ from the default.
ALWAYS_NAMED = ("language", "task", "initial_prompt", "word_timestamps", "temperature", "mode")


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions:
    """Names, defaults and meaning are openai-whisper's, unless a remark says otherwise.

    A threshold of None is never crossed.
    """

    language: str | None = None  # a code in `languages.LANGUAGES`; None: detected from 30 s of the recording
    task: TaskKind = "transcribe"
    initial_prompt: str | None = None
    word_timestamps: bool = False
    temperature: float | None = None  # from 0 to 1; None: openai-whisper's fallback 0, 0.2 … 1
    mode: Mode = "exact"  # exact: openai-whisper's own text; vad: cut at pauses, so that parts can be decoded together
    carry_initial_prompt: bool = False  # whether the initial prompt is put before every window
    hotwords: str | None = None  # faster-whisper's: words that are put before every window, and before any other prompt
    condition_on_previous_text: bool = True
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    hallucination_silence_threshold: float | None = None  # seconds; only with word timestamps
    clip_timestamps: str = "0"  # start,end,start,end … in seconds, ascending; without the last end: to the end
    beam_size: int | None = None  # beams at temperature 0; None: the likeliest token at every step
    best_of: int | None = None  # samples at a temperature above 0, of which the best is kept; None: one
    patience: float | None = None  # beam search ends with beam_size times as many finished beams; None: 1
    length_penalty: float | None = None  # 0 to 1, for ranking beams and samples; None: by the mean logprob
    detect_language: DetectedFrom = "start"  # where those 30 s begin; fast mode always begins at the first speech
    vad_filter: bool = False  # faster-whisper's: only what is speech is transcribed; fast mode does so by itself
    suppress_tokens: str = ALL_SYMBOLS  # ids of tokens that are never chosen, -1 for most symbols; empty: no filter

    @property
    def is_chunked(self) -> bool:
        """Whether its windows do not depend on each other, so that many can be decoded at the same time."""
        return self.mode == "vad"

    @property
    def widths(self) -> frozenset[int]:
        """Rows of the decoder that one of its windows may take at a time: at temperature 0, and above it."""
        cold = {self.beam_size or 1} if not self.temperature else set()
        hot = {self.best_of or 1} if self.temperature != 0 else set()
        return frozenset(cold | hot)

    @property
    def beams(self) -> int:
        """Rows that the slots of its windows have beyond a plain slot's: the sum of its widths above 1."""
        return sum(width for width in self.widths if width > 1)

    @property
    def is_plain(self) -> bool:
        """Whether the memory that it took is what any plain task takes: one row of the decoder at a time, and nothing
        for finding speech."""
        return not self.is_chunked and self.beams == 0 and not self.vad_filter

    @property
    def beyond_default(self) -> dict[str, Any]:
        """The options that differ from their default, but for the six that are always named."""
        values = ((field, getattr(self, field.name)) for field in fields(TranscribeOptions))
        return {
            field.name: value for field, value in values if field.name not in ALWAYS_NAMED and value != field.default
        }


def check_together(options: TranscribeOptions) -> None:
    """Raises InvalidOptionError for an option that would have no effect, or no meaning, beside the others."""
    if options.hallucination_silence_threshold is not None and not options.word_timestamps:
        raise InvalidOptionError("Needs word_timestamps.", field="hallucination_silence_threshold")
    if options.patience is not None:
        if options.beam_size is None:
            raise InvalidOptionError("Needs beam_size.", field="patience")
        if round(options.beam_size * (options.patience or 1.0)) < 1:
            raise InvalidOptionError("beam_size times patience must round to at least 1.", field="patience")
    if not options.is_chunked:
        return
    for name in ("hallucination_silence_threshold", "clip_timestamps", "vad_filter"):
        if name in options.beyond_default:
            raise InvalidOptionError(
                "Is not possible with mode=vad, which looks for speech itself: use mode=exact.", field=name
            )
