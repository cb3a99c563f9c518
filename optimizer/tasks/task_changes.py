"""What people may change of a task, whatever else happens to it: its name, their notes, and how urgent it is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from errors import InvalidOptionError
from optimizer.common.filenames import without_hidden
from optimizer.tasks.task import Priority

MAX_TITLE_CHARACTERS = 200
MAX_NOTE_CHARACTERS = 10_000
MAX_TAGS = 20
MAX_TAG_CHARACTERS = 50
_LINE_CONTROLS = "\n\t"


@dataclass(frozen=True)
class TaskChanges:
    """None: it stays as it is."""

    title: str | None = None  # empty: it is called as its file again
    note: str | None = None
    tags: tuple[str, ...] | None = None
    priority: Priority | None = None  # only of a task that waits


def read_title(text: str) -> str:
    """On one line. Raises InvalidOptionError."""
    title = " ".join(without_hidden(text).split())
    if len(title) > MAX_TITLE_CHARACTERS:
        raise InvalidOptionError(f"A title has at most {MAX_TITLE_CHARACTERS} characters.", field="title")
    return title


def read_note(text: str) -> str:
    """With its lines. Raises InvalidOptionError."""
    lines = text.replace("\r\n", "\n")
    note = "".join(c for c in lines if c in _LINE_CONTROLS or unicodedata.category(c) not in ("Cc", "Cs")).strip()
    if len(note) > MAX_NOTE_CHARACTERS:
        raise InvalidOptionError(f"A note has at most {MAX_NOTE_CHARACTERS} characters.", field="note")
    return note


def read_tags(texts: Iterable[str]) -> tuple[str, ...]:
    """Each once, whatever its case, in the order given. Raises InvalidOptionError."""
    tags: dict[str, str] = {}
    for text in texts:
        tag = " ".join(without_hidden(text).split())
        if len(tag) > MAX_TAG_CHARACTERS:
            raise InvalidOptionError(f"A tag has at most {MAX_TAG_CHARACTERS} characters.", field="tags")
        if tag:
            tags.setdefault(unicodedata.normalize("NFKC", tag).casefold(), tag)
    if len(tags) > MAX_TAGS:
        raise InvalidOptionError(f"A task has at most {MAX_TAGS} tags.", field="tags")
    return tuple(tags.values())
