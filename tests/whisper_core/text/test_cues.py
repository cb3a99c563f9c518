"""Cues: cut as openai-whisper cuts them, and harmless whatever the text holds."""

from __future__ import annotations

import html
import io
import itertools
import re
from dataclasses import asdict
from typing import Any

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidOptionError
from tests.properties import budget
from tests.whisper_core.text.test_writers import NASTY, TIMING, seconds_of, segment_of, transcript_of
from whisper_core.text.cues import Cue, cues_of
from whisper_core.text.formats import render_transcript
from whisper_core.text.transcript import Segment, Transcript, Word
from whisper_core.text.writer_options import WriterOptions

SPOKEN = (
    " He had then leisure to consider how much there might be prudently in his power to do for them.",
    " No!",
    " Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft, he said (twice).",
    "你好，世界。",
    " And so - after a long pause - it ends.",
)
WIDTHS, COUNTS, WORDS = (None, 1, 16, 42), (None, 1, 2), (None, 1, 4)
OPTIONS = [
    WriterOptions(max_line_width=width, max_line_count=count, max_words_per_line=words, highlight_words=highlight)
    for width, count, words, highlight in itertools.product(WIDTHS, COUNTS, WORDS, (False, True))
]


def spoken_words(text: str, start: float) -> tuple[Word, ...]:
    """A word takes 0.3 s. After a comma there are 0.2 s until the next one, after a dash 4 s."""
    words = []
    for piece in re.findall(r"\s*[^\s\u3000-\u9fff]+|[\u3000-\u9fff][，。]?", text):
        words.append(Word(piece, start, start + 0.3, 0.5))
        start += 0.3 + (0.2 if piece.endswith(",") else 4.0 if piece == " -" else 0.0)
    return tuple(words)


def spoken(texts: tuple[str, ...] = SPOKEN) -> Transcript:
    segments: list[Segment] = []
    for number, text in enumerate(texts):
        start = segments[-1].end + 0.4 if segments else 0.52
        words = spoken_words(text, start)
        segments.append(segment_of(number, start - 0.1, words[-1].end + 0.1, text, words))
    return Transcript("".join(texts), "en", tuple(segments))


def upstream(transcript: Transcript, format: str, options: WriterOptions) -> str:
    from whisper.utils import WriteSRT, WriteVTT

    writer = {"srt": WriteSRT, "vtt": WriteVTT}[format]("")
    file = io.StringIO()
    writer.write_result(transcript.to_dict(), file, asdict(options))
    return file.getvalue()


def written(transcript: Transcript, format: str, options: WriterOptions, **more: Any) -> str:
    return render_transcript(transcript, format, options, **more).decode()


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_every_option_cuts_ordinary_text_as_openai_whisper_does(format: str) -> None:
    transcript = spoken()
    for options in OPTIONS:
        assert written(transcript, format, options) == upstream(transcript, format, options), options


ORDINARY_WORD = st.tuples(
    st.sampled_from(["", " ", " ", " "]),
    st.text(st.sampled_from("abcdeéfghijklmno你好.,'!-"), min_size=1, max_size=12).filter(lambda t: "--" not in t),
    st.integers(0, 900),  # hundredths of a second until it is said, and that it takes
    st.integers(1, 200),
)


@st.composite
def ordinary_transcripts(draw: st.DrawFn) -> Transcript:
    segments, now = [], 0
    for number in range(draw(st.integers(1, 5))):
        words = []
        for blank, text, pause, length in draw(st.lists(ORDINARY_WORD, min_size=1, max_size=12)):
            words.append(Word(blank + text, (now + pause) / 100, (now + pause + length) / 100, 0.9))
            now += pause + length
        text = "".join(word.word for word in words)
        segments.append(segment_of(number, words[0].start, words[-1].end, text, tuple(words)))
    return Transcript("".join(segment.text for segment in segments), "en", tuple(segments))


