"""The transcript and its parts, as in openai-whisper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from whisper_core.common.units import FRAMES_PER_SECOND
from whisper_core.text.turns import Turn

FIRST_TIMESTAMP = 50_363  # <|0.00|> of the English vocabulary; in the others it is a token that is never said

ComputedPrecision = Literal["fp32", "fp16", "int8"]  # of the matrices that a model is computed with


@dataclass(frozen=True)
class Word:
    word: str  # with its leading space
    start: float  # seconds from the start of the recording, as all times in a transcript
    end: float
    probability: float
    speaker: str | None = None  # None: not known

    def to_dict(self) -> dict[str, Any]:
        """openai-whisper's word. `speaker` is there only if it is known."""
        speaker = {} if self.speaker is None else {"speaker": self.speaker}
        return {"word": self.word, "start": self.start, "end": self.end, "probability": self.probability, **speaker}


@dataclass(frozen=True)
class Segment:
    id: int
    seek: int  # the window's first mel frame, 10 ms each
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] | None = None
    speaker: str | None = None  # who says most of it: "S1", "S2" …; None: not known

    def to_dict(self) -> dict[str, Any]:
        """openai-whisper's segment. `words` is present only with word timestamps; without text it is empty. `speaker`
        is there only if it is known."""
        fields = {**vars(self), "tokens": list(self.tokens)}
        del fields["words"], fields["speaker"]
        if self.words is not None:
            fields["words"] = [word.to_dict() for word in self.words]
        if self.speaker is not None:
            fields["speaker"] = self.speaker
        return fields

    def said_by(self, speaker: str | None) -> Segment:
        words = self.words and tuple(replace(word, speaker=speaker) for word in self.words)
        return replace(self, speaker=speaker, words=words)

    def from_(self, first_s: float) -> Segment:
        """It, beginning at `first_s` if it begins before that and ends after it; its words likewise."""
        words = self.words and tuple(
            replace(word, start=first_s) if word.start < first_s < word.end else word for word in self.words
        )
        return replace(self, start=first_s if self.start < first_s < self.end else self.start, words=words)

    def within(self, last_s: float) -> Segment:
        words = self.words and tuple(
            replace(word, start=min(word.start, last_s), end=min(word.end, last_s)) for word in self.words
        )
        return replace(self, start=min(self.start, last_s), end=min(self.end, last_s), words=words)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Segment:
        words = fields.get("words")
        return cls(
            **{
                **fields,
                "tokens": tuple(fields["tokens"]),
                "words": None if words is None else tuple(Word(**word) for word in words),
            }
        )


