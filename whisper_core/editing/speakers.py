"""Who says a segment: what was found, and what people make of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby, islice, pairwise

from errors import InvalidOptionError
from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.edits import Assigned, Diarize, MergeSpeakers, NameSpeaker, SetSpeaker
from whisper_core.editing.joining import cut, in_order
from whisper_core.text.transcript import Segment

MAX_NAME_CHARACTERS = 100
MAX_SPEAKERS = 200
_ID = re.compile(r"S[1-9][0-9]{0,3}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")


def set_speaker(text: EditedTranscript, edit: SetSpeaker) -> EditedTranscript:
    """A speaker who is not known yet becomes known by that."""
    chosen = {text.segments[index].id for index in text.indices_of(edit.segments)}
    named = dict(text.speakers)
    if edit.speaker is not None and edit.speaker not in named:
        if not _ID.fullmatch(edit.speaker):
            raise InvalidOptionError("A speaker is called S1, S2 and so on.", field="speaker")
        if len(named) >= MAX_SPEAKERS:
            raise InvalidOptionError(f"There may be {MAX_SPEAKERS} speakers at most.", field="speaker")
        named[edit.speaker] = None
    segments = [each.said_by(edit.speaker) if each.id in chosen else each for each in text.segments]
    return text.with_segments(segments, speakers=named)


def name_speaker(text: EditedTranscript, edit: NameSpeaker) -> EditedTranscript:
    _require(text, edit.speaker, "speaker")
    name = None if edit.name is None else edit.name.strip() or None
    if name is not None and (len(name) > MAX_NAME_CHARACTERS or _CONTROL.search(name)):
        raise InvalidOptionError(
            f"A name of at most {MAX_NAME_CHARACTERS} characters on one line is expected.", field="name"
        )
    return text.with_segments(text.segments, speakers={**text.speakers, edit.speaker: name})


def merge_speakers(text: EditedTranscript, edit: MergeSpeakers) -> EditedTranscript:
    """A name that only one of the two has is kept."""
    _require(text, edit.from_, "from")
    _require(text, edit.into, "into")
    if edit.from_ == edit.into:
        raise InvalidOptionError("Another speaker is wanted.", field="into")
    name = text.speakers[edit.into] or text.speakers[edit.from_]
    named = {speaker: known for speaker, known in text.speakers.items() if speaker != edit.from_}
    segments = [_renamed(segment, edit.from_, edit.into) for segment in text.segments]
    return text.with_segments(segments, speakers={**named, edit.into: name})


def diarize(text: EditedTranscript, edit: Diarize) -> EditedTranscript:
    """A first piece keeps its segment's id. Segments that nothing is said of lose their speaker."""
    found: dict[int, list[Assigned]] = defaultdict(list)
    for each in edit.assigned:
        found[each.segment].append(each)
    made: list[Segment] = []
    next_id = edit.first_id
    for index, segment in enumerate(text.segments):
        pieces = _pieces(segment, found[segment.id], text.segments[index + 1 :])
        made.append(pieces[0])
        for piece in pieces[1:]:
            made.append(replace(piece, id=next_id))
            next_id += 1
    named = {speaker: text.speakers.get(speaker) for speaker in edit.speakers}
    return text.with_segments(made, speakers=named, next_id=max(text.next_id, next_id))


def assigned_by(text: EditedTranscript, pieces: Sequence[Segment]) -> Diarize:
    """The edit that makes of the text what `pieces` say: its own segments in their order, each whole or cut where
    speakers change, with who says them.

    Speakers who have names keep their ids, found by the time at which they speak; so names given once hold.
    """
    assigned: list[Assigned] = []
    rest = iter(pieces)
    for segment in text.segments:
        seen = 0
        for number, piece in enumerate(_of_segment(segment, rest)):
            at = 0 if number == 0 else _place_of(segment.text, seen)
            seen += _visible(piece.text)
            assigned.append(Assigned(segment.id, at, piece.speaker))
    ids = _kept_ids(text, pieces)
    merged = [
        replace(next(same), speaker=ids.get(speaker or ""))
        for (_, speaker), same in groupby(assigned, lambda each: (each.segment, each.speaker))
    ]
    return Diarize(tuple(merged), tuple(dict.fromkeys(ids.values())))


def speaker_at(segments: Iterable[Segment], new: Segment) -> str | None:
    """Who says most of these segments while the new one is said."""
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        if segment.speaker is not None:
            seconds[segment.speaker] += max(0.0, min(segment.end, new.end) - max(segment.start, new.start))
    return max(seconds, key=lambda speaker: seconds[speaker], default=None)


def _require(text: EditedTranscript, speaker: str, field: str) -> None:
    if speaker not in text.speakers:
        raise InvalidOptionError("There is no such speaker.", field=field)


def _renamed(segment: Segment, old: str, new: str) -> Segment:
    words = segment.words
    if words is not None and any(word.speaker == old for word in words):
        words = tuple(replace(word, speaker=new) if word.speaker == old else word for word in words)
    if words is segment.words and segment.speaker != old:
        return segment
    return replace(segment, words=words, speaker=new if segment.speaker == old else segment.speaker)


def _pieces(segment: Segment, assigned: Sequence[Assigned], behind: Sequence[Segment]) -> list[Segment]:
    """The segment cut where its speakers change; all of them have its id."""
    made, rest, seen = [], segment, 0
    for one, next_one in pairwise(assigned):
        at = _place_of(rest.text, _visible(segment.text[: next_one.at_char]) - seen)
        if rest.text[:at].strip() and rest.text[at:].strip():
            left, rest = in_order(cut(rest, at), behind)
            seen += _visible(left.text)
            made.append(left.said_by(one.speaker))
    made.append(rest.said_by(assigned[-1].speaker if assigned else None))
    return made


def _of_segment(segment: Segment, pieces: Iterable[Segment]) -> list[Segment]:
    """As many of them as its text has room for."""
    wanted, found = _visible(segment.text), []
    if wanted == 0:
        return []
    for piece in pieces:
        found.append(piece)
        wanted -= _visible(piece.text)
        if wanted <= 0:
            break
    return found


def _visible(text: str) -> int:
    return sum(not character.isspace() for character in text)


def _place_of(text: str, visible: int) -> int:
    """Where the text goes on behind so many visible characters: at the next visible one."""
    seen = 0
    for index, character in enumerate(text):
        if not character.isspace():
            if seen == visible:
                return index
            seen += 1
    return len(text)


def _kept_ids(text: EditedTranscript, pieces: Sequence[Segment]) -> dict[str, str]:
    """By the speakers that were found: the ids that they get."""
    common: dict[tuple[str, str], float] = defaultdict(float)
    named = [each for each in text.segments if each.speaker is not None and text.speakers.get(each.speaker)]
    first = 0
    for before in named:
        while first < len(pieces) and pieces[first].end <= before.start:
            first += 1
        for piece in islice(pieces, first, None):
            if piece.start >= before.end:
                break
            if piece.speaker is not None and before.speaker is not None:
                seconds = min(before.end, piece.end) - max(before.start, piece.start)
                common[piece.speaker, before.speaker] += max(0.0, seconds)
    kept: dict[str, str] = {}
    for found, known in sorted(common, key=lambda pair: -common[pair]):
        if found not in kept and known not in kept.values():
            kept[found] = known
    free = (f"S{number}" for number in range(1, 10_000) if f"S{number}" not in kept.values())
    for piece in pieces:
        if piece.speaker is not None and piece.speaker not in kept:
            kept[piece.speaker] = next(free)
    return kept
