"""What each edit does, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from errors import InvalidOptionError
from tests.whisper_core.editing.texts import assert_sound, ids_of, said, segment, text_of
from whisper_core.editing.apply import apply
from whisper_core.editing.edited_transcript import MAX_SEGMENT_CHARACTERS, EditedTranscript
from whisper_core.editing.edits import (
    Delete,
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
from whisper_core.editing.speakers import assigned_by
from whisper_core.editing.steps import take_step
from whisper_core.text.speaker_words import assign_speakers
from whisper_core.text.transcript import Transcript, Word
from whisper_core.text.turns import Turn


@pytest.fixture
def talk() -> EditedTranscript:
    return text_of(
        segment(0, 0, 4, " Hello teh world."), segment(1, 4, 8, " How are you?"), segment(2, 10, 12, " I am fine.")
    )


@pytest.fixture
def words() -> EditedTranscript:
    return text_of(segment(0, 0, 4, " one two three four", has_words=True), segment(1, 4, 8, " five", has_words=True))


def edited(text: EditedTranscript, *edits: Edit) -> EditedTranscript:
    text = take_step(text, edits).text
    assert_sound(text)
    return text


def times(text: EditedTranscript) -> list[tuple[float, float]]:
    return [(each.start, each.end) for each in text.segments]


def test_a_text_keeps_the_space_that_its_segment_begins_with(talk: EditedTranscript) -> None:
    assert said(edited(talk, SetText(0, "Hello, world!  ")))[0] == " Hello, world!"
    chinese = text_of(segment(0, 0, 2, "今天很好"))
    assert said(edited(chinese, SetText(0, " 今天")))[0] == "今天"


def test_what_a_person_wrote_is_certain(talk: EditedTranscript) -> None:
    first, second, _ = edited(talk, SetText(0, "Hello the world.")).segments
    assert (first.avg_logprob, first.no_speech_prob, first.tokens) == (0.0, 0.0, ())
    assert second is talk.segments[1]


def test_replacing_says_nothing_of_the_rest_of_a_segment(talk: EditedTranscript) -> None:
    first, *others = edited(talk, Replace("TEH", "the")).segments
    assert (first.text, first.avg_logprob) == (" Hello the world.", talk.segments[0].avg_logprob)
    assert others == list(talk.segments[1:])


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Replace("o", "0"), [" Hell0 teh w0rld.", " H0w are y0u?", " I am fine."]),
        (Replace("h", "J", case=True), [" Hello teJ world.", " How are you?", " I am fine."]),
        (Replace("are", "is", whole_words=True), [" Hello teh world.", " How is you?", " I am fine."]),
        (Replace("ell", "i", whole_words=True), [" Hello teh world.", " How are you?", " I am fine."]),
        (Replace(".", "!", segments=(2,)), [" Hello teh world.", " How are you?", " I am fine!"]),
        (Replace("I am fine.", "\\1"), [" Hello teh world.", " How are you?", " \\1"]),
    ],
)
def test_replacing(talk: EditedTranscript, edit: Replace, expected: list[str]) -> None:
    assert said(edited(talk, edit)) == expected


def test_an_edit_that_changes_nothing_gives_the_same_text(talk: EditedTranscript) -> None:
    for edit in (
        SetText(0, "Hello teh world."),
        SetTimes(0, 0, 4),
        Shift(0),
        Replace("x", "y"),
        SetSpeaker((0,), None),
    ):
        assert apply(talk, edit) is talk


def test_times_are_set_between_the_neighbours(talk: EditedTranscript) -> None:
    assert times(edited(talk, SetTimes(1, 3.5, 9)))[1] == (3.5, 9)
    assert times(edited(talk, SetTimes(2, 10, 60.5)))[2] == (10, 60)  # the player's length is not exact


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (SetTimes(1, 11, 12), "start"),
        (SetTimes(2, 3, 12), "start"),
        (SetTimes(0, -1, 3), "start"),
        (SetTimes(0, float("nan"), 3), "start"),
        (SetTimes(0, 2, 2), "end"),
        (SetTimes(2, 10, 62), "end"),
        (SetTimes(7, 0, 1), "segment"),
        (SetText(7, ""), "segment"),
        (SetText(0, "a\0b"), "text"),
        (SetText(0, "\ud800"), "text"),
        (SetText(0, "x" * (MAX_SEGMENT_CHARACTERS + 1)), "text"),
        (Replace("e", "x" * MAX_SEGMENT_CHARACTERS), "replace"),
        (Replace("", "x"), "find"),
        (Split(0, 0), "at_char"),
        (Split(0, 1), "at_char"),
        (Split(0, 17), "at_char"),
        (Split(0, -3), "at_char"),
        (Merge((0,)), "segments"),
        (Merge((0, 2)), "segments"),
        (Delete((0, 9)), "segments"),
        (Insert(9, 1, 2, "x"), "after"),
        (Insert(0, 9, 12, "x"), "start"),
        (Insert(2, 11, 12, "  "), "text"),
        (Shift(float("inf")), "seconds"),
        (SetSpeaker((0,), "Ann"), "speaker"),
        (NameSpeaker("S1", "Ann"), "speaker"),
        (MergeSpeakers("S1", "S2"), "from"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(talk: EditedTranscript, edit: Edit, field: str) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        take_step(talk, [SetText(1, "first"), edit])
    assert refused.value.field == f"edits.1.{field}"


def test_a_segment_is_split_in_proportion_and_merged_again(talk: EditedTranscript) -> None:
    split = edited(talk, Split(0, 6))
    assert said(split)[:2] == [" Hello", " teh world."]
    assert times(split)[:2] == [(0, 1.412), (1.412, 4)]
    assert ids_of(split) == [0, 3, 1, 2]
    merged = edited(split, Merge((0, 3)))
    assert (said(merged), times(merged), ids_of(merged)) == (said(talk), times(talk), [0, 1, 2])


def test_a_word_can_be_split(words: EditedTranscript) -> None:
    split = edited(words, Split(0, 11))  # th|ree
    assert said(split)[:2] == [" one two th", "ree four"]
    first, second, _ = split.segments
    assert [word.word for word in (*(first.words or ()), *(second.words or ()))] == [
        " one",
        " two",
        " th",
        "ree",
        " four",
    ]
    assert first.end == second.start


@pytest.mark.parametrize("at_char", [2, 3, 4, 5, 6])
def test_words_that_overlap_stay_in_order_where_they_are_cut(at_char: int) -> None:
    overlapping = (Word(" one", 0, 3, 0.5), Word(" two", 1, 2, 0.5))
    parts = edited(text_of(replace(segment(0, 0, 4, " one two"), words=overlapping)), Split(0, at_char)).segments
    starts = [word.start for part in parts for word in part.words or ()]
    assert starts == sorted(starts)


def test_merged_segments_are_as_doubtful_as_the_more_doubtful(talk: EditedTranscript) -> None:
    text = edited(talk, SetText(0, "Hello the world."), Merge((0, 1, 2)))
    (whole,) = text.segments
    assert (whole.text, whole.start, whole.end) == (" Hello the world. How are you? I am fine.", 0, 12)
    assert (whole.avg_logprob, whole.no_speech_prob) == (-0.5, 0.1)


def test_scripts_without_spaces_are_joined_without_one() -> None:
    chinese = text_of(segment(0, 0, 2, "今天"), segment(1, 2, 4, "很好。"), segment(2, 4, 5, "OK"))
    assert said(edited(chinese, Merge((0, 1)), Merge((0, 2)))) == ["今天很好。 OK"]


def test_a_segment_is_inserted_in_any_place(talk: EditedTranscript) -> None:
    text = edited(talk, Insert(1, 8, 9.5, "Well."), Insert(None, 0, 0.5, "Oh."))
    assert said(text) == [" Oh.", " Hello teh world.", " How are you?", " Well.", " I am fine."]
    assert ids_of(text) == [4, 0, 1, 3, 2]
    assert said(edited(text_of(), Insert(None, 0, 1, "Alone."))) == [" Alone."]


def test_shifting_stays_in_the_recording(talk: EditedTranscript) -> None:
    assert times(edited(talk, Shift(1.5))) == [(1.5, 5.5), (5.5, 9.5), (11.5, 13.5)]
    assert times(edited(talk, Shift(-5))) == [(0, 0), (0, 3), (5, 7)]
    assert times(edited(talk, Shift(49))) == [(49, 53), (53, 57), (59, 60)]


def test_later_edits_of_a_step_name_what_earlier_ones_made(talk: EditedTranscript) -> None:
    step = take_step(talk, [Split(0, 6, -1), SetText(-1, "the world."), Split(-1, 4, -7), SetSpeaker((-7,), "S1")])
    assert said(step.text)[:3] == [" Hello", " the", " world."]
    assert step.made == {-1: 3, -7: 4}
    assert [each.speaker for each in step.text.segments] == [None, None, "S1", None, None]


def test_words_keep_their_times_where_they_are_said_as_before(words: EditedTranscript) -> None:
    before = words.segments[0].words or ()
    after = edited(words, SetText(0, "One, two and three 4")).segments[0].words or ()
    kept = [(word.word, word.start, word.end) for word in after if word.word != " and"]
    assert kept == [
        (new, word.start, word.end) for new, word in zip([" One,", " two", " three", " 4"], before, strict=True)
    ]
    assert after[2].word == " and"
    assert before[1].end <= after[2].start <= after[2].end <= before[2].start
    assert [word.probability for word in after] == [1.0] * 5


def test_a_words_probability_stays_with_it() -> None:
    doubtful = (Word(" one", 0, 1, 0.3), Word(" two", 1, 2, 0.4))
    text = text_of(replace(segment(0, 0, 2, " one two"), words=doubtful))
    after = edited(text, SetText(0, "one too")).segments[0].words
    assert after == (Word(" one", 0, 1, 0.3), Word(" too", 1, 2, 1.0))


def test_words_stay_when_a_border_moves_and_go_with_a_segment_that_moves(
    words: EditedTranscript,
) -> None:
    before = words.segments[1].words or ()
    assert edited(words, SetTimes(1, 3, 9)).segments[1].words == before
    moved = edited(words, SetTimes(1, 5, 9)).segments[1].words or ()
    assert [(word.start, word.end) for word in moved] == [(word.start + 1, word.end + 1) for word in before]


def test_speakers_are_named_reassigned_and_merged(talk: EditedTranscript) -> None:
    text = edited(talk, SetSpeaker((0, 2), "S1"), SetSpeaker((1,), "S2"), NameSpeaker("S2", " Ann "))
    assert text.speakers == {"S1": None, "S2": "Ann"}
    text = edited(text, MergeSpeakers("S2", "S1"))
    assert (text.speakers, [each.speaker for each in text.segments]) == ({"S1": "Ann"}, ["S1"] * 3)
    assert edited(text, SetSpeaker((0,), None), NameSpeaker("S1", "")).speakers == {"S1": None}


def test_what_was_found_of_speakers_cuts_segments_and_keeps_names(words: EditedTranscript) -> None:
    def found(text: EditedTranscript, *turns: Turn) -> EditedTranscript:
        return edited(text, assigned_by(text, assign_speakers(text.segments, turns)))

    text = found(words, Turn(0, 2, 0), Turn(2, 8, 1))
    assert [(each.id, each.text, each.speaker) for each in text.segments] == [
        (0, " one two", "S1"),
        (2, " three four", "S2"),
        (1, " five", "S2"),
    ]
    text = edited(text, NameSpeaker("S2", "Bob"))
    again = found(text, Turn(0, 2, 5), Turn(2, 4, 7), Turn(4, 8, 8))
    assert [each.speaker for each in again.segments] == ["S1", "S2", "S3"] or [
        each.speaker for each in again.segments
    ] == ["S1", "S3", "S2"]
    assert sum(name == "Bob" for name in again.speakers.values()) == 1
    assert ids_of(again) == [0, 2, 1]


def test_segments_that_are_done_again_go_where_they_are_heard_and_keep_their_speaker(talk: EditedTranscript) -> None:
    text = edited(talk, SetSpeaker((1,), "S1"))
    new = (segment(0, 4, 6, " How are"), segment(1, 6, 8, " you all?"))
    text = edited(text, Retranscribe((1,), new, "large-v3"))
    assert said(text) == [" Hello teh world.", " How are", " you all?", " I am fine."]
    assert ids_of(text) == [0, 3, 4, 2]
    assert [each.speaker for each in text.segments] == [None, "S1", "S1", None]


def test_the_original_is_taken_inside_its_recording() -> None:
    late = segment(0, 1, 3, " late")
    assert EditedTranscript.of(Transcript(" late", "en", (late,)), 2.0).segments[0].end == 2.0
