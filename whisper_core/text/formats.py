"""The formats in which a transcript can be had, and the one function that writes them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errors import InvalidOptionError
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import PLAIN, WriterOptions

if TYPE_CHECKING:
    from whisper_core.text.paragraphs import Passage


@dataclass(frozen=True)
class Format:
    extension: str  # of its files
    media_type: str
    has_cues: bool = False  # which the writer options cut
    can_be_bilingual: bool = False  # has room for the original with its translation
    is_text: bool = True  # in UTF-8, and its media type has to say so; that of json cannot


_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

FORMATS = {
    "json": Format("json", "application/json", is_text=False),
    "txt": Format("txt", "text/plain"),
    "srt": Format("srt", "application/x-subrip", has_cues=True, can_be_bilingual=True),
    "vtt": Format("vtt", "text/vtt", has_cues=True, can_be_bilingual=True),
    "tsv": Format("tsv", "text/tab-separated-values"),
    "lrc": Format("lrc", "text/plain", has_cues=True, can_be_bilingual=True),
    "ass": Format("ass", "text/x-ssa", has_cues=True, can_be_bilingual=True),
    "docx": Format("docx", _DOCX, can_be_bilingual=True, is_text=False),
    "md": Format("md", "text/markdown", can_be_bilingual=True),
    "paragraphs": Format("paragraphs.txt", "text/plain", can_be_bilingual=True),
    "whisperx": Format("whisperx.json", "application/json", is_text=False),
}


def render_transcript(
    transcript: Transcript,
    format: str,
    options: WriterOptions = PLAIN,
    *,
    audio_seconds: float | None = None,
    title: str | None = None,
    translation: Transcript | None = None,
) -> bytes:
    """The whole file in one of FORMATS; text is in UTF-8.

    options: whether speakers are left out, and how cues are cut; formats without cues ignore the latter.
    audio_seconds: how long the recording is, if that is known; nothing ends behind it.
    title: the heading of a document that has one.
    translation: of the same recording; the file has both then.
    Raises InvalidOptionError: for any other format, for one that has no room for a translation, and for an option that
    needs word timestamps when there are none.
    """
    if format not in FORMATS:
        raise InvalidOptionError(
            f"There is no format of that name. Choose one of {', '.join(FORMATS)}.", field="format"
        )
    if translation is not None and not FORMATS[format].can_be_bilingual:
        able = ", ".join(name for name, described in FORMATS.items() if described.can_be_bilingual)
        raise InvalidOptionError(f"This format has no room for a translation. Choose one of {able}.", field="format")
    if options.without_speakers:
        transcript = transcript.without_speakers()
    if FORMATS[format].has_cues:
        return _of_cues(format, transcript, options, audio_seconds, translation)
    # Imported when they are needed, for a faster start
    from whisper_core.text import bilingual, paragraphs, whisperx, writers

    passages: Iterable[Passage] = (
        paragraphs.paragraphs_of(transcript)
        if translation is None
        else bilingual.bilingual_paragraphs(transcript, translation)
    )
    match format:
        case "docx":
            return paragraphs.docx(passages, title, transcript.language)
        case "md":
            return paragraphs.markdown(passages, title).encode()
        case "paragraphs":
            return paragraphs.plain(passages).encode()
        case "whisperx":
            return whisperx.whisperx_json(transcript.within(audio_seconds)).encode()
        case _:
            return writers.write(transcript.within(audio_seconds), format).encode()


def _of_cues(
    format: str,
    transcript: Transcript,
    options: WriterOptions,
    audio_seconds: float | None,
    translation: Transcript | None,
) -> bytes:
    from whisper_core.text import bilingual, player_formats, writers
    from whisper_core.text.cues import cues_of

    cues = (
        cues_of(transcript, options, audio_seconds)
        if translation is None
        else bilingual.bilingual_cues(transcript, translation, options, audio_seconds)
    )
    match format:
        case "lrc":
            return player_formats.lrc(cues).encode()
        case "ass":
            return player_formats.ass(cues).encode()
        case _:
            return writers.write_cues(cues, format).encode()
