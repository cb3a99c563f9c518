"""What is kept beside an unfinished upload, in `incoming/<id>.json`: how long it will be, whose it is, what it is for.

A file beside the bytes and not a table, because both are made, expire and go together, and because an upload then
neither waits for the database's one writer nor occupies it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from errors import TranscriptionServerError, error_class_of
from optimizer.common.atomic_files import write_durably
from optimizer.storage.mapping import UNREADABLE


@dataclass(frozen=True)
class Outcome:
    """How an upload ended: as a task, or refused with an error that sending it again cannot mend."""

    task_id: str | None = None
    code: str = ""
    message: str = ""
    field: str | None = None

    @classmethod
    def refused(cls, error: TranscriptionServerError) -> Outcome:
        return cls(code=error.code, message=error.message, field=error.field)

    def raise_refusal(self) -> None:
        """Raises the error that it was refused with, if it was."""
        if self.task_id is None:
            raise error_class_of(self.code)(self.message, field=self.field)


@dataclass(frozen=True)
class PartNote:
    id: str
    length: int
    owner: str
    created_at: datetime
    details: Mapping[str, Any] = field(default_factory=dict)  # what the task will be made of; dropped at the end
    key: str | None = None  # the Idempotency-Key it was created with
    synced: int = 0  # bytes that are on the disk for certain, also after a power cut
    boot_id: str = ""  # of the machine when that was written: under another one only `synced` bytes can be trusted
    checked: int | None = None  # while a checksum is awaited: where the bytes begin that it is of
    outcome: Outcome | None = None

    def trusted(self, size: int, boot_id: str) -> int:
        """How many of `size` bytes in the file count after a restart."""
        bounds = [size, self.length]
        if boot_id != self.boot_id or not boot_id:  # the machine was restarted, so it may have been a power cut
            bounds.append(self.synced)
        if self.checked is not None:
            bounds.append(self.checked)
        return min(bounds)

    def ended(self, outcome: Outcome) -> PartNote:
        """Without what a person may have deleted by then: the file's name and the prompt."""
        return replace(self, details={}, outcome=outcome)


def write_note(path: Path, note: PartNote) -> None:
    """Raises DiskFullError."""
    value = asdict(note) | {"created_at": note.created_at.isoformat()}
    write_durably(path, json.dumps(value, ensure_ascii=True).encode(), steps="note")


def read_note(path: Path) -> PartNote | None:
    """None when it is gone or damaged."""
    try:
        value = json.loads(path.read_bytes())
        outcome = value.pop("outcome")
        note = PartNote(
            **{**value, "created_at": datetime.fromisoformat(value["created_at"])},
            outcome=None if outcome is None else Outcome(**outcome),
        )
    except (OSError, *UNREADABLE):
        return None
    is_sound = isinstance(note.length, int) and isinstance(note.synced, int) and isinstance(note.details, dict)
    return note if is_sound and note.id == path.stem else None
