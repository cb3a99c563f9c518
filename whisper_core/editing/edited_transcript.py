"""A transcript that people have changed, and what has to stay true of it whatever they change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from errors import InvalidOptionError
from whisper_core.text.transcript import ComputedPrecision, Segment, Transcript

MAX_SEGMENT_CHARACTERS = 10_000
MAX_CHARACTERS = 4_000_000  # a day of quick speech has 1.2 million
MAX_SEGMENTS = 100_000


@dataclass(frozen=True)
class EditedTranscript:
    """The text after some edits. Segments keep their ids while they are there: those of the original are counted from
    0, and a new one gets one that none ever had."""

    language: str
    precision: ComputedPrecision | None
    segments: tuple[Segment, ...]
    speakers: Mapping[str, str | None]  # by id: their names, None before they have one
    next_id: int
    audio_seconds: float | None  # no time lies behind it; None: not known
    lead: str  # what a segment's text begins with: a space, or nothing in scripts without them
    has_words: bool  # whether new text gets times for its words

    @classmethod
    def of(cls, original: Transcript, audio_seconds: float | None) -> EditedTranscript:
        """The original, before any edit."""
        segments = original.within(audio_seconds).segments
        spaced = sum(segment.text[:1].isspace() for segment in segments)
        return cls(
            language=original.language,
            precision=original.precision,
            segments=tuple(_with_id(segment, number) for number, segment in enumerate(segments)),
            speakers=dict(original.speakers or {}),
            next_id=len(segments),
            audio_seconds=audio_seconds,
            lead=" " if 2 * spaced >= len(segments) else "",
            has_words=original.has_words,
        )

    def transcript(self) -> Transcript:
        text = "".join(segment.text for segment in self.segments)
        return Transcript(text, self.language, self.segments, self.precision, dict(self.speakers) or None)

    def index_of(self, segment_id: int, field: str = "segment") -> int:
        """Raises InvalidOptionError, which names the field, for a segment that is not there."""
        for index, segment in enumerate(self.segments):
            if segment.id == segment_id:
                return index
        raise InvalidOptionError(f"There is no segment {segment_id}.", field=field)

    def indices_of(self, segment_ids: Iterable[int], field: str = "segments") -> list[int]:
        """In the text's order, each once. Raises InvalidOptionError."""
        wanted = set(segment_ids)
        found = [index for index, segment in enumerate(self.segments) if segment.id in wanted]
        if len(found) < len(wanted):
            missing = min(wanted - {self.segments[index].id for index in found})
            raise InvalidOptionError(f"There is no segment {missing}.", field=field)
        return found

    def with_segments(self, segments: Sequence[Segment], **changes: Any) -> EditedTranscript:
        """Itself when nothing differs."""
        made = replace(self, segments=tuple(segments), **changes)
        return self if made == self else made

    def with_new(self, segments: Sequence[Segment], last_id: int) -> EditedTranscript:
        """With new ones among them, of which the last has that id."""
        return self.with_segments(segments, next_id=max(self.next_id, last_id + 1))

    def check_size(self, before: EditedTranscript) -> None:
        """Raises InvalidOptionError for a text that has become larger than one may be."""
        if len(self.segments) > max(MAX_SEGMENTS, len(before.segments)):
            raise InvalidOptionError(f"A transcript may have {MAX_SEGMENTS} segments at most.", field="edits")
        if self._characters() > max(MAX_CHARACTERS, before._characters()):
            raise InvalidOptionError(f"A transcript may have {MAX_CHARACTERS} characters at most.", field="edits")

    def _characters(self) -> int:
        return sum(len(segment.text) for segment in self.segments)


def _with_id(segment: Segment, number: int) -> Segment:
    return segment if segment.id == number else replace(segment, id=number)
