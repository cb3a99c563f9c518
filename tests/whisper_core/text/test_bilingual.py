"""The original with its translation: which of it is shown together, and that no word of either is lost."""

from __future__ import annotations

import io
from dataclasses import replace

import pysubs2
import pytest
from docx import Document
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidOptionError
from tests.properties import budget
from tests.whisper_core.text.test_writers import read_srt, segment_of
from whisper_core.text.cues import cues_of
from whisper_core.text.formats import FORMATS, render_transcript
from whisper_core.text.transcript import Transcript, Word
from whisper_core.text.writer_options import PLAIN, WriterOptions

Timed = tuple[float, float, str]


def talk_of(language: str, *passages: Timed, with_words: bool = False) -> Transcript:
    """With words: each takes the same part of its segment's time."""
    segments = [segment_of(i, start, end, f" {text}") for i, (start, end, text) in enumerate(passages)]
    if with_words:
        segments = [replace(each, words=words_of(each.start, each.end, each.text)) for each in segments]
    return Transcript("".join(each.text for each in segments), language, tuple(segments))


def words_of(start: float, end: float, text: str) -> tuple[Word, ...]:
    texts = text.split()
    step = (end - start) / len(texts)
    return tuple(Word(f" {word}", start + i * step, start + (i + 1) * step, 0.9) for i, word in enumerate(texts))


GERMAN: tuple[Timed, ...] = ((0.0, 2.0, "eins zwei"), (2.0, 4.0, "drei vier"), (9.0, 10.0, "neun"))
ENGLISH: tuple[Timed, ...] = ((0.0, 4.0, "one to four"), (5.0, 6.0, "six"), (9.25, 10.5, "nine"))
BOTH = talk_of("de", *GERMAN), talk_of("de", *ENGLISH)


def rendered(
    format: str, options: WriterOptions = PLAIN, talks: tuple[Transcript, Transcript] = BOTH, **more: str
) -> bytes:
    return render_transcript(talks[0], format, options, translation=talks[1], title=more.get("title"))


def test_a_translation_stays_in_view_and_one_without_an_original_has_a_cue() -> None:
    assert rendered("vtt").decode() == (
        "WEBVTT\n\n"
        "00:00.000 --> 00:02.000\neins zwei\none to four\n\n"
        "00:02.000 --> 00:04.000\ndrei vier\none to four\n\n"
        "00:05.000 --> 00:06.000\nsix\n\n"
        "00:09.000 --> 00:10.000\nneun\nnine\n\n"
    )


def test_what_overlaps_a_cue_a_little_is_not_shown_with_it() -> None:
    talks = talk_of("de", (0.0, 4.0, "a"), (4.0, 8.0, "b")), talk_of("de", (0.0, 4.5, "A"), (4.5, 8.0, "B"))
    assert read_srt(rendered("srt", talks=talks).decode()) == ["a\nA", "b\nB"]


def test_lines_break_in_both_texts_and_words_are_marked_in_the_original() -> None:
    talks = talk_of("de", *GERMAN[:2], with_words=True), BOTH[1]
    cut = rendered("srt", WriterOptions(max_line_width=7, max_line_count=1, highlight_words=True), talks).decode()
    assert read_srt(cut)[:2] == ["<u>eins</u>\none to\nfour", "<u>zwei</u>\none to\nfour"]


def test_a_translation_with_words_is_cut_as_the_original_is() -> None:
    talks = (
        talk_of("de", *GERMAN[:2], with_words=True),
        talk_of("de", (0.0, 4.0, "one two three four"), with_words=True),
    )
    assert read_srt(rendered("srt", WriterOptions(max_words_per_line=1), talks).decode()) == [
        "eins\none", "zwei\ntwo", "drei\nthree", "vier\nfour",
    ]  # fmt: skip


def test_options_that_the_original_has_no_words_for_are_refused() -> None:
    talks = BOTH[0], talk_of("de", *ENGLISH, with_words=True)
    with pytest.raises(InvalidOptionError) as refusal:
        rendered("srt", WriterOptions(highlight_words=True), talks)
    assert refusal.value.field == "highlight_words"


