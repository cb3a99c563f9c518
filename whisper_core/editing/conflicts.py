"""Whether edits that were made on an older version still fit the present one."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from errors import InvalidOptionError
from whisper_core.editing.apply import apply, pattern_of
from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.edits import (
    Delete,
    Diarize,
    Edit,
    Insert,
    Merge,
    MergeSpeakers,
    NameSpeaker,
    Replace,
    Retranscribe,
    SetSpeaker,
    SetText,
    SetTimes,
    Shift,
    Split,
)
from whisper_core.editing.history import EditHistory


@dataclass(frozen=True)
class Conflict:
    """What somebody changed meanwhile of what the edits are about."""

    segments: frozenset[int]
    gone: frozenset[int]  # segments that are not there any more
    speakers: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.segments or self.gone or self.speakers)


def conflict_of(history: EditHistory, edits: Iterable[Edit], base: int) -> Conflict:
    """base: the version that whoever made the edits knew."""
    segments: set[int] = set()
    gone: set[int] = set()
    speakers: set[str] = set()
    there = {segment.id for segment in history.text.segments}
    for edit in edits:
        named = segments_of(history.text, edit)
        gone |= {each for each in named - there if each < history.text.next_id}
        segments |= {each for each in named & there if history.changes.get(each, 0) > base}
        speakers |= {each for each in _speakers_of(edit) if history.renames.get(each, 0) > base}
        if isinstance(edit, SetSpeaker) and history.appeared.get(edit.speaker or "", 0) > base:
            speakers |= {str(edit.speaker)}  # somebody else's new speaker, who was given the same id
    return Conflict(frozenset(segments), frozenset(gone), frozenset(speakers))


def segments_of(text: EditedTranscript, edit: Edit) -> set[int]:
    """The ids of the segments that an edit is about, there or not."""
    match edit:
        case SetText() | SetTimes() | Split():
            return {edit.segment}
        case Merge() | Delete() | SetSpeaker() | Retranscribe():
            return set(edit.segments)
        case Insert():
            return _around(text, edit.after)
        case Replace():
            pattern, wanted = pattern_of(edit), edit.segments
            found = {segment.id for segment in text.segments if pattern.search(segment.text)}
            return found if wanted is None else found & set(wanted)
        case Shift() | Diarize():
            return {segment.id for segment in text.segments}
        case NameSpeaker() | MergeSpeakers():
            return set()


def _around(text: EditedTranscript, after: int | None) -> set[int]:
    """What an insertion goes between: something else may have been inserted there."""
    ids = [segment.id for segment in text.segments]
    if after is None:
        return set(ids[:1])
    return {after, *ids[ids.index(after) + 1 :][:1]} if after in ids else {after}


def _speakers_of(edit: Edit) -> set[str]:
    match edit:
        case NameSpeaker():
            return {edit.speaker}
        case MergeSpeakers():
            return {edit.from_, edit.into}
    return set()


def still_wanted(text: EditedTranscript, edits: Iterable[Edit]) -> list[Edit]:
    """Without those that would change nothing: they may have been sent before, and the answer was lost."""
    there = {segment.id for segment in text.segments}
    return [edit for edit in edits if not _changes_nothing(text, edit, there)]


def _changes_nothing(text: EditedTranscript, edit: Edit, there: Set[int]) -> bool:
    if isinstance(edit, Delete):
        return all(0 <= each < text.next_id and each not in there for each in edit.segments)
    if not isinstance(edit, (SetText, SetTimes, SetSpeaker, NameSpeaker)):
        return False
    try:
        return apply(text, edit) is text
    except InvalidOptionError:
        return False
