"""File names from outside, cleaned so that they can be shown, and further so that an archive can be unpacked safely.

They are never part of a path on the server, where files are named by their task's id.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

MAX_NAME_BYTES = 255
MAX_MEMBER_BYTES = 180  # leaves room for a number, an extension, and the folder in which it is unpacked
UNNAMED = "recording"

# Control, format (writing direction, zero width) and surrogate characters, line and paragraph separators
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# The two that join or part letters in Persian, Hindi and emoji. Between others they only hide.
_JOINERS = "\u200c\u200d"
_JOINER_RUN = re.compile(f"[{_JOINERS}]+")
# What is no ending of these may be part of the name, as in "Meeting 12.30".
_MEDIA_ENDING = re.compile(
    r"(?<=.)\.(3g2|3ga|3gp|3gpp|aa|aac|aax|ac3|adts|aif|aifc|aiff|alac|amr|ape|asf|au|avi|awb|caf|dff|divx|dsf|dss|dts"
    r"|dv|eac3|f4a|f4v|flac|flv|gsm|m1v|m2a|m2ts|m2v|m4a|m4b|m4r|m4v|mka|mkv|mov|mp1|mp2|mp3|mp4|mpa|mpc|mpe|mpeg|mpg"
    r"|mpga|mpp|mts|mxf|nut|oga|ogg|ogm|ogv|ogx|oma|opus|qcp|qt|ra|ram|rm|rmvb|sbc|snd|spx|tak|thd|tod|truehd|ts|tta|vob"
    r"|voc|w64|wav|wave|weba|webm|wma|wmv|wtv|wv)$",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[/\\]")
_UNSAFE_IN_MEMBERS = re.compile(r'[/\\:*?"<>|]')
_RESERVED_ON_WINDOWS = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def display_name(raw: str) -> str:
    """The last part of the path in NFC, without hidden characters, at most 255 bytes in UTF-8. Idempotent.

    A joiner stays where it shapes the letters on both its sides.
    """
    name = _SEPARATORS.split(without_hidden(raw))[-1]
    return _shortened(name, MAX_NAME_BYTES)


def without_hidden(raw: str) -> str:
    """In NFC, without control characters and others that cannot be seen."""
    return "".join(c for c in unicodedata.normalize("NFC", raw) if not _is_hidden(c))


def titled_name(title: str, filename: str) -> str:
    """`Board, May` and `rec01.mp3` -> `Board, May.mp3`: as what a recording is saved that people call so."""
    ending = _MEDIA_ENDING.search(filename)
    return display_name(_SEPARATORS.sub("-", without_media_ending(title)) + (ending[0] if ending else ""))


def transcript_name(filename: str, extension: str) -> str:
    """`interview.mp3` -> `interview.srt`. extension: `srt`, or `vad.srt` for a text in mode vad."""
    return f"{_cut(title_of(filename), MAX_NAME_BYTES - 1 - len(extension))}.{extension}"


def title_of(filename: str) -> str:
    """`interview.mp3` -> `interview`."""
    return _stem(filename) or UNNAMED


def has_media_ending(filename: str) -> bool:
    """Whether it is called as a recording or a film."""
    return _MEDIA_ENDING.search(filename) is not None


def without_media_ending(filename: str) -> str:
    """`interview.mp3` -> `interview`; `12.30` stays."""
    return _MEDIA_ENDING.sub("", filename)


class MemberNames:
    """Gives each member of an archive a name of its own that can be unpacked safely on every system."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def unique_name(self, filename: str, extension: str) -> str:
        stem = _member_stem(filename)
        name, number = f"{stem}.{extension}", 2
        while name.casefold() in self._used:
            name, number = f"{stem} ({number}).{extension}", number + 1
        self._used.add(name.casefold())
        return name


def _stem(filename: str) -> str:
    """Without the ending of a recording or a film."""
    return _MEDIA_ENDING.sub("", PurePosixPath(filename).name)  # nothing of "."


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_CATEGORIES and character not in _JOINERS


def _without_idle_joiners(name: str) -> str:
    def kept(run: re.Match[str]) -> str:
        before, after = name[: run.start()][-1:], name[run.end() :][:1]
        return run[0][0] if before and after and not (before.isascii() or after.isascii()) else ""

    return _JOINER_RUN.sub(kept, name)


def _member_stem(filename: str) -> str:
    stem = _UNSAFE_IN_MEMBERS.sub("_", _stem(display_name(filename)))
    stem = _cut(stem, MAX_MEMBER_BYTES).strip(". ") or UNNAMED
    return f"_{stem}" if _RESERVED_ON_WINDOWS.match(stem) else stem


def _shortened(name: str, limit: int) -> str:
    """Repeats until nothing changes: cutting can leave a blank at the end, and can let two characters compose."""
    while True:
        shorter = unicodedata.normalize("NFC", _without_idle_joiners(_cut(name.strip(), limit))).strip()
        if shorter == name:
            return name or UNNAMED
        name = shorter


def _cut(name: str, limit: int) -> str:
    """At most `limit` bytes. The end of the stem is removed, so the extension still tells the kind of file."""
    if len(name.encode()) <= limit:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > limit // 4:
        stem, dot, extension = name, "", ""
    room = limit - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension
