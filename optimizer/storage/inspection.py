"""What the database and the files of a data folder disagree on. Reads only, also beside a running server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from errors import BadRecordError
from optimizer.storage import edit_rows, mapping, search_check
from optimizer.storage.schema import TABLES_OF_A_TASK, tasks
from optimizer.storage.task_files import PART_LIFETIME, TaskFiles
from optimizer.tasks.task import Task, TaskStatus

SETTLING = timedelta(minutes=10)  # beside a running server: the file of a task that is being stored is no finding
_HASHED_BYTES = 1 << 20


class Fault(Enum):
    """The value says it of a task or of a file."""

    RECORDING_MISSING = "its recording is gone"
    RECORDING_ALTERED = "its recording is not the file that was uploaded"
    TRANSCRIPT_MISSING = "its transcript is gone"
    TRANSCRIPT_ALTERED = "its transcript has a wrong checksum"
    ROW_UNREADABLE = "its row in the database cannot be read"
    EDITS_UNREADABLE = "what people changed in its transcript cannot be read"
    ROWS_WITHOUT_TASK = "rows of tasks that are not there any more"
    RECORDING_WITHOUT_TASK = "a recording that no task has"
    TRANSCRIPT_WITHOUT_TASK = "a transcript that no completed task has"
    SAMPLES_WITHOUT_TASK = "samples that no task has"
    WAVEFORM_WITHOUT_TASK = "a waveform that no task has"
    UPLOAD_EXPIRED = "an upload that stopped arriving more than a day ago"
    LEFTOVER = "a file that was not written to its end"
    SEARCH_DISAGREES = "it does not have the words of the texts"
    NOT_A_FILE = "not a plain file, so it is not ours"


@dataclass(frozen=True)
class Finding:
    fault: Fault
    subject: str  # a task's id, a table's name or a file's path below the data folder

    def __str__(self) -> str:
        return f"{self.subject}: {self.fault.value}"


class DataInspection:
    """One look at a data folder."""

    def __init__(self, files: TaskFiles, now: datetime, *, is_served: bool, reads_recordings: bool = False) -> None:
        """is_served: a server works on it, so what is young may be on its way. reads_recordings: compare their
        checksums as well, not only their sizes."""
        self._files = files
        self._now = now
        self._is_served = is_served
        self._reads_recordings = reads_recordings

    def findings(self, connection: Connection) -> list[Finding]:
        """Beside a running server two looks are needed: what is found only once was on its way."""
        known: dict[str, TaskStatus | None] = {}
        found = []
        for row in connection.execute(select(tasks)):
            try:
                task = mapping.task_from_row(row)
            except BadRecordError:
                known[str(row.id)] = None
                found.append(Finding(Fault.ROW_UNREADABLE, str(row.id)))
                continue
            known[task.id] = task.status
            found += [Finding(fault, task.id) for fault in self._faults_of(task)]
        found += [Finding(Fault.EDITS_UNREADABLE, each) for each in edit_rows.ids_of_unreadable(connection)]
        found += [Finding(Fault.ROWS_WITHOUT_TASK, name) for name in _tables_with_orphans(connection)]
        if not search_check.agrees(connection):
            found.append(Finding(Fault.SEARCH_DISAGREES, "search_index"))
        return found + list(self._files_without_task(known))

    def _faults_of(self, task: Task) -> Iterator[Fault]:
        media = self._files.media_path(task.id)
        if task.media_removed_at is not None:
            pass
        elif not media.is_file():
            yield Fault.RECORDING_MISSING
        elif media.stat().st_size != task.size_bytes or (self._reads_recordings and sha256_of(media) != task.sha256):
            yield Fault.RECORDING_ALTERED
        if task.status is TaskStatus.COMPLETED:
            transcript = self._files.transcript_path(task.id)
            if not transcript.is_file():
                yield Fault.TRANSCRIPT_MISSING
            elif sha256_of(transcript) != task.result_sha256:
                yield Fault.TRANSCRIPT_ALTERED

    def _files_without_task(self, known: dict[str, TaskStatus | None]) -> Iterator[Finding]:
        completed = {task_id for task_id, status in known.items() if status in (TaskStatus.COMPLETED, None)}
        for folder, fault, wanted in (
            ("media", Fault.RECORDING_WITHOUT_TASK, known),
            ("transcripts", Fault.TRANSCRIPT_WITHOUT_TASK, completed),
            ("audio", Fault.SAMPLES_WITHOUT_TASK, known),
            ("waveforms", Fault.WAVEFORM_WITHOUT_TASK, known),
        ):
            yield from self._unknown_files(folder, fault, wanted)
        for path in _entries(self._files.root / "incoming"):
            if not path.name.endswith(".tmp") and self._is_older(path, PART_LIFETIME):
                yield self._finding(Fault.UPLOAD_EXPIRED, path)
        for name in (".", "incoming", "media", "audio", "transcripts", "waveforms"):
            for path in _entries(self._files.root / name):
                if path.name.endswith(".tmp") and not self._may_be_on_its_way(path):
                    yield self._finding(Fault.LEFTOVER, path)

    def _unknown_files(self, folder: str, fault: Fault, wanted: Collection[str]) -> Iterator[Finding]:
        for path in _entries(self._files.root / folder):
            if path.name.endswith(".tmp"):
                continue
            if path.is_symlink() or not path.is_file():
                yield self._finding(Fault.NOT_A_FILE, path)
            elif path.name.partition(".")[0] not in wanted and not self._may_be_on_its_way(path):
                yield self._finding(fault, path)

    def _may_be_on_its_way(self, path: Path) -> bool:
        return self._is_served and not self._is_older(path, SETTLING)

    def _is_older(self, path: Path, age: timedelta) -> bool:
        try:
            return path.lstat().st_mtime < (self._now - age).timestamp()
        except FileNotFoundError:
            return False

    def _finding(self, fault: Fault, path: Path) -> Finding:
        return Finding(fault, str(path.relative_to(self._files.root)))


def orphans_of(table: Any) -> Any:
    """The condition for rows whose task is not there any more."""
    return table.c.task_id.not_in(select(tasks.c.id))


def sha256_of(path: Path) -> str:
    """Hex digest. Follows no link."""
    digest = hashlib.sha256()
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        while data := file.read(_HASHED_BYTES):
            digest.update(data)
    return digest.hexdigest()


def _tables_with_orphans(connection: Connection) -> Iterator[str]:
    for name, table in TABLES_OF_A_TASK.items():
        if connection.execute(select(table.c.task_id).where(orphans_of(table)).limit(1)).first() is not None:
            yield name


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
