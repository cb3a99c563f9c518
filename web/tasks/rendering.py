"""A transcript as the text of one format, that format's media type, and the ending of its file's name."""

from __future__ import annotations

from web.http import strict_json
from whisper_core.text.options import Mode
from whisper_core.text.transcript import Transcript

MEDIA_TYPES = {
    "json": "application/json",
    "txt": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "tsv": "text/tab-separated-values",
}


def render_transcript(
    transcript: Transcript, transcript_format: str, *, mode: Mode = "exact", is_partial: bool = False
) -> str:
    """mode, is_partial: the json says when it is not openai-whisper's own text, or not yet all of it.

    The other formats have no place for it; their names say the mode (`file_ending`), and all are of finished texts.
    """
    if transcript_format == "json":
        marks = ({"partial": True} if is_partial else {}) | ({} if mode == "exact" else {"mode": mode})
        return strict_json.dumps({**transcript.to_dict(), **marks}, ensure_ascii=False)
    from whisper_core.text.writers import write  # not before it is needed: keeps the start short

    return write(transcript, transcript_format)


def file_ending(transcript_format: str, mode: Mode) -> str:
    """`srt`, or `vad.srt` for a text that is not openai-whisper's own."""
    return transcript_format if mode == "exact" else f"{mode}.{transcript_format}"
