"""Who speaks, in every format: said once where it is read, and never as markup."""

from __future__ import annotations

import io
import json

import pysubs2
import pytest
import webvtt
from docx import Document
from hypothesis import given
from markdown_it import MarkdownIt

from optimizer.views.rendering import render_transcript as render_task
from tests.properties import budget
from tests.whisper_core.text.test_bilingual import words_of
from tests.whisper_core.text.test_formats import HOSTILE
from tests.whisper_core.text.test_writers import read_srt, segment_of
from whisper_core.text.cues import cues_of
from whisper_core.text.formats import FORMATS, render_transcript
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import PLAIN, WriterOptions

LINES = (
    (0.0, 1.0, " Are you there?", "S1"),
    (1.0, 2.0, " I am.", "S2"),
    (2.0, 3.0, " Always.", "S2"),
    (3.0, 4.0, " Good to know.", "S1"),
)
WITHOUT = WriterOptions(without_speakers=True)


def talk(*, with_words: bool = False, name: str | None = "Ann") -> Transcript:
    segments = []
    for number, (start, end, text, speaker) in enumerate(LINES):
        words = words_of(start, end, text) if with_words else None
        segments.append(segment_of(number, start, end, text, words).said_by(speaker))
    text = "".join(text for _, _, text, _ in LINES)
    return Transcript(text, "en", tuple(segments), speakers={"S1": name, "S2": None})


def rendered(format: str, transcript: Transcript | None = None, options: WriterOptions = PLAIN) -> str:
    return render_transcript(transcript or talk(), format, options).decode()


@pytest.mark.parametrize("with_words", [False, True])
def test_subtitles_name_a_speaker_where_he_begins(with_words: bool) -> None:
    cues = read_srt(rendered("srt", talk(with_words=with_words)))
    assert cues == ["Ann: Are you there?", "Speaker 2: I am.", "Always.", "Ann: Good to know."]


def test_a_line_for_each_segment_names_a_speaker_where_he_begins() -> None:
    assert rendered("txt").splitlines() == [
        "Ann: Are you there?",
        "Speaker 2: I am.",
        "Always.",
        "Ann: Good to know.",
    ]
    assert rendered("lrc").splitlines()[:3] == [
        "[00:00.00]Ann: Are you there?",
        "[00:01.00]Speaker 2: I am.",
        "[00:02.00]Always.",
    ]


def test_vtt_has_a_voice_in_every_cue() -> None:
    captions = webvtt.from_string(rendered("vtt"))
    assert [(each.voice, each.text) for each in captions.captions] == [
        ("Ann", "Are you there?"),
        ("Speaker 2", "I am."),
        ("Speaker 2", "Always."),
        ("Ann", "Good to know."),
    ]


def test_a_table_has_a_column_more() -> None:
    rows = [line.split("\t") for line in rendered("tsv").splitlines()]
    assert rows[0] == ["start", "end", "text", "speaker"]
    assert [row[3] for row in rows[1:]] == ["Ann", "Speaker 2", "Speaker 2", "Ann"]


def test_ass_has_the_name_for_editors_too() -> None:
    file = pysubs2.SSAFile.from_string(rendered("ass", talk(name="Ann, the first")), format_="ass")
    assert [event.name for event in file] == ["Ann\uff0c the first", "Speaker 2", "Speaker 2", "Ann\uff0c the first"]
    assert [event.text for event in file][:3] == ["Ann, the first: Are you there?", "Speaker 2: I am.", "Always."]


def test_a_new_speaker_starts_a_paragraph() -> None:
    assert rendered("paragraphs") == "Ann: Are you there?\n\nSpeaker 2: I am. Always.\n\nAnn: Good to know.\n"
    assert rendered("md").splitlines()[0] == "**0:00:00** **Ann:** Are you there?"
    document = Document(io.BytesIO(render_transcript(talk(), "docx")))
    assert [paragraph.text for paragraph in document.paragraphs] == [
        "0:00:00 Ann: Are you there?",
        "0:00:01 Speaker 2: I am. Always.",
        "0:00:03 Ann: Good to know.",
    ]


