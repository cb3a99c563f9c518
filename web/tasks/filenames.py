"""File names that come from outside: cleaned for showing, and cleaned once more for an archive's members.

Neither is ever part of a path on the server: files are stored under their task's id.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

MAX_NAME_BYTES = 255
MAX_MEMBER_BYTES = 180  # leaves room for a number, an ending and a folder where it is unpacked
UNNAMED = "recording"

# Control, format (reversed writing, zero width) and surrogate characters, line and paragraph separators
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_UNSAFE_IN_MEMBERS = re.compile(r'[/\\:*?"<>|]')
_RESERVED_ON_WINDOWS = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def display_name(raw: str) -> str:
    """The last part of the name in NFC, without hidden characters, at most 255 bytes of UTF-8. Idempotent."""
    visible = "".join(c for c in unicodedata.normalize("NFC", raw) if unicodedata.category(c) not in _HIDDEN_CATEGORIES)
    name = re.split(r"[/\\]", visible)[-1]
    return _settled(name, MAX_NAME_BYTES)


def transcript_name(filename: str, extension: str) -> str:
    """`interview.mp3` -> `interview.srt`. extension: `srt`, or one with a mark, `vad.srt`."""
    stem = PurePosixPath(filename).stem or UNNAMED
    return f"{_cut(stem, MAX_NAME_BYTES - 1 - len(extension))}.{extension}"


class MemberNames:
    """Gives each member of an archive a name that unpacks safely everywhere, and no two the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, filename: str, extension: str) -> str:
        stem = _member_stem(filename)
        name, number = f"{stem}.{extension}", 2
        while name.casefold() in self._taken:
            name, number = f"{stem} ({number}).{extension}", number + 1
        self._taken.add(name.casefold())
        return name


def _member_stem(filename: str) -> str:
    stem = _UNSAFE_IN_MEMBERS.sub("_", PurePosixPath(display_name(filename)).stem)
    stem = _cut(stem, MAX_MEMBER_BYTES).strip(". ") or UNNAMED
    return f"_{stem}" if _RESERVED_ON_WINDOWS.match(stem) else stem


def _settled(name: str, limit: int) -> str:
    """Cutting can uncover a blank at an end, and joining can compose two characters; so until nothing changes."""
    while True:
        shorter = unicodedata.normalize("NFC", _cut(name.strip(), limit)).strip()
        if shorter == name:
            return name or UNNAMED
        name = shorter


def _cut(name: str, limit: int) -> str:
    """At most `limit` bytes; what goes is the end of the stem, so that the ending still tells the kind of file."""
    if len(name.encode()) <= limit:
        return name
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending.encode()) > limit // 4:
        stem, dot, ending = name, "", ""
    room = limit - len((dot + ending).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + ending
