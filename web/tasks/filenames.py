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
_UNSAFE_IN_MEMBERS = re.compile(r'[/\\:*?"<>|]')
_RESERVED_ON_WINDOWS = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def display_name(raw: str) -> str:
    """The last part of the path in NFC, without hidden characters, at most 255 bytes in UTF-8. Idempotent."""
    visible = "".join(c for c in unicodedata.normalize("NFC", raw) if unicodedata.category(c) not in _HIDDEN_CATEGORIES)
    name = re.split(r"[/\\]", visible)[-1]
    return _shortened(name, MAX_NAME_BYTES)


def transcript_name(filename: str, extension: str) -> str:
    """`interview.mp3` -> `interview.srt`. extension: `srt`, or `vad.srt` for a text in mode vad."""
    stem = PurePosixPath(filename).stem or UNNAMED
    return f"{_cut(stem, MAX_NAME_BYTES - 1 - len(extension))}.{extension}"


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


def _member_stem(filename: str) -> str:
    stem = _UNSAFE_IN_MEMBERS.sub("_", PurePosixPath(display_name(filename)).stem)
    stem = _cut(stem, MAX_MEMBER_BYTES).strip(". ") or UNNAMED
    return f"_{stem}" if _RESERVED_ON_WINDOWS.match(stem) else stem


def _shortened(name: str, limit: int) -> str:
    """Repeats until nothing changes: cutting can leave a blank at the end, and can let two characters compose."""
    while True:
        shorter = unicodedata.normalize("NFC", _cut(name.strip(), limit)).strip()
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
