"""Who says which words: that nothing of a text is lost, and the cases in which other programs are wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import budget
from tests.whisper_core.text.test_bilingual import words_of
from tests.whisper_core.text.test_writers import segment_of
from whisper_core.text.speaker_words import assign_speakers, speaker_ids, with_speakers
from whisper_core.text.transcript import Segment, Transcript, Word
from whisper_core.text.turns import Turn

Said = list[tuple[str | None, str]]
ANN, BOB = "S1", "S2"


def spoken(start: float, end: float, text: str, number: int = 0) -> Segment:
    """Each word takes the same part of its segment's time."""
    return replace(segment_of(number, start, end, f" {text}"), words=words_of(start, end, text))


def said(*segments: Segment) -> Said:
    return [(segment.speaker, segment.text.strip()) for segment in segments]


def test_a_segment_is_split_where_the_speaker_changes() -> None:
    segment = spoken(0, 6, "are you there yes I am")
    first, second = assign_speakers([segment], [Turn(0, 3.1, 7), Turn(3.1, 6, 4)])
    assert said(first, second) == [(ANN, "are you there"), (BOB, "yes I am")]
    assert (first.start, first.end, second.start, second.end) == (0, 3, 3, 6)
    assert (first.id, second.id, first.tokens, second.tokens) == (0, 1, (), ())
    assert [word.speaker for word in (*(first.words or ()), *(second.words or ()))] == [ANN] * 3 + [BOB] * 3


def test_a_segment_of_one_speaker_keeps_all_that_it_had() -> None:
    segment = spoken(0, 2, "one two")
    (same,) = assign_speakers([segment], [Turn(0, 9, 0)])
    assert replace(same, speaker=None, words=segment.words) == segment
    assert same.speaker == ANN


def test_the_ids_of_new_segments_can_be_chosen() -> None:
    segments = [spoken(0, 2, "one two", 3), spoken(2, 4, "three four", 8)]
    turns = [Turn(0, 1, 0), Turn(1, 3, 1), Turn(3, 4, 0)]
    assert [segment.id for segment in assign_speakers(segments, turns)] == [3, 9, 8, 10]
    assert [segment.id for segment in assign_speakers(segments, turns, next_id=20)] == [3, 20, 8, 21]


def test_without_turns_nothing_changes() -> None:
    segments = (spoken(0, 2, "one two"),)
    assert assign_speakers(segments, []) == segments


def test_speakers_are_numbered_as_they_are_first_heard() -> None:
    assert speaker_ids([Turn(5, 6, 2), Turn(1, 2, 9), Turn(0, 1, 4), Turn(7, 8, 9)]) == {4: "S1", 9: "S2", 2: "S3"}


def test_a_word_belongs_to_whom_it_overlaps_most() -> None:
    segment = spoken(0, 1, "hello")
    turns = [Turn(0, 0.3, 0), Turn(0.3, 0.6, 1), Turn(0.7, 1.0, 1), Turn(0, 0.45, 2)]
    assert said(*assign_speakers([segment], turns)) == [("S3", "hello")]


def test_a_word_in_nobodys_turn_goes_to_the_nearest_edge_and_not_to_the_nearest_middle() -> None:
    word = spoken(61, 61.4, "so")
    assert said(*assign_speakers([word], [Turn(0, 60, 0), Turn(63, 64, 1)])) == [(ANN, "so")]
    assert said(*assign_speakers([word], [Turn(0, 60, 0), Turn(62, 200, 1)])) == [(BOB, "so")]
    assert said(*assign_speakers([word], [Turn(0, 30, 0), Turn(10, 20, 1), Turn(99, 100, 2)])) == [(ANN, "so")]


def test_a_word_without_length_is_said_by_whoever_speaks_then() -> None:
    assert said(*assign_speakers([spoken(5, 5, "so")], [Turn(0, 4, 0), Turn(4, 9, 1)])) == [(BOB, "so")]


@pytest.mark.parametrize(
    ("is_first", "speaker"), [(True, BOB), (False, ANN)], ids=["before its first word", "after another one"]
)
def test_a_word_that_is_stretched_over_a_silence_counts_with_the_end_that_is_spoken(
    is_first: bool, speaker: str
) -> None:
    """Nine seconds, of which Ann speaks before the silence and Bob after it, and Bob for longer."""
    words = [Word(" well", 1.0, 10.0, 0.9)]
    if not is_first:
        words.insert(0, Word(" and", 0.5, 1.0, 0.9))
    segment = replace(segment_of(0, words[0].start, 10, "".join(word.word for word in words)), words=tuple(words))
    last = assign_speakers([segment], [Turn(0, 2.0, 0), Turn(5.0, 12.0, 1)])[-1]
    assert (last.speaker, last.text.endswith("well")) == (speaker, True)


ISLAND = (" one two three", " oh", " four five six")


def island(pause_s: float = 0.0, words: tuple[str, str, str] = ISLAND, seconds: float = 1.0) -> Said:
    """What Ann says, with a piece in its middle that a turn of Bob's covers."""
    middle = 3.0 + pause_s
    end = middle + seconds
    parts = [
        *words_of(0, 3, words[0]),
        *words_of(middle, end, words[1]),
        *words_of(end, end + 3, words[2]),
    ]
    segment = replace(segment_of(0, 0, end + 3, "".join(words)), words=tuple(parts))
    return said(*assign_speakers([segment], [Turn(0, 3, 0), Turn(middle, end, 1), Turn(end, end + 3, 0)]))