def test_json_has_ids_and_their_names() -> None:
    for body in (json.loads(rendered("json")), json.loads(render_task(talk(), "json"))):
        assert body["speakers"] == {"S1": "Ann", "S2": None}
        assert [segment["speaker"] for segment in body["segments"]] == ["S1", "S2", "S2", "S1"]


def test_whisperx_has_its_own_names_for_those_without_one() -> None:
    body = json.loads(rendered("whisperx", talk(with_words=True)))
    assert [segment["speaker"] for segment in body["segments"]] == ["Ann", "SPEAKER_01", "SPEAKER_01", "Ann"]
    assert [word["speaker"] for word in body["word_segments"][:4]] == ["Ann", "Ann", "Ann", "SPEAKER_01"]


@pytest.mark.parametrize("format", FORMATS)
def test_speakers_can_be_left_out(format: str) -> None:
    silent = talk(with_words=True).without_speakers()
    if format == "docx":
        read = [
            [paragraph.text for paragraph in Document(io.BytesIO(render_transcript(each, "docx", options))).paragraphs]
            for each, options in ((silent, PLAIN), (talk(with_words=True), WITHOUT))
        ]
        assert read[0] == read[1]
        return
    assert rendered(format, talk(with_words=True), WITHOUT) == rendered(format, silent)
    assert rendered(format, talk(with_words=True)) != rendered(format, silent)
    assert render_task(talk(with_words=True), "json", WITHOUT) == render_task(silent, "json")


def test_a_cue_that_runs_over_segments_ends_with_its_speaker_and_has_room_for_the_name() -> None:
    options = WriterOptions(max_line_width=16, max_line_count=2)
    texts = [cue.labelled().text() for cue in cues_of(talk(with_words=True), options)]
    assert texts == ["Ann: Are you\nthere?", "Speaker 2: I am.\nAlways.", "Ann: Good to\nknow."]
    assert max(len(line) for text in texts for line in text.splitlines()) <= 16


def test_a_highlighted_word_is_marked_behind_the_name() -> None:
    cues = read_srt(rendered("srt", talk(with_words=True), WriterOptions(highlight_words=True)))
    assert cues[:2] == ["Ann: <u>Are</u> you there?", "Ann: Are <u>you</u> there?"]


def test_a_bilingual_file_has_the_speakers_of_the_original() -> None:
    german = [segment_of(i, start, end, " ja") for i, (start, end, *_) in enumerate(LINES)]
    translation = Transcript(" ja" * 4, "de", tuple(each.said_by("S1") for each in german), speakers={"S1": "X"})
    body = render_transcript(talk(), "srt", translation=translation).decode()
    assert read_srt(body) == [
        "Ann: Are you there?\nja",
        "Speaker 2: I am.\nja",
        "Always.\nja",
        "Ann: Good to know.\nja",
    ]


@budget(40)
@given(name=HOSTILE)
def test_no_name_becomes_markup(name: str) -> None:
    named = talk(name=name)
    assert len(read_srt(rendered("srt", named))) == len(LINES)
    assert [each.text for each in webvtt.from_string(rendered("vtt", named)).captions] == [
        text.strip() for _, _, text, _ in LINES
    ]
    assert all(len(line.split("\t")) == 4 for line in rendered("tsv", named).splitlines())
    file = pysubs2.SSAFile.from_string(rendered("ass", named), format_="ass")
    assert [event.text for event in file][1:3] == ["Speaker 2: I am.", "Always."]
    assert "{" not in file[0].text
    assert len(rendered("lrc", named).splitlines()) == len(LINES) + 1
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(rendered("md", named))
    read = {child.type for token in tokens for child in token.children or []}
    assert read <= {"text", "text_special", "strong_open", "strong_close"}
    render_transcript(named, "docx")
    json.loads(rendered("whisperx", named))
