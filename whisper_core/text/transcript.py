"""The transcript and its parts, in openai-whisper's shape."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

FRAMES_PER_SECOND = 100  # mel frames, in which `seek` counts; 10 ms each
WINDOW_SECONDS = 30.0  # of sound that the model sees at once


@dataclass(frozen=True)
class Word:
    """word: with its leading space. start, end: seconds from the start of the recording."""

    word: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class Segment:
    """seek: the window's first mel frame (10 ms each). start, end: seconds from the start of the recording."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """openai-whisper's segment: `words` is there with word timestamps, and, empty, in a segment without text."""
        fields = asdict(self)
        fields["tokens"] = list(self.tokens)
        if self.words is None:
            del fields["words"]
        else:
            fields["words"] = [asdict(word) for word in self.words]
        return fields

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

    def to_dict(self) -> dict[str, Any]:
        return {"text": self.text, "language": self.language, "segments": [s.to_dict() for s in self.segments]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Transcript:
        return cls(
            text=fields["text"],
            language=fields["language"],
            segments=tuple(Segment.from_dict(segment) for segment in fields["segments"]),
        )


@dataclass(frozen=True)
class Checkpoint:
    """Where a transcription stands between two windows; with the segments so far it is all that is needed to go on.

    seek: the next window's first mel frame. content_frames: mel frames of the whole recording.
    prompt_reset_since: index into the tokens so far; earlier ones are no longer fed as previous text.
    last_speech_timestamp: seconds; the end of the last word, used by word timestamps only.
    """

    language: str
    seek: int
    content_frames: int
    prompt_reset_since: int = 0
    last_speech_timestamp: float = 0.0


@dataclass(frozen=True)
class WindowResult:
    """What one 30 s window brought.

    index: counts a task's windows from 0. segments: the new ones only, possibly none.
    checkpoint: the state after this window.
    """

    index: int
    segments: tuple[Segment, ...]
    checkpoint: Checkpoint

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "segments": [segment.to_dict() for segment in self.segments],
            "checkpoint": asdict(self.checkpoint),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> WindowResult:
        return cls(
            index=fields["index"],
            segments=tuple(Segment.from_dict(segment) for segment in fields["segments"]),
            checkpoint=Checkpoint(**fields["checkpoint"]),
        )