def test_a_word_in_the_middle_of_somebodys_speech_stays_his() -> None:
    assert island() == [(ANN, "one two three oh four five six")]


@pytest.mark.parametrize(
    "kept",
    [
        island(pause_s=0.4),
        island(seconds=1.6),
        island(words=(" one two three", " oh I do see", " four five six")),
        island(words=(" one two", " oh", " four five six")),
        island(words=(" one two three", " oh", " four five")),
    ],
    ids=["after a pause", "longer", "more words", "too little before it", "too little after it"],
)
def test_what_is_more_than_a_slip_keeps_its_speaker(kept: Said) -> None:
    assert [speaker for speaker, _ in kept] == [ANN, BOB, ANN]


def test_without_word_times_a_sentence_stays_whole() -> None:
    segment = segment_of(0, 0, 10, " I think so, and you do, too.")
    assert said(*assign_speakers([segment], [Turn(0, 6, 0), Turn(6, 10, 1)])) == [(ANN, "I think so, and you do, too.")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Are you there? Yes, I am.", [(ANN, "Are you there?"), (BOB, "Yes, I am.")]),
        ("你在吗？我在这里。", [(ANN, "你在吗？"), (BOB, "我在这里。")]),
    ],
)
def test_without_word_times_sentences_are_told_apart_by_their_lengths(text: str, expected: Said) -> None:
    first, second = assign_speakers([segment_of(0, 0, 10, text)], [Turn(0, 5, 0), Turn(5, 10, 1)])
    assert said(first, second) == expected
    assert first.start == 0 < first.end == second.start < second.end == 10


def test_words_and_whole_segments_can_be_mixed() -> None:
    segments = [spoken(0, 2, "one two"), segment_of(1, 2, 4, " three"), spoken(4, 6, "four five", 2)]
    turns = [Turn(0, 3.5, 0), Turn(3.5, 6, 1)]
    assert said(*assign_speakers(segments, turns)) == [(ANN, "one two"), (ANN, "three"), (BOB, "four five")]


def test_a_transcript_gets_its_speakers_without_names() -> None:
    transcript = Transcript(" one two", "en", (spoken(0, 2, "one two"),))
    told = with_speakers(transcript, [Turn(0, 1, 0), Turn(1, 2, 1)])
    assert (told.text, told.speakers) == (transcript.text, {ANN: None, BOB: None})
    assert Transcript.from_dict(told.to_dict()) == told
    assert [fields["speaker"] for fields in told.to_dict()["segments"]] == [ANN, BOB]


times = st.floats(0, 60, allow_nan=False)
texts = st.text(alphabet="ab .?!\u3002\u4f60\n", max_size=30)


@st.composite
def any_segments(draw: st.DrawFn) -> list[Segment]:
    """Also with words that are not those of the text, as after an edit."""
    segments = []
    for number in range(draw(st.integers(0, 5))):
        start, end = sorted((draw(times), draw(times)))
        segment = segment_of(number, start, end, draw(texts))
        if draw(st.booleans()):
            words = draw(st.one_of(texts.map(str.split), st.just(segment.text.split()), st.just([])))
            timed = [sorted((draw(times), draw(times))) for _ in words]
            said_then = zip(words, timed, strict=True)
            segment = replace(
                segment, words=tuple(Word(f" {word}", first, last, 0.9) for word, (first, last) in said_then)
            )
        segments.append(segment)
    return segments


any_turns = st.lists(
    st.builds(lambda start, length, who: Turn(start, start + length, who), times, st.floats(0, 9), st.integers(0, 3)),
    max_size=8,
)


@budget(100)
@given(segments=any_segments(), turns=any_turns)
def test_no_text_and_no_word_is_lost_and_the_order_stays(segments: list[Segment], turns: list[Turn]) -> None:
    told = assign_speakers(segments, turns)
    assert "".join(segment.text for segment in told) == "".join(segment.text for segment in segments)
    assert [replace(word, speaker=None) for segment in told for word in segment.words or ()] == [
        word for segment in segments for word in segment.words or ()
    ]
    ids = [segment.id for segment in told]
    assert len(set(ids)) == len(ids)
    assert [number for number in ids if number < len(segments)] == list(range(len(segments)))
    known: set[str | None] = {*speaker_ids(turns).values()} or {None}
    assert {segment.speaker for segment in told} <= known
    for segment in told:
        assert {word.speaker for word in segment.words or ()} <= {segment.speaker}


@budget(60)
@given(start=times, length=st.floats(0, 1), turns=any_turns)
def test_one_word_is_given_to_the_speaker_that_a_search_of_all_turns_finds(
    start: float, length: float, turns: list[Turn]
) -> None:
    if not turns:
        return
    end, ids = start + length, speaker_ids(turns)
    (told,) = assign_speakers([replace(segment_of(0, start, end, " so"), words=(Word(" so", start, end, 0.9),))], turns)
    shared = dict.fromkeys(ids.values(), 0.0)
    distance = dict.fromkeys(ids.values(), 1e9)
    for turn in turns:
        who = ids[turn.speaker]
        shared[who] += max(0.0, min(end, turn.end) - max(start, turn.start))
        distance[who] = min(distance[who], max(turn.start - end, start - turn.end, 0.0))
    assert told.speaker is not None
    if max(shared.values()) > 0:
        assert shared[told.speaker] == pytest.approx(max(shared.values()))
    else:
        assert distance[told.speaker] == min(distance.values())
