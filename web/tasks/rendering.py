"""A transcript in one format, and the extension of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web.http import strict_json
from whisper_core.text import formats
from whisper_core.text.formats import FORMATS
from whisper_core.text.options import Mode
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import PLAIN, WriterOptions


def render_transcript(
    transcript: Transcript,
    transcript_format: str,
    options: WriterOptions = PLAIN,
    *,
    mode: Mode = "exact",
    is_partial: bool = False,
    audio_seconds: float | None = None,
    damaged: Mapping[str, float | None] | None = None,
    title: str | None = None,
) -> bytes:
    """As `formats.render_transcript`; the json says when the text is not openai-whisper's own (mode), not complete, or
    of a damaged recording.

    The other formats have no place for that. Their file name shows the mode (`file_extension`), and only complete texts
    are written in them.
    """
    if transcript_format == "json":
        marks: dict[str, Any] = ({"partial": True} if is_partial else {}) | ({} if mode == "exact" else {"mode": mode})
        marks |= {} if damaged is None else {"damaged": dict(damaged)}
        return strict_json.dumps({**transcript.to_dict(), **marks}, ensure_ascii=False).encode()
    return formats.render_transcript(transcript, transcript_format, options, audio_seconds=audio_seconds, title=title)


def file_extension(transcript_format: str, mode: Mode) -> str:
    """`srt`, or `vad.srt` for a text in mode vad, which is not openai-whisper's own."""
    extension = FORMATS[transcript_format].extension
    return extension if mode == "exact" else f"{mode}.{extension}"