@budget(60)
@given(ordinary_transcripts(), st.sampled_from(OPTIONS))
def test_any_ordinary_text_is_cut_as_openai_whisper_cuts_it(transcript: Transcript, options: WriterOptions) -> None:
    for format in ("srt", "vtt"):
        assert written(transcript, format, options) == upstream(transcript, format, options)


@pytest.mark.parametrize("format", ["txt", "tsv", "json"])
def test_formats_without_cues_ignore_the_options(format: str) -> None:
    plain, cut = (written(spoken(), format, options) for options in (WriterOptions(), OPTIONS[-1]))
    assert plain == cut


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (WriterOptions(highlight_words=True), "highlight_words"),
        (WriterOptions(max_words_per_line=3), "max_words_per_line"),
        (WriterOptions(max_line_width=42, max_line_count=2), "max_line_count"),
    ],
)
def test_what_needs_words_is_refused_without_them(options: WriterOptions, field: str) -> None:
    with pytest.raises(InvalidOptionError, match="word_timestamps") as refusal:
        render_transcript(transcript_of(SPOKEN), "srt", options)
    assert refusal.value.field == field
    assert render_transcript(Transcript("", "en", ()), "srt", options) == b""  # nothing was said: nothing is missing
    assert render_transcript(transcript_of(SPOKEN), "srt", options.without_words())


def test_lines_are_broken_without_words_and_no_time_changes() -> None:
    transcript = transcript_of(
        (" How much there might be prudently in his power", "  你好，世界。今天天气很好。", " No!")
    )
    plain, broken = list(cues_of(transcript)), list(cues_of(transcript, WriterOptions(max_line_width=7)))
    assert [(cue.start, cue.end) for cue in broken] == [(cue.start, cue.end) for cue in plain]
    assert [cue.text() for cue in broken] == [
        "How\nmuch\nthere\nmight\nbe\nprudently\nin his\npower",
        "你好，世界。今\n天天气很好。",
        "No!",
    ]


@pytest.mark.parametrize("field", ["max_line_width", "max_line_count", "max_words_per_line"])
def test_a_number_below_one_is_refused(field: str) -> None:
    zero: dict[str, Any] = {field: 0}
    with pytest.raises(InvalidOptionError) as refusal:
        WriterOptions(**zero)
    assert refusal.value.field == field


@pytest.mark.parametrize("with_words", [False, True])
def test_no_cue_ends_behind_the_recording(with_words: bool) -> None:
    transcript = transcript_of((" one", " two", " three"), step=2.0, with_words=with_words)
    cues = list(cues_of(transcript, audio_seconds=3.0))
    assert [cue.text() for cue in cues] == ["one", "two", "three"]
    assert max(cue.end for cue in cues) <= 3.0
    assert all(cue.start <= cue.end for cue in cues)


def test_only_the_marked_piece_is_underlined_and_only_text_is_escaped() -> None:
    cue = Cue(0, 1, ("a<b", "\nc & d", " e"), marked=1)
    assert cue.text(html.escape) == "a&lt;b\n<u>c &amp; d</u> e"


@budget(60)
@given(st.lists(NASTY, max_size=4), st.sampled_from(OPTIONS))
def test_hostile_text_stays_inside_its_cue_with_every_option(texts: list[str], options: WriterOptions) -> None:
    transcript = transcript_of(texts, with_words=True)
    said = {word for text in texts for word in text.split()}
    for format in ("srt", "vtt"):
        text = written(transcript, format, options)
        expected = list(cues_of(transcript, options))
        if not expected:
            assert said == set() or text in ("", "WEBVTT\n\n")
            continue
        document = webvtt.from_buffer(io.StringIO(text), format, strict=True)
        assert len(document.captions) == len(expected)
        assert (document.styles, document.header_comments, document.footer_comments) == ([], [], [])
        assert len(TIMING.findall(text)) == len(expected) or format == "srt"
        starts = [seconds_of(cue.start) for cue in document.captions]
        assert starts == pytest.approx([cue.start for cue in expected], abs=0.000501)
