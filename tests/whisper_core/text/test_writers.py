"""The writers: openai-whisper's output for ordinary text, and a valid file for every text."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from pathlib import Path

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidOptionError
from whisper_core.text.transcript import Segment, Transcript, Word
from whisper_core.text.writers import WHISPER_FORMATS, write

ORDINARY_TEXTS = (
    " And mister john dashwood had then leisure to consider,",
    " how much there might be prudently in his power: 50% of it!",
    " \"Who said that?\" he asked. 'Nobody,' she lied.",
    " - Dialogue is written with a dash.",
    " -Without a space, too - and inside.",
    " Él ¿no? 你好，世界。 Привет ♪",
)


def segment_of(number: int, start: float, end: float, text: str, words: tuple[Word, ...] | None = None) -> Segment:
    return Segment(number, 0, start, end, text, (50364, 11, 50400), 0.0, -0.25, 1.3, 0.01, words)


def transcript_of(texts: list[str] | tuple[str, ...], step: float = 2.34, with_words: bool = False) -> Transcript:
    segments = []
    for number, text in enumerate(texts):
        start, end = number * step, (number + 1) * step
        words = None
        if with_words:
            pieces = re.findall(r"\s*\S+", text)
            words = tuple(
                Word(piece, start + 0.1 + i / 50, start + 0.12 + i / 50, 0.5) for i, piece in enumerate(pieces)
            )
        segments.append(segment_of(number, start, end, text, words))
    return Transcript("".join(texts), "en", tuple(segments))


def upstream(transcript: Transcript, format: str, folder: Path) -> str:
    from whisper.utils import get_writer

    fields = transcript.to_dict()
    result = {"text": fields["text"], "segments": fields["segments"], "language": fields["language"]}
    get_writer(format, str(folder))(result, "name.wav", {})
    return (folder / f"name.{format}").read_bytes().decode()


@pytest.mark.parametrize("with_words", [False, True])
@pytest.mark.parametrize("step", [2.34, 0.0005, 1234.5675])
@pytest.mark.parametrize("format", WHISPER_FORMATS)
def test_ordinary_text_is_written_as_openai_whisper_writes_it(
    format: str, step: float, with_words: bool, tmp_path: Path
) -> None:
    transcript = transcript_of(ORDINARY_TEXTS, step, with_words)
    assert write(transcript, format) == upstream(transcript, format, tmp_path)


@pytest.mark.parametrize("format", WHISPER_FORMATS)
def test_an_empty_transcript_is_written_as_openai_whisper_writes_it(format: str, tmp_path: Path) -> None:
    transcript = Transcript("", "en", ())
    assert write(transcript, format) == upstream(transcript, format, tmp_path)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="txt") as refusal:
        write(transcript_of(ORDINARY_TEXTS), "doc")
    assert refusal.value.field == "format"


def test_a_segment_without_text_gets_no_cue_but_keeps_its_row() -> None:
    transcript = transcript_of((" one", "", " two"))
    assert write(transcript, "srt").count("-->") == 2
    assert write(transcript, "vtt").count("-->") == 2
    assert len(write(transcript, "tsv").splitlines()) == 4


def test_markup_in_vtt_is_escaped() -> None:
    assert "a &lt;b&gt; &amp; c --&gt; d" in write(transcript_of((" a <b> & c --> d",)), "vtt")


@pytest.mark.parametrize("text", ["=1+1", "+1", "@SUM(A1)", "-cmd|' /C calc'!A0", "-HYPERLINK(1)", " \t=1"])
def test_a_formula_in_tsv_becomes_text(text: str) -> None:
    assert write(transcript_of((text,)), "tsv").splitlines()[1].split("\t")[2].startswith("'")


# Independent readers of the formats, as strict as a player's.

STAMP = r"((?:\d{2,}:)?\d{2}:\d{2}[.,]\d{3})"
TIMING = re.compile(rf"{STAMP} --> {STAMP}")


def cues_of(blocks: list[str], timing_line: int) -> list[str]:
    texts = []
    for block in blocks:
        lines = block.split("\n")
        assert TIMING.fullmatch(lines[timing_line]), block
        payload = lines[timing_line + 1 :]
        assert payload
        assert not any("-->" in line for line in payload)
        texts.append("\n".join(payload))
    return texts


def read_srt(text: str) -> list[str]:
    blocks = [block for block in re.split(r"\n\n", text) if block]
    assert [block.split("\n")[0] for block in blocks] == [str(number) for number in range(1, len(blocks) + 1)]
    return cues_of(blocks, 1)


def read_vtt(text: str) -> list[str]:
    header, *blocks = [block for block in re.split(r"\n\n", text) if block]
    assert header == "WEBVTT"
    return [html.unescape(cue) for cue in cues_of(blocks, 0)]


def visible(text: str) -> list[str]:
    """The words of a text, without the characters that no format can contain."""
    printable = re.sub(r"[\x00-\x08\x0e-\x1b\x1f\x7f]", " ", text)
    return re.sub(r"[\ud800-\udfff]", "\ufffd", printable).split()


BREAKS = ["\n", "\n\n", "\r", "\x0b", "\u2028", "\t", " ", "\x00", "\ud800"]
SYNTAX = [
    "-->",
    ">",
    "-",
    "<b>",
    "&amp;",
    "&",
    "=",
    '"',
    "'",
    "1",
    "WEBVTT",
    "NOTE",
    "STYLE",
    "00:00:00,000 --> 00:01,000",
]
NASTY = st.text() | st.lists(st.sampled_from([*BREAKS, *SYNTAX, "a"])).map("".join)


@given(st.lists(NASTY, max_size=6))
def test_every_text_survives_in_vtt(texts: list[str]) -> None:
    read = read_vtt(write(transcript_of(texts), "vtt"))
    assert [visible(text) for text in texts if visible(text)] == [cue.split() for cue in read]


@given(st.lists(NASTY, max_size=6))
def test_every_text_survives_in_srt_but_for_arrows(texts: list[str]) -> None:
    read = read_srt(write(transcript_of(texts), "srt"))
    expected = [[re.sub("-{2,}>", "->", word) for word in visible(text)] for text in texts if visible(text)]
    assert expected == [cue.split() for cue in read]


@pytest.mark.proves("S16")
@given(st.lists(NASTY, max_size=6), st.booleans())
def test_another_project_s_reader_finds_each_segment_as_one_cue_in_its_time(texts: list[str], with_words: bool) -> None:
    transcript = transcript_of(texts, with_words=with_words)
    spoken = [segment for segment in transcript.segments if visible(segment.text)]
    if not spoken:
        assert (write(transcript, "srt"), write(transcript, "vtt")) == ("", "WEBVTT\n\n")
        return
    for format in ("srt", "vtt"):
        document = webvtt.from_buffer(io.StringIO(write(transcript, format)), format, strict=True)
        assert [words_of(cue.raw_text, format) for cue in document.captions] == [
            visible_in(s.text, format) for s in spoken
        ]
        if not with_words:
            starts = [seconds_of(cue.start) for cue in document.captions]
            assert starts == pytest.approx([segment.start for segment in spoken], abs=0.000501)
        assert (document.styles, document.header_comments, document.footer_comments) == ([], [], [])


def words_of(cue: str, format: str) -> list[str]:
    return (html.unescape(cue) if format == "vtt" else cue).split()


def visible_in(text: str, format: str) -> list[str]:
    """srt has no escapes, so an arrow becomes `->` there."""
    return [word if format == "vtt" else re.sub("-{2,}>", "->", word) for word in visible(text)]


@pytest.mark.proves("S17")
@given(st.lists(NASTY, max_size=6))
def test_every_text_is_one_harmless_cell_in_tsv(texts: list[str]) -> None:
    written = write(transcript_of(texts), "tsv")
    rows = list(csv.reader(io.StringIO(written, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows[0] == ["start", "end", "text"]
    assert [len(row) for row in rows] == [3] * (len(texts) + 1)
    for (_, _, cell), text in zip(rows[1:], texts, strict=True):
        assert not cell.startswith(("=", "+", "@", "\t", "\r"))
        assert not (cell.startswith("-") and set(cell) & set("(|"))
        assert visible(text) == cell.split() or ["'" + visible(text)[0], *visible(text)[1:]] == cell.split()


@given(st.lists(NASTY, max_size=6))
def test_every_text_can_be_written_to_a_file(texts: list[str]) -> None:
    for format in WHISPER_FORMATS:
        text = write(transcript_of(texts), format)
        assert text.encode("utf-8").decode("utf-8") == text


@given(st.lists(NASTY, max_size=6), st.booleans())
def test_json_gives_the_transcript_back(texts: list[str], with_words: bool) -> None:
    transcript = transcript_of(texts, with_words=with_words)
    assert Transcript.from_dict(json.loads(write(transcript, "json"))) == transcript


@given(st.floats(min_value=0, max_value=4e6), st.floats(min_value=0, max_value=4e6))
def test_times_are_written_to_the_millisecond(start: float, length: float) -> None:
    transcript = Transcript("a", "en", (segment_of(0, start, start + length, "a"),))
    for format in ("srt", "vtt"):
        stamps = TIMING.search(write(transcript, format))
        assert stamps is not None
        assert [seconds_of(stamp) for stamp in stamps.groups()] == pytest.approx([start, start + length], abs=0.000501)


def seconds_of(stamp: str) -> float:
    *hours, minutes, seconds = stamp.replace(",", ".").split(":")
    return int(hours[0] if hours else 0) * 3600 + int(minutes) * 60 + float(seconds)
