"""What each edit makes of a transcript: a pure function of the text before it.

Whatever is applied: the times of segments stay in order and inside the recording, those of words inside their segment,
ids stay unique, and no text is lost but what an edit says to remove. Undoing is not done here: the text without an edit
is the original with the others.

An edit that changes nothing gives the very same object back. What cannot be applied raises InvalidOptionError with the
edit's field at fault.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from errors import InvalidOptionError
from whisper_core.editing import speakers, word_times
from whisper_core.editing.edited_transcript import MAX_SEGMENT_CHARACTERS, EditedTranscript
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
from whisper_core.editing.joining import cut, in_order, merged
from whisper_core.text.transcript import Segment

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_SAME_MOVE_S = 0.0005  # two times that moved equally far, but for rounding


def apply(text: EditedTranscript, edit: Edit) -> EditedTranscript:
    """Raises InvalidOptionError."""
    match edit:
        case SetText():
            return _changing(text, [text.index_of(edit.segment)], lambda each: with_text(text, each, edit.text))
        case SetTimes():
            return _set_times(text, edit)
        case Split():
            return _split(text, edit)
        case Merge():
            return _merge(text, edit)
        case Delete():
            gone = {text.segments[index].id for index in text.indices_of(edit.segments)}
            return text.with_segments([each for each in text.segments if each.id not in gone])
        case Insert():
            return _insert(text, edit)
        case Shift():
            return _shift(text, edit.seconds)
        case Replace():
            return _replace(text, edit)
        case SetSpeaker():
            return speakers.set_speaker(text, edit)
        case NameSpeaker():
            return speakers.name_speaker(text, edit)
        case MergeSpeakers():
            return speakers.merge_speakers(text, edit)
        case Diarize():
            return speakers.diarize(text, edit)
        case Retranscribe():
            return _retranscribe(text, edit)


def fold(original: EditedTranscript, edits: Iterable[Edit]) -> EditedTranscript:
    """The text after all of these. They were applied before, so each fits."""
    text = original
    for edit in edits:
        text = apply(text, edit)
    return text


def with_text(text: EditedTranscript, segment: Segment, new: str, field: str = "text") -> Segment:
    """The segment with these words instead. A person has looked at it, so it is certain."""
    if not 0 <= len(new) <= MAX_SEGMENT_CHARACTERS:
        raise InvalidOptionError(f"A segment may have {MAX_SEGMENT_CHARACTERS} characters at most.", field=field)
    if _CONTROL.search(new):
        raise InvalidOptionError("It has control characters in it, or half of a character.", field=field)
    spoken = _with_lead(new, segment.text if segment.text.strip() else text.lead)
    if spoken == segment.text:
        return segment
    words = segment.words and word_times.retimed(segment.words, spoken, segment.start, segment.end)
    if not words and (segment.words is not None or text.has_words):
        words = word_times.words_of(spoken, segment.start, segment.end, segment.speaker)
    return replace(segment, text=spoken, words=words, tokens=(), temperature=0.0, avg_logprob=0.0, no_speech_prob=0.0)


def _with_lead(text: str, like: str) -> str:
    """Stripped, and with a space before it if `like` begins with one: that is no part of what a person types."""
    bare = text.strip()
    return f" {bare}" if bare and like[:1].isspace() else bare


def _changing(text: EditedTranscript, indices: Sequence[int], change: Callable[[Segment], Segment]) -> EditedTranscript:
    segments = list(text.segments)
    for index in indices:
        segments[index] = change(segments[index])
    return text.with_segments(segments)


def _set_times(text: EditedTranscript, edit: SetTimes) -> EditedTranscript:
    index = text.index_of(edit.segment)
    start, end = _checked_times(text, index - 1, index + 1, edit.start, edit.end)
    return _changing(text, [index], lambda segment: _with_times(segment, start, end))


def _checked_times(text: EditedTranscript, before: int, after: int, start: float, end: float) -> tuple[float, float]:
    """The times for a segment between those two, which may not be there. Raises InvalidOptionError."""
    if not (math.isfinite(start) and start >= 0):
        raise InvalidOptionError("A time from 0 on is expected.", field="start")
    last = math.inf if text.audio_seconds is None else text.audio_seconds
    if not (math.isfinite(end) and start < end):
        raise InvalidOptionError("It has to end after it starts.", field="end")
    if start > last or end > last + 1:  # what a player says of the length is not exact
        raise InvalidOptionError("It would lie behind the end of the recording.", field="end")
    earliest = text.segments[before].start if before >= 0 else 0.0
    latest = text.segments[after].start if after < len(text.segments) else math.inf
    if earliest <= latest and start < earliest:
        raise InvalidOptionError("It would start before the segment before it.", field="start")
    if earliest <= latest and start > latest:
        raise InvalidOptionError("It would start after the segment behind it.", field="start")
    return start, min(end, last)


def _with_times(segment: Segment, start: float, end: float) -> Segment:
    """Its words stay where they are, as far as that is inside; those of a segment that moves as a whole go with it."""
    if (start, end) == (segment.start, segment.end):
        return segment
    words = segment.words
    if words is not None:
        by = start - segment.start
        if abs(end - segment.end - by) < _SAME_MOVE_S:
            words = word_times.moved(words, by)
        words = word_times.within(words, start, end)
    return replace(segment, start=start, end=end, words=words)


def _split(text: EditedTranscript, edit: Split) -> EditedTranscript:
    index = text.index_of(edit.segment)
    segment, behind = text.segments[index], text.segments[index + 1 :]
    at = max(0, edit.at_char)
    if not (segment.text[:at].strip() and segment.text[at:].strip()):
        raise InvalidOptionError("There has to be text on both sides.", field="at_char")
    left, right = in_order(cut(segment, at), behind)
    both = left, replace(right, id=edit.first_id)
    return text.with_new([*text.segments[:index], *both, *behind], edit.first_id)


def _merge(text: EditedTranscript, edit: Merge) -> EditedTranscript:
    indices = text.indices_of(edit.segments)
    first, last = indices[0], indices[-1]
    if len(indices) < 2 or last - first + 1 != len(indices):
        raise InvalidOptionError("Two or more neighbours are wanted.", field="segments")
    whole = text.segments[first]
    for segment in text.segments[first + 1 : last + 1]:
        whole = merged(whole, segment)
    if len(whole.text) > MAX_SEGMENT_CHARACTERS:
        raise InvalidOptionError(f"A segment may have {MAX_SEGMENT_CHARACTERS} characters at most.", field="segments")
    return text.with_segments([*text.segments[:first], whole, *text.segments[last + 1 :]])


def _insert(text: EditedTranscript, edit: Insert) -> EditedTranscript:
    before = -1 if edit.after is None else text.index_of(edit.after, "after")
    start, end = _checked_times(text, before, before + 1, edit.start, edit.end)
    empty = Segment(
        edit.first_id, round(start * 100), start, end, "", (), 0.0, 0.0, 1.0, 0.0,
        () if text.has_words else None, text.segments[before].speaker if before >= 0 else None,
    )  # fmt: skip
    made = with_text(text, empty, edit.text)
    if not made.text:
        raise InvalidOptionError("A text is wanted.", field="text")
    return text.with_new([*text.segments[: before + 1], made, *text.segments[before + 1 :]], edit.first_id)


def _shift(text: EditedTranscript, seconds: float) -> EditedTranscript:
    if not math.isfinite(seconds):
        raise InvalidOptionError("A number of seconds is expected.", field="seconds")
    last = math.inf if text.audio_seconds is None else text.audio_seconds

    def shifted(segment: Segment) -> Segment:
        start, end = (min(max(0.0, time + seconds), last) for time in (segment.start, segment.end))
        words = segment.words and word_times.within(word_times.moved(segment.words, seconds), start, end)
        return replace(segment, start=start, end=end, words=words)

    return text.with_segments([shifted(segment) for segment in text.segments])


def _replace(text: EditedTranscript, edit: Replace) -> EditedTranscript:
    pattern = pattern_of(edit)

    def replaced(segment: Segment) -> Segment:
        new, count = pattern.subn(lambda _: edit.replace, segment.text)
        if not count:
            return segment
        made = with_text(text, segment, new, "replace")
        return replace(
            made,
            temperature=segment.temperature,
            avg_logprob=segment.avg_logprob,
            no_speech_prob=segment.no_speech_prob,
        )

    every = range(len(text.segments))
    return _changing(text, every if edit.segments is None else text.indices_of(edit.segments), replaced)


def pattern_of(edit: Replace) -> re.Pattern[str]:
    """What the edit looks for. Raises InvalidOptionError."""
    if not edit.find:
        raise InvalidOptionError("A text to look for is wanted.", field="find")
    literal = re.escape(edit.find)
    if edit.whole_words:
        literal = rf"(?<!\w){literal}(?!\w)"
    return re.compile(literal, 0 if edit.case else re.IGNORECASE)


def _retranscribe(text: EditedTranscript, edit: Retranscribe) -> EditedTranscript:
    """The new segments go where their times are, between those that stay."""
    replaced = [text.segments[index] for index in text.indices_of(edit.segments)]
    gone = {segment.id for segment in replaced}
    kept = [segment for segment in text.segments if segment.id not in gone]
    last = math.inf if text.audio_seconds is None else text.audio_seconds
    for number, new in enumerate(sorted(edit.with_, key=lambda segment: segment.start)):
        new = replace(new.within(last), id=edit.first_id + number, speaker=speakers.speaker_at(replaced, new))
        at = next((index for index, segment in enumerate(kept) if segment.start > new.start), len(kept))
        kept.insert(at, new)
    text = replace(text, has_words=text.has_words or any(new.words is not None for new in edit.with_))
    return text.with_new(kept, edit.first_id + len(edit.with_) - 1)
