"""Puts right what can be put right without losing anything. Needs the data folder's lock.

What cannot be made again is never removed: files that no task has go to DATA_DIR/lost+found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import delete

from optimizer.common.atomic_files import PRIVATE_FOLDER
from optimizer.storage import search_index
from optimizer.storage.database import Database
from optimizer.storage.inspection import Fault, Finding, orphans_of
from optimizer.storage.schema import TABLES_OF_A_TASK
from optimizer.storage.search_filler import SearchFiller
from optimizer.storage.task_files import TaskFiles
from whisper_core.common.durable_files import sync_folder

LOST_AND_FOUND = "lost+found"
_REMOVED = frozenset({Fault.SAMPLES_WITHOUT_TASK, Fault.WAVEFORM_WITHOUT_TASK, Fault.UPLOAD_EXPIRED, Fault.LEFTOVER})
_MOVED = frozenset({Fault.RECORDING_WITHOUT_TASK, Fault.TRANSCRIPT_WITHOUT_TASK})


class Repair:
    def __init__(self, root: Path, database: Database) -> None:
        """root: the data folder. database: opened."""
        self._root = root
        self._database = database

    def repair(self, findings: list[Finding]) -> Iterator[tuple[Finding, str | None]]:
        """Each finding, and what was done about it; None when nothing can be done without a person."""
        for finding in findings:
            yield finding, self._repair(finding)

    def _repair(self, finding: Finding) -> str | None:
        if finding.fault in _REMOVED:
            (self._root / finding.subject).unlink(missing_ok=True)
            return "removed"
        if finding.fault in _MOVED:
            return f"moved to {self._move_aside(self._root / finding.subject)}"
        if finding.fault is Fault.ROWS_WITHOUT_TASK:
            with self._database.writing() as connection:
                table = TABLES_OF_A_TASK[finding.subject]
                removed = connection.execute(delete(table).where(orphans_of(table))).rowcount
            return f"removed {removed}"
        if finding.fault is Fault.SEARCH_DISAGREES:
            return self._fill_search()
        return None

    def _fill_search(self) -> str:
        with self._database.writing() as connection:
            search_index.rebuild(connection)
        filler = SearchFiller(self._database, TaskFiles(self._root))
        while filler.fill():
            pass
        return "made anew"

    def _move_aside(self, path: Path) -> Path:
        """Returns the new place below the data folder. A file that is there already stays."""
        relative = Path(LOST_AND_FOUND) / path.relative_to(self._root)
        folder = self._root / relative.parent
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        number = 1
        while (self._root / relative).exists():
            number += 1
            relative = relative.with_name(f"{path.name}.{number}")
        os.rename(path, self._root / relative)
        sync_folder(folder)
        sync_folder(path.parent)
        return relative
