"""Transcripts to change, made by hand and by hypothesis; and what holds of each, whatever was done to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.edits import (
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


EDITS: st.SearchStrategy[Edit] = st.one_of(
    st.builds(SetText, _IDS, _TEXTS | st.text(max_size=12)),
    st.builds(SetTimes, _IDS, _TIMES, _TIMES),
    st.builds(Split, _IDS, st.integers(-2, 12)),
    st.builds(Merge, st.integers(0, 5).map(lambda first: (first, first + 1)) | _SEVERAL),
    st.builds(Delete, _SEVERAL),
    st.builds(Insert, st.none() | _IDS, _TIMES, _TIMES, _TEXTS),
    st.builds(Shift, _TIMES.map(lambda seconds: seconds - 20)),
    st.builds(
        Replace,
        st.sampled_from(["a", "teh", " ", "好", "x", "."]),
        st.sampled_from(["", "the", "b b", "\n", " "]),
        st.none() | _SEVERAL,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(SetSpeaker, _SEVERAL, st.none() | _SPEAKERS),
    st.builds(NameSpeaker, _SPEAKERS, st.sampled_from([None, "Ann", "  ", "Bo\n"])),
    st.builds(MergeSpeakers, _SPEAKERS, _SPEAKERS),
    st.builds(
        Diarize,
        st.lists(st.builds(Assigned, _IDS, st.integers(0, 9), st.sampled_from(["S1", "S2"])), max_size=5).map(
            lambda found: tuple(sorted(found, key=lambda each: (each.segment, each.at_char)))
        ),
        st.just(("S1", "S2")),
    ),
    st.builds(
        lambda segments, start, text: Retranscribe(segments, (segment(0, start, start + 2, text),), "large-v3"),
        _SEVERAL,
        st.integers(0, 60),
        _TEXTS,
    ),
)

KEEPS_TEXT = (SetTimes, Split, Merge, Shift, SetSpeaker, NameSpeaker, MergeSpeakers, Diarize)


def ids_of(text: EditedTranscript) -> Sequence[int]:
    return [each.id for each in text.segments]
