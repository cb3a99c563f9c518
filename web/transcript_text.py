"""A transcript as the text of one format, and that format's media type."""

from __future__ import annotations

from web import strict_json
from whisper_core.transcript import Transcript

MEDIA_TYPES = {
    "json": "application/json",
    "txt": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "tsv": "text/tab-separated-values",
}


def render_transcript(transcript: Transcript, transcript_format: str, *, is_partial: bool = False) -> str:
    """is_partial: the json says so; the other formats are for finished transcripts."""
    if transcript_format == "json":
        marks = {"partial": True} if is_partial else {}
        return strict_json.dumps({**transcript.to_dict(), **marks}, ensure_ascii=False)
    from whisper_core.writers import write  # not before it is needed: keeps the start short

    return write(transcript, transcript_format)
