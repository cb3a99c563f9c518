"""Where a search found a task."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class HitField(Enum):
    TEXT = "text"
    TITLE = "title"
    FILENAME = "filename"
    NOTE = "note"
    TAG = "tag"


@dataclass(frozen=True)
class Sentence:
    """A segment's text and where it is, as the search shows it."""

    segment: int  # its id in the transcript
    start: float  # seconds
    text: str


@dataclass(frozen=True)
class SnippetPart:
    text: str
    is_match: bool


@dataclass(frozen=True)
class SearchHit:
    """The sentence, or the name, that has most of the words, and the words in it."""

    field: HitField
    snippet: tuple[SnippetPart, ...]
    segment: int | None = None  # of a hit in the text, where its times are known
    start: float | None = None  # likewise