def test_players_formats_have_both_texts() -> None:
    file = pysubs2.SSAFile.from_string(rendered("ass").decode(), format_="ass")
    assert [(event.start, event.plaintext) for event in file] == [
        (0, "eins zwei\none to four"), (2000, "drei vier\none to four"), (5000, "six"), (9000, "neun\nnine"),
    ]  # fmt: skip
    assert rendered("lrc").decode().startswith("[00:00.00]eins zwei\n[00:00.00]one to four\n[00:02.00]drei vier\n")
    talks = talk_of("de", *GERMAN[:1], with_words=True), BOTH[1]
    marked = rendered("lrc", WriterOptions(highlight_words=True), talks).decode()
    assert marked.startswith("[00:00.00]<00:00.00>eins <00:01.00>zwei\n[00:00.00]one to four\n")


def test_each_paragraph_is_followed_by_its_translation() -> None:
    assert rendered("md", title="talk").decode() == (
        "# talk\n\n**0:00:00** eins zwei drei vier\n\n> one to four six\n\n**0:00:09** neun\n\n> nine\n"
    )
    assert rendered("paragraphs").decode() == "eins zwei drei vier\n\none to four six\n\nneun\n\nnine\n"


def test_a_document_has_the_translation_in_its_own_language() -> None:
    document = Document(io.BytesIO(rendered("docx")))
    assert [(p.style and p.style.name, p.text) for p in document.paragraphs] == [
        ("Normal", "0:00:00 eins zwei drei vier"), ("Quote", "one to four six"), ("Normal", "0:00:09 neun"),
        ("Quote", "nine"),
    ]  # fmt: skip
    languages = [paragraph.runs[-1]._r.xpath(".//w:lang/@w:val") for paragraph in document.paragraphs]
    assert languages == [["de"], ["en"], ["de"], ["en"]]


@pytest.mark.parametrize("format", [name for name, described in FORMATS.items() if described.can_be_bilingual])
@pytest.mark.parametrize("silent", [0, 1])
def test_where_one_text_is_empty_the_other_is_written(format: str, silent: int) -> None:
    empty = Transcript("", "de", ())
    talks = (empty, BOTH[1]) if silent == 0 else (BOTH[0], empty)
    alone = render_transcript(talks[1 - silent], format)
    if format == "docx":
        texts = [
            [p.text for p in Document(io.BytesIO(file)).paragraphs] for file in (rendered(format, talks=talks), alone)
        ]
        assert texts[0] == texts[1] != []
    else:
        assert rendered(format, talks=talks) == alone


@pytest.mark.parametrize("format", [name for name, described in FORMATS.items() if not described.can_be_bilingual])
def test_other_formats_have_no_room_for_a_translation(format: str) -> None:
    with pytest.raises(InvalidOptionError, match="srt") as refusal:
        rendered(format)
    assert refusal.value.field == "format"


TIMES = st.tuples(st.floats(0, 100), st.floats(0, 20)).map(lambda each: (each[0], sum(each)))


def talks(prefix: str) -> st.SearchStrategy[Transcript]:
    def numbered(times: list[tuple[float, float]]) -> Transcript:
        return talk_of("de", *((start, end, f"{prefix}{i}") for i, (start, end) in enumerate(times)))

    return st.lists(TIMES, max_size=6).map(numbered)


@budget(50)
@given(talks("o"), talks("t"))
def test_whatever_the_times_nothing_is_lost(original: Transcript, translation: Transcript) -> None:
    spoken = {segment.text.strip() for segment in (*original.segments, *translation.segments)}
    file = pysubs2.SSAFile.from_string(rendered("srt", talks=(original, translation)).decode(), format_="srt")
    assert {word for event in file for word in event.plaintext.split()} == spoken
    assert [event.start for event in file] == sorted(event.start for event in file)
    shown = sorted((event.start, event.end) for event in file if event.plaintext.startswith("o"))
    assert shown == sorted((round(cue.start * 1000), round(cue.end * 1000)) for cue in cues_of(original))

    words = rendered("paragraphs", talks=(original, translation)).decode().split()
    assert sorted(words) == sorted(segment.text.strip() for segment in (*original.segments, *translation.segments))
