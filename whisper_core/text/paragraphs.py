"""A transcript as paragraphs to read: as plain text, as Markdown, and as a document for a word processor."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING

from whisper_core.text.cues import printable, speaker_label
from whisper_core.text.transcript import Transcript

if TYPE_CHECKING:
    from docx.text.paragraph import Paragraph as DocxParagraph

PAUSE_SECONDS = 2.0  # a pause as long as this starts a paragraph
FULL_WIDTH = 600  # a paragraph this wide, in Latin letters, ends with its sentence
LARGEST_WIDTH = 1200  # and one this wide with its segment

TRANSLATED = "en"  # the language into which Whisper translates
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ps", "sd", "ur", "yi"})

_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f\u0964\u061f\u06d4][\"'\u201d\u2019\u300d\u300f\u00bb)\]]*$")
_MARKDOWN = re.compile(r"[\\`*_\[\]<>&~|$#]|^[+=-]")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])")
_NOT_IN_XML = re.compile(r"[\ufffe\uffff]")


@dataclass(frozen=True)
class Passage:
    """Some text of a transcript, on one line, with its time in seconds."""

    start: float
    end: float
    text: str
    translation: str = ""
    speaker: str | None = None  # the name of who says it; a passage is one speaker's
    starts_turn: bool = False  # whether somebody else says the passage before it

    @property
    def label(self) -> str:
        return f"{self.speaker}:" if self.starts_turn else ""


def paragraphs_of(transcript: Transcript) -> Iterator[Passage]:
    """Cut only between segments: at pauses, where a paragraph grows long, and where the speaker changes."""
    paragraph: Passage | None = None
    last_speaker: str | None = None
    for segment in transcript.segments:
        if not (text := one_line(segment.text)):
            continue
        speaker = speaker_label(transcript, segment)
        starts_turn = speaker is not None and speaker != last_speaker
        if paragraph is not None and (speaker != last_speaker or _ends_before(paragraph, segment.start)):
            yield replace(paragraph, text=paragraph.text.strip())
            paragraph = None
        before = paragraph or Passage(segment.start, segment.end, "", speaker=speaker, starts_turn=starts_turn)
        paragraph = replace(before, end=segment.end, text=before.text + text)
        last_speaker = speaker
    if paragraph is not None:
        yield replace(paragraph, text=paragraph.text.strip())


def one_line(text: str) -> str:
    """With single spaces, and one before it if it had any there."""
    spaced = " ".join(printable(text).split())
    return f" {spaced}" if spaced and text[0].isspace() else spaced


def plain(paragraphs: Iterable[Passage]) -> str:
    texts = (
        text
        for paragraph in paragraphs
        for text in (f"{paragraph.label} {paragraph.text}".lstrip(), paragraph.translation)
    )
    return "\n".join(f"{text}\n" for text in texts if text)


def markdown(paragraphs: Iterable[Passage], title: str | None) -> str:
    """Each with its time before it, and its translation quoted below. No text becomes markup, so a heading is one only
    where this made it.
    """
    heading = [f"# {_escaped(name)}\n"] if (name := one_line(title or "").strip()) else []
    texts = []
    for paragraph in paragraphs:
        label = f"**{_escaped(paragraph.label)}** " if paragraph.label else ""
        texts.append(f"**{_clock(paragraph.start)}** {label}{_escaped(paragraph.text)}\n")
        if paragraph.translation:
            texts.append(f"> {_escaped(paragraph.translation)}\n")
    return "\n".join(heading + texts)


def docx(paragraphs: Iterable[Passage], title: str | None, language: str) -> bytes:
    """Each with its time before it and its translation below, and with their languages for a spelling checker."""
    from docx import Document  # imported when it is needed, for a faster start

    document = Document()
    properties = document.core_properties
    properties.author, properties.comments, properties.language = "", "", language
    if name := _for_xml(title or ""):
        properties.title = name[:255]  # as long as one may be
        _set_direction(document.add_heading(name, level=1), language)
    for paragraph in paragraphs:
        written = document.add_paragraph()
        written.add_run(f"{_clock(paragraph.start)} ").bold = True
        if paragraph.label:
            written.add_run(f"{_for_xml(paragraph.label)} ").bold = True
        written.add_run(_for_xml(paragraph.text))
        _set_direction(written, language)
        if paragraph.translation:
            _set_direction(document.add_paragraph(_for_xml(paragraph.translation), style="Quote"), TRANSLATED)
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def _set_direction(paragraph: DocxParagraph, language: str) -> None:
    """Also the language: python-docx has words for neither."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    is_right_to_left = language in RIGHT_TO_LEFT
    if is_right_to_left:
        paragraph._p.get_or_add_pPr().append(OxmlElement("w:bidi"))
    for run in paragraph.runs:
        properties = run._r.get_or_add_rPr()
        if is_right_to_left:
            properties.append(OxmlElement("w:rtl"))
        spoken = OxmlElement("w:lang")
        for script in ("w:val", "w:eastAsia", "w:bidi"):
            spoken.set(qn(script), language)
        properties.append(spoken)


def _ends_before(paragraph: Passage, next_start: float) -> bool:
    if next_start - paragraph.end >= PAUSE_SECONDS:
        return True
    width = _width(paragraph.text)
    is_sentence = _SENTENCE_END.search(paragraph.text.rstrip()) is not None
    return width >= LARGEST_WIDTH or (width >= FULL_WIDTH and is_sentence)


def _width(text: str) -> int:
    """In Latin letters; a Chinese character, say, takes the room of two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _escaped(text: str) -> str:
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", text))


def _for_xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", " ".join(printable(text).split()))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
