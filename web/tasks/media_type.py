"""The media type of an uploaded file, from its first bytes and never from its name. No type that can run scripts."""

from __future__ import annotations

from pathlib import Path

UNKNOWN = "application/octet-stream"
HEAD_BYTES = 512

_BY_START = (
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"caff", "audio/x-caf"),
    (b"#!AMR", "audio/amr"),
    (b".snd", "audio/basic"),
    (b"wvpk", "audio/x-wavpack"),
    (b"MAC ", "audio/x-ape"),
    (b"FLV", "video/x-flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-wmv"),
)
_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"F4A ")


def media_type_of(path: Path) -> str:
    """An audio/* or video/* type, or application/octet-stream. Raises OSError when the file cannot be read."""
    with path.open("rb") as file:
        return media_type_of_head(file.read(HEAD_BYTES))


def media_type_of_head(head: bytes) -> str:
    for start, media_type in _BY_START:
        if head.startswith(start):
            return media_type
    return _container_type(head) or _mpeg_type(head) or UNKNOWN


def _container_type(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64"):
        return {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    if head[:4] == b"FORM":
        return "audio/aiff" if head[8:12] in (b"AIFF", b"AIFC") else None
    if head[4:8] == b"ftyp":
        return "audio/mp4" if head[8:12] in _AUDIO_BRANDS else "video/mp4"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return "video/quicktime"
    if head[:4] == b"OggS":
        return "video/ogg" if b"\x80theora" in head else "audio/ogg"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return None


def _mpeg_type(head: bytes) -> str | None:
    """Streams without a container: a sync word of 11 or 12 bits, or the signatures of MPEG-TS and MPEG-PS."""
    if len(head) < 2:
        return None
    if head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    if head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "audio/mpeg"
    if head[0] == 0x47 and len(head) > 188 and head[188] == 0x47:
        return "video/mp2t"
    return "video/mpeg" if head[:4] == b"\x00\x00\x01\xba" else None
