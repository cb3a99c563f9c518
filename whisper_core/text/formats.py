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


FORMATS = {
    "json": Format("json", "application/json"),
    "txt": Format("txt", "text/plain"),
    "srt": Format("srt", "application/x-subrip", has_cues=True),
    "vtt": Format("vtt", "text/vtt", has_cues=True),
    "tsv": Format("tsv", "text/tab-separated-values"),
}


def render_transcript(
    transcript: Transcript, format: str, options: WriterOptions = PLAIN, *, audio_seconds: float | None = None
) -> bytes:
    """The whole file in one of FORMATS, its text in UTF-8.

    options: how cues are cut; formats without cues ignore it, as in openai-whisper.
    audio_seconds: how long the recording is, if that is known; no cue ends behind it.
    Raises InvalidOptionError: for any other format, and for an option that needs word timestamps when there are none.
    """
    if format not in FORMATS:
        raise InvalidOptionError(
            f"There is no format of that name. Choose one of {', '.join(FORMATS)}.", field="format"
        )
    from whisper_core.text.writers import write  # imported when it is needed, for a faster start

    return write(transcript, format, options, audio_seconds).encode()
