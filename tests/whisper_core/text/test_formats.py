"""The formats that openai-whisper does not have: what they look like, and that no text becomes markup in them."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace

import pysubs2
import pytest
from docx import Document
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from errors import InvalidOptionError
from tests.properties import budget
from tests.whisper_core.text.test_writers import NASTY, segment_of, transcript_of, visible
from whisper_core.text.formats import FORMATS, render_transcript
from whisper_core.text.transcript import Segment, Transcript, Word
from whisper_core.text.writer_options import WriterOptions

WORDS = tuple(Word(f" {word}", i / 2, i / 2 + 0.5, 0.91234) for i, word in enumerate(("one", "two", "three", "four")))
TALK = Transcript(" one two three four", "en", (segment_of(0, 0.0, 2.0, " one two three four", WORDS),))
HOSTILE = NASTY | st.lists(
    st.sampled_from(
        [
            *("{", "}", "\\", "\\N", "{\\u1}", "[00:01.00]", "[ti:x]", "<00:01.00>", "[", "]", ":", "a", " "),
            *("# ", "- ", "1. ", "*", "_", "`", "![a](b)", "<b>", "&lt;", "~~", "|", "---", "===", "\ufffe", "\x1b"),
        ]
    )
).map("".join)


def rendered(transcript: Transcript, format: str, options: WriterOptions | None = None, **more: str) -> str:
    return render_transcript(transcript, format, options or WriterOptions(), title=more.get("title")).decode()


def talk_of(*passages: tuple[float, float, str], language: str = "en") -> Transcript:
    segments = tuple(segment_of(i, *passage) for i, passage in enumerate(passages))
    return Transcript("".join(text for _, _, text in passages), language, segments)


def without_times(text: str) -> list[str]:
    return [word for word in text.split() if not re.fullmatch(r"0:00:0\d", word)]


def test_an_unknown_format_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(InvalidOptionError, match="whisperx") as refusal:
        render_transcript(TALK, "doc")
    assert refusal.value.field == "format"


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_transcript_is_a_valid_file(format: str) -> None:
    assert isinstance(render_transcript(Transcript("", "en", ()), format), bytes)


def test_lrc_has_a_row_for_each_line_and_ends_it_before_a_pause() -> None:
    talk = talk_of((0.0, 1.5, " one"), (1.5, 3.0, " two"), (65.125, 6000.0, " three"))
    assert rendered(talk, "lrc") == ("[00:00.00]one\n[00:01.50]two\n[00:03.00]\n[01:05.12]three\n[100:00.00]\n")
    cut = rendered(TALK, "lrc", WriterOptions(max_line_width=8, max_line_count=1))
    assert cut == "[00:00.00]one two\n[00:01.00]three\n[00:01.50]four\n[00:02.00]\n"


def test_highlighted_words_in_lrc_have_their_time_before_them() -> None:
    assert rendered(TALK, "lrc", WriterOptions(highlight_words=True)).splitlines()[0] == (
        "[00:00.00]<00:00.00>one <00:00.50>two <00:01.00>three <00:01.50>four"
    )


@given(st.lists(HOSTILE, max_size=4))
def test_no_text_becomes_a_time_in_lrc(texts: list[str]) -> None:
    rows = rendered(transcript_of(texts), "lrc").splitlines()
    assert all(row.startswith("[") and row.count("[", 0, 10) == 1 for row in rows)
    spoken = [row.partition("]")[2] for row in rows]
    assert not any(":" in part.partition("]")[0] for text in spoken for part in text.split("[")[1:])
    fullwidth = str.maketrans("\uff3b\uff1c", "[<")
    assert " ".join(spoken).translate(fullwidth).split() == visible(" ".join(texts).translate(fullwidth))


def test_ass_is_what_pysubs2_reads_back() -> None:
    file = pysubs2.SSAFile.from_string(rendered(TALK, "ass", WriterOptions(highlight_words=True)), format_="ass")
    assert [event.text for event in file][:2] == [r"{\u1}one{\u0} two three four", r"one {\u1}two{\u0} three four"]
    assert [(event.start, event.end) for event in file][:2] == [(0, 500), (500, 1000)]
    assert file.styles["Default"].fontsize == 60


def test_a_cue_in_ass_that_comes_too_late_for_the_format_is_kept() -> None:
    file = pysubs2.SSAFile.from_string(rendered(talk_of((40000.0, 40001.0, " late")), "ass"))
    assert [(event.start, event.text) for event in file] == [(35_999_990, "late")]


@given(st.lists(HOSTILE, max_size=4))
def test_no_text_becomes_a_command_in_ass(texts: list[str]) -> None:
    file = pysubs2.SSAFile.from_string(rendered(transcript_of(texts), "ass"), format_="ass")
    spoken = [text for text in texts if visible(text)]
    assert len(file) == len(spoken)
    for event, text in zip(file, spoken, strict=True):
        assert "{" not in event.text
        lines = event.text.replace(r"\N", "\n")
        assert "\\" not in lines.replace("\\\u2060", "")
        expected = text.replace("{", "\uff5b").replace("}", "\uff5d").replace("\\", "\\\u2060")
        assert lines.split() == visible(expected)


def test_a_paragraph_ends_at_a_pause_and_where_it_grows_long() -> None:
    talk = talk_of((0, 1, " One."), (1.5, 2, " Two."), (4, 5, " Three."))
    assert rendered(talk, "paragraphs") == "One. Two.\n\nThree.\n"
    long = [(float(i), i + 1.0, f" {'word ' * 59}end{'.' if i % 2 else ','}") for i in range(4)]
    assert [len(text.split()) for text in rendered(talk_of(*long), "paragraphs").split("\n\n")] == [120, 120]
    endless = [(float(i), i + 1.0, "字" * 150) for i in range(8)]
    assert rendered(talk_of(*endless), "paragraphs").split() == ["字" * 600] * 2


def test_markdown_has_the_name_as_its_heading_and_times() -> None:
    talk = talk_of((3661.9, 3663.0, " It *is* 50 % of [it]."))
    assert rendered(talk, "md", title="talk_1") == "# talk\\_1\n\n**1:01:01** It \\*is\\* 50 % of \\[it\\].\n"


@given(st.lists(HOSTILE, max_size=4), HOSTILE)
def test_no_text_becomes_markup_in_markdown(texts: list[str], title: str) -> None:
    written = rendered(transcript_of(texts), "md", title=title)
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(written)
    assert {token.type.split("_")[0] for token in tokens} <= {"heading", "paragraph", "inline"}
    texts_read = [child for token in tokens for child in token.children or []]
    assert {child.type for child in texts_read} <= {"text", "text_special", "strong_open", "strong_close"}
    read = " ".join("".join(child.content for child in token.children or []) for token in tokens)
    assert without_times(read) == visible(f"{title} {rendered(transcript_of(texts), 'paragraphs')}")


def test_a_document_has_a_heading_times_and_its_language() -> None:
    talk = talk_of((0, 1, " שלום"), (61.0, 62, " two \x0c\uffff"), language="he")
    document = Document(io.BytesIO(render_transcript(talk, "docx", title="a & <b>")))
    assert [paragraph.text for paragraph in document.paragraphs] == ["a & <b>", "0:00:00 שלום", "0:01:01 two \ufffd"]
    assert (document.core_properties.title, document.core_properties.language) == ("a & <b>", "he")
    xml = document.paragraphs[1]._p.xml
    assert "<w:bidi/>" in xml
    assert '<w:lang w:val="he" w:eastAsia="he" w:bidi="he"/>' in xml


@budget(30)
@given(st.lists(HOSTILE, max_size=3), HOSTILE)
def test_every_text_survives_in_a_document(texts: list[str], title: str) -> None:
    document = Document(io.BytesIO(render_transcript(transcript_of(texts), "docx", title=title)))
    read = " ".join(paragraph.text for paragraph in document.paragraphs)
    written = f"{title} {rendered(transcript_of(texts), 'paragraphs')}"
    assert without_times(read) == visible(re.sub("[\ufffe\uffff]", "\ufffd", written))


def test_whisperx_json_has_its_words_twice_and_rounded_scores() -> None:
    written = json.loads(rendered(TALK, "whisperx"))
    first = {"word": "one", "start": 0.0, "end": 0.5, "score": 0.912}
    assert list(written) == ["segments", "word_segments", "language"]
    assert written["segments"][0]["words"][0] == written["word_segments"][0] == first
    assert len(written["word_segments"]) == 4


def test_whisperx_json_without_word_timestamps_has_none_and_no_number_that_json_lacks() -> None:
    assert json.loads(rendered(talk_of((0, 1, " one")), "whisperx")) == {
        "segments": [{"start": 0, "end": 1, "text": " one"}], "language": "en"
    }  # fmt: skip
    odd = replace(TALK.segments[0], words=(Word(" a", 0.0, 1.0, math.nan),))
    assert "NaN" not in rendered(replace(TALK, segments=(odd,)), "whisperx")


@pytest.mark.parametrize(
    "format", [name for name in FORMATS if name not in ("json", "txt", "md", "docx", "paragraphs")]
)
def test_nothing_ends_behind_the_end_of_the_recording(format: str) -> None:
    """Only the json has the model's own times."""
    spoken = Segment(0, 0, 0.0, 13.8, " Okay.", (1,), 0.0, -0.1, 1.0, 0.0)
    text = render_transcript(Transcript(" Okay.", "en", (spoken,)), format, audio_seconds=0.5).decode()
    assert "Okay." in text
    assert "13.8" not in text.replace(",", ".").replace("13800", "13.8")
