"""The formats in which a transcript can be had, and the one function that writes them all."""

from __future__ import annotations

from dataclasses import dataclass

from errors import InvalidOptionError
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import PLAIN, WriterOptions


@dataclass(frozen=True)
class Format:
    extension: str  # of its files
    media_type: str
    has_cues: bool = False  # which the writer options cut
    is_text: bool = True  # in UTF-8, and its media type has to say so; that of json cannot


FORMATS = {
    "json": Format("json", "application/json", is_text=False),
    "txt": Format("txt", "text/plain"),
    "srt": Format("srt", "application/x-subrip", has_cues=True),
    "vtt": Format("vtt", "text/vtt", has_cues=True),
    "tsv": Format("tsv", "text/tab-separated-values"),
    "lrc": Format("lrc", "text/plain", has_cues=True),
    "ass": Format("ass", "text/x-ssa", has_cues=True),
    "docx": Format("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", is_text=False),
    "md": Format("md", "text/markdown"),
    "paragraphs": Format("paragraphs.txt", "text/plain"),
    "whisperx": Format("whisperx.json", "application/json", is_text=False),
}


def render_transcript(
    transcript: Transcript,
    format: str,
    options: WriterOptions = PLAIN,
    *,
    audio_seconds: float | None = None,
    title: str | None = None,
) -> bytes:
    """The whole file in one of FORMATS; text is in UTF-8.

    options: how cues are cut; formats without cues ignore it, as in openai-whisper.
    audio_seconds: how long the recording is, if that is known; no cue ends behind it.
    title: the heading of a document that has one.
    Raises InvalidOptionError: for any other format, and for an option that needs word timestamps when there are none.
    """
    if format not in FORMATS:
        raise InvalidOptionError(
            f"There is no format of that name. Choose one of {', '.join(FORMATS)}.", field="format"
        )
    # Imported when they are needed, for a faster start
    from whisper_core.text import paragraphs, player_formats, whisperx, writers
    from whisper_core.text.cues import cues_of

    match format:
        case "lrc":
            return player_formats.lrc(cues_of(transcript, options, audio_seconds)).encode()
        case "ass":
            return player_formats.ass(cues_of(transcript, options, audio_seconds)).encode()
        case "docx":
            return paragraphs.docx(paragraphs.paragraphs_of(transcript), title, transcript.language)
        case "md":
            return paragraphs.markdown(paragraphs.paragraphs_of(transcript), title).encode()
        case "paragraphs":
            return paragraphs.plain(paragraphs.paragraphs_of(transcript)).encode()
        case "whisperx":
            return whisperx.whisperx_json(transcript).encode()
        case _:
            return writers.write(transcript, format, options, audio_seconds).encode()