@dataclass(frozen=True)
class Transcript:
    text: str
    language: str
    segments: tuple[Segment, ...]
    precision: ComputedPrecision | None = None  # of the attempt that finished it; None: not known, or not finished yet
    speakers: Mapping[str, str | None] | None = None  # their names, None before they have one; None: nobody looked
    version: int = 0  # how many steps people took to change it; 0: it is as it was transcribed
    is_edited: bool = False  # whether that changed anything that was not undone
    turns: tuple[Turn, ...] | None = None  # as they were found with it; None: not wanted, or it could not be told

    @property
    def has_words(self) -> bool:
        """Whether it was made with word timestamps. One without segments does not tell."""
        return any(segment.words is not None for segment in self.segments)

    @property
    def has_speakers(self) -> bool:
        """Whether it is known of any segment who says it."""
        return any(segment.speaker is not None for segment in self.segments)

    def name_of(self, speaker: str) -> str:
        """What a speaker is called: by name, or `Speaker 1` for `S1`."""
        return (self.speakers or {}).get(speaker) or f"Speaker {speaker.removeprefix('S')}"

    def without_speakers(self) -> Transcript:
        if self.speakers is None and not self.has_speakers:
            return self
        return replace(self, segments=tuple(segment.said_by(None) for segment in self.segments), speakers=None)

    @property
    def has_coarse_times(self) -> bool:
        """Whether each segment is as long as its window, because the model has ended none: one does that was trained
        without timestamps. Words have times of their own, and a single window does not tell."""
        spoken = [segment for segment in self.segments if segment.tokens]
        is_coarse = (segment.tokens[-1] < FIRST_TIMESTAMP <= segment.tokens[0] for segment in spoken)
        return len({segment.seek for segment in spoken}) > 1 and not self.has_words and all(is_coarse)

    def within(self, audio_seconds: float | None) -> Transcript:
        """The same text with no time behind the end of the recording, if that is known: a model may hear a last
        sentence end there."""
        if audio_seconds is None or all(segment.end <= audio_seconds for segment in self.segments):
            return self
        return replace(self, segments=tuple(segment.within(audio_seconds) for segment in self.segments))

    def to_dict(self) -> dict[str, Any]:
        """openai-whisper's result, and the precision. `speakers` is there only if somebody looked for them. Without the
        turns, which `to_stored` has."""
        segments = [segment.to_dict() for segment in self.segments]
        speakers = {} if self.speakers is None else {"speakers": dict(self.speakers)}
        fields = {"text": self.text, "language": self.language, "segments": segments, "precision": self.precision}
        return {**fields, **speakers}

    def to_stored(self) -> dict[str, Any]:
        """All of it, as its file has it."""
        return (
            self.to_dict() if self.turns is None else {**self.to_dict(), "turns": [asdict(turn) for turn in self.turns]}
        )

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Transcript:
        """Also of a transcript that was stored without its precision, and of openai-whisper's result."""
        turns = fields.get("turns")
        return cls(
            text=fields["text"],
            language=fields["language"],
            segments=tuple(Segment.from_dict(segment) for segment in fields["segments"]),
            precision=fields.get("precision"),
            speakers=fields.get("speakers"),
            turns=None if turns is None else tuple(Turn(**turn) for turn in turns),
        )


@dataclass(frozen=True)
class Checkpoint:
    """The state of a transcription between two windows. It continues from this and from the segments so far."""

    language: str
    seek: int  # the next window's first mel frame
    content_frames: int  # mel frames in the whole recording
    prompt_reset_since: int = 0  # index into the tokens so far; earlier ones are not used as a prompt any more
    last_speech_timestamp: float = 0.0  # the end of the last word; only used for word timestamps
    skipped_frames: int = 0  # before `seek`, that were left out: in none of the clips, or without speech
    frames_left: int | None = None  # that are still to be decoded; None: all from `seek` on

    @property
    def is_at_end(self) -> bool:
        return self.seek >= self.content_frames

    @property
    def audio_done_seconds(self) -> float:
        """From the start of the recording; `seek` may lie beyond its end."""
        return min(self.seek, self.content_frames) / FRAMES_PER_SECOND

    @property
    def audio_decoded_seconds(self) -> float:
        """Of the sound so far, what was not left out."""
        return self.audio_done_seconds - self.skipped_frames / FRAMES_PER_SECOND

    @property
    def audio_left_seconds(self) -> float:
        """Of the sound to come, what is not left out."""
        left = max(0, self.content_frames - self.seek) if self.frames_left is None else self.frames_left
        return left / FRAMES_PER_SECOND

    @property
    def progress(self) -> float:
        """0 to 1, of the whole recording."""
        return 1.0 if self.is_at_end else max(0.0, self.seek / self.content_frames)


@dataclass(frozen=True)
class WindowResult:
    """The result of one 30 s window."""

    index: int  # a task's windows are counted from 0
    segments: tuple[Segment, ...]  # the new ones only, possibly none
    checkpoint: Checkpoint  # the state after this window

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> WindowResult:
        return cls(
            index=fields["index"],
            segments=tuple(Segment.from_dict(segment) for segment in fields["segments"]),
            checkpoint=Checkpoint(**fields["checkpoint"]),
        )
