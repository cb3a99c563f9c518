"""A transcript in one format, the media type of that format, and the extension of its file."""

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
    """The json says when the text is not openai-whisper's own (mode) or not complete yet (is_partial).

    The other formats have no place for that. Their file name shows the mode (`file_extension`), and only complete texts
    are written in them.
    """
    if transcript_format == "json":
        marks = ({"partial": True} if is_partial else {}) | ({} if mode == "exact" else {"mode": mode})
        return strict_json.dumps({**transcript.to_dict(), **marks}, ensure_ascii=False)
    from whisper_core.text.writers import write  # imported when it is needed, for a faster start

    return write(transcript, transcript_format)


def file_extension(transcript_format: str, mode: Mode) -> str:
    """`srt`, or `vad.srt` for a text in mode vad, which is not openai-whisper's own."""
    return transcript_format if mode == "exact" else f"{mode}.{transcript_format}"
