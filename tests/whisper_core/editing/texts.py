"""Transcripts to change, made by hand and by hypothesis; and what holds of each, whatever was done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.edits import (
    KINDS,
    Assigned,
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
from whisper_core.editing.word_times import words_of
from whisper_core.text.transcript import Segment, Transcript

AUDIO_SECONDS = 60.0


def segment(number: int, start: float, end: float, text: str, *, has_words: bool = False) -> Segment:
    words = words_of(text, start, end) if has_words else None
    return Segment(number, 0, start, end, text, (1, 2), 0.2, -0.5, 1.5, 0.1, words)


def text_of(*segments: Segment, audio_seconds: float | None = AUDIO_SECONDS) -> EditedTranscript:
    whole = Transcript("".join(each.text for each in segments), "en", segments)
    return EditedTranscript.of(whole, audio_seconds)


def said(text: EditedTranscript) -> list[str]:
    return [each.text for each in text.segments]


def visible(text: EditedTranscript) -> str:
    return "".join("".join(each.text.split()) for each in text.segments)


def assert_sound(text: EditedTranscript) -> None:
    """Ids are unique, times in order and inside the recording, words inside their segment and all of its text."""
    ids = [each.id for each in text.segments]
    assert len(set(ids)) == len(ids)
    assert max(ids, default=-1) < text.next_id
    assert [a.start for a, b in pairwise(text.segments) if a.start > b.start] == []
    for each in text.segments:
        assert 0 <= each.start <= each.end <= (text.audio_seconds or each.end)
        assert each.text == each.text.rstrip()
        assert each.speaker is None or each.speaker in text.speakers
        if each.words is not None:
            assert "".join(word.word for word in each.words) == each.text
            assert all(each.start <= word.start <= word.end <= each.end for word in each.words)
            assert [a.start for a, b in pairwise(each.words) if a.start > b.start] == []


_WORDS = st.sampled_from(["a", "teh", "Hello,", "world.", "I", "yes", "a-b", "好", "今天", "です。", "😀", "é"])
_TEXTS = st.lists(_WORDS, max_size=6).map(lambda words: " " + " ".join(words) if words else "")
_IDS = st.integers(0, 8)
_SEVERAL = st.lists(_IDS, min_size=1, max_size=3, unique=True).map(tuple)
_TIMES = st.floats(-1, 70, allow_nan=False).map(lambda seconds: round(seconds, 2))
_SPEAKERS = st.sampled_from(["S1", "S2", "S3", "nobody"])


@st.composite
def originals(draw: st.DrawFn) -> EditedTranscript:
    count, has_words = draw(st.integers(0, 5)), draw(st.booleans())
    borders = sorted(draw(st.lists(st.integers(0, 600), min_size=2 * count, max_size=2 * count)))
    is_overlapping = draw(st.booleans())
    segments = []
    for number in range(count):
        start, end = borders[2 * number] / 10, borders[2 * number + 1] / 10
        later = 5.0 if is_overlapping else 0.0
        segments.append(segment(number, start, end + later, draw(_TEXTS), has_words=has_words))
    return text_of(*segments, audio_seconds=draw(st.sampled_from([AUDIO_SECONDS, 70.0, None])))


# Edits of which most do not fit the text that they meet.
_ANY_EDITS: st.SearchStrategy[Edit] = st.one_of(
    st.builds(SetText, _IDS, _TEXTS | st.text(max_size=12)),
    st.builds(SetTimes, _IDS, _TIMES, _TIMES),
    st.builds(Split, _IDS, st.integers(-2, 12)),
    st.builds(Merge, _SEVERAL),
    st.builds(Delete, _SEVERAL),
    st.builds(Insert, st.none() | _IDS, _TIMES, _TIMES, _TEXTS),
    st.builds(SetSpeaker, _SEVERAL, st.none() | _SPEAKERS),
    st.builds(NameSpeaker, _SPEAKERS, st.sampled_from([None, "Ann", "  ", "Bo\n"])),
    st.builds(MergeSpeakers, _SPEAKERS, _SPEAKERS),
)


@dataclass(frozen=True)
class Wish:
    """An edit before it is known which text it is for."""

    kind: type[Edit]
    place: int
    number: int
    words: str

    def edit(self, text: EditedTranscript) -> Edit:
        """Fits nearly always."""
        at = self.place % max(1, len(text.segments))
        kind = self.kind if text.segments else Insert
        return _FITTING[kind](self, text, at)

    def inserted(self, text: EditedTranscript, at: int) -> Edit:
        before = text.segments[at - 1].start if at else 0.0
        behind = text.segments[at].start if text.segments else 50.0
        start = before + (behind - before) * (self.number % 11) / 10
        return Insert(text.segments[at - 1].id if at else None, start, start + 1 + self.number, self.words or "x")

    def found(self, text: EditedTranscript, _: int) -> Edit:
        cuts = [(segment, cut) for segment in text.segments for cut in (0, self.number)]
        found = [Assigned(segment.id, cut, f"S{1 + (self.number + cut) % 3}") for segment, cut in cuts]
        return Diarize(tuple(found), ("S1", "S2", "S3"))

    def done_again(self, text: EditedTranscript, at: int) -> Edit:
        old = text.segments[at]
        new = [
            segment(0, old.start + later, old.end + later, self.words or " x", has_words=old.words is not None)
            for later in (self.number, self.number + 1)
        ]
        return Retranscribe(tuple(ids_of(text)[at : at + 1 + self.number % 2]), tuple(new), "large-v3")

    def speaker(self, text: EditedTranscript) -> str:
        known = [*text.speakers] or ["S1"]
        return known[self.place % len(known)]


_FITTING: dict[type[Edit], Callable[[Wish, EditedTranscript, int], Edit]] = {
    SetText: lambda wish, text, at: SetText(text.segments[at].id, wish.words),
    SetTimes: lambda wish, text, at: SetTimes(
        text.segments[at].id, text.segments[at].start, text.segments[at].start + 0.1 + wish.number
    ),
    Split: lambda wish, text, at: Split(text.segments[at].id, 1 + wish.number % max(1, len(text.segments[at].text))),
    Merge: lambda wish, text, at: Merge(tuple(ids_of(text)[at : at + 2 + wish.number % 2])),
    Delete: lambda _, text, at: Delete((text.segments[at].id,)),
    Insert: Wish.inserted,
    Shift: lambda wish, *_: Shift(wish.number - 10),
    Replace: lambda wish, text, at: Replace(
        (text.segments[at].text.split() or ["a"])[0], wish.words.strip(), None, bool(wish.number % 2)
    ),
    SetSpeaker: lambda wish, text, at: SetSpeaker((text.segments[at].id,), f"S{1 + wish.number % 3}"),
    NameSpeaker: lambda wish, text, _: NameSpeaker(wish.speaker(text), wish.words.strip() or None),
    MergeSpeakers: lambda _, text, __: MergeSpeakers(*([*text.speakers, "S1", "S2"][1::-1])),
    Diarize: Wish.found,
    Retranscribe: Wish.done_again,
}
_WISHES = st.builds(Wish, st.sampled_from([*KINDS.values()]), st.integers(0, 9), st.integers(0, 20), _TEXTS)
EDITS: st.SearchStrategy[Wish | Edit] = st.sampled_from([_ANY_EDITS, _WISHES, _WISHES, _WISHES]).flatmap(
    lambda strategy: strategy
)


def edit_for(text: EditedTranscript, wished: Wish | Edit) -> Edit:
    return wished.edit(text) if isinstance(wished, Wish) else wished


KEEPS_TEXT = (SetTimes, Split, Merge, Shift, SetSpeaker, NameSpeaker, MergeSpeakers, Diarize)


def ids_of(text: EditedTranscript) -> Sequence[int]:
    return [each.id for each in text.segments]
