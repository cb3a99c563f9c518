"""What is known of the files of a watched folder, in the database.

A file is known by its path, and is a new one when its size or time changes. Paths are kept only while there is
something to do; afterwards only their hashes are, so that a deleted task leaves no name behind.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import delete, insert, select, update

from optimizer.storage import watched_files as rows_of_tasks
from optimizer.storage.database import Database
from optimizer.storage.schema import watched_files
from optimizer.watching.found_files import FoundFile


class WatchState(Enum):
    TAKING = "taking"  # stored before its task is, with the id that this will have
    WAITING = "waiting"  # for the task's end, or for its transcripts to be written
    ENDED = "ended"  # without a text; somebody may begin the task anew
    DONE = rows_of_tasks.DONE


@dataclass(frozen=True)
class WrittenFile:
    name: str
    sha256: str


@dataclass(frozen=True)
class WatchedFile:
    """names: the files that are written for it, or are about to be, by their endings: `srt`, `error.txt`. written: the
    SHA-256 of those that were written for this path so far, by the hash of their names."""

    found: FoundFile
    content_key: str
    task_id: str
    state: WatchState
    names: Mapping[str, WrittenFile] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DoneFile:
    """What is left of one that is done."""

    content_key: str
    written: Mapping[str, str]


def key_of(path: str, *more: str) -> str:
    return hashlib.sha256(b"\0".join(map(os.fsencode, (path, *more)))).hexdigest()


class WatchStore:
    """Any thread. Methods raise what Database raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self) -> dict[str, tuple[int, int]]:
        """Size and time of each file that was taken, by the hash of its path."""
        query = select(watched_files.c.path_key, watched_files.c.size, watched_files.c.mtime_ns)
        with self._database.reading() as connection:
            return {row.path_key: (row.size, row.mtime_ns) for row in connection.execute(query)}

    def unfinished(self) -> list[WatchedFile]:
        query = select(watched_files).where(watched_files.c.state != WatchState.DONE.value)
        with self._database.reading() as connection:
            return [_watched(row) for row in connection.execute(query)]

    def find(self, path: str) -> WatchedFile | DoneFile | None:
        query = select(watched_files).where(watched_files.c.path_key == key_of(path))
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return _done(row) if row.details is None else _watched(row)

    def save(self, watched: WatchedFile) -> None:
        details = {"path": watched.found.path, "names": {each: vars(it) for each, it in watched.names.items()}}
        self._put(watched.found, watched.content_key, watched.state, watched.task_id, details, watched.written)

    def save_done(self, found: FoundFile, content_key: str, written: Mapping[str, str]) -> None:
        self._put(found, content_key, WatchState.DONE, None, None, written)

    def remove(self, path: str) -> None:
        """A file of that path is a new one."""
        with self._database.writing() as connection:
            connection.execute(delete(watched_files).where(watched_files.c.path_key == key_of(path)))

    def _put(
        self,
        found: FoundFile,
        content_key: str,
        state: WatchState,
        task_id: str | None,
        details: dict[str, Any] | None,
        written: Mapping[str, str],
    ) -> None:
        values = {
            "size": found.size,
            "mtime_ns": found.mtime_ns,
            "content_key": content_key,
            "state": state.value,
            "task_id": task_id,
            "details": None if details is None else json.dumps(details),
            "written": json.dumps(dict(written)),
        }
        key = key_of(found.path)
        with self._database.writing() as connection:
            changed = connection.execute(update(watched_files).where(watched_files.c.path_key == key).values(values))
            if not changed.rowcount:
                connection.execute(insert(watched_files).values(path_key=key, **values))


def all_written(watched: WatchedFile) -> dict[str, str]:
    return {**watched.written, **{key_of(each.name): each.sha256 for each in watched.names.values()}}


def _watched(row: Any) -> WatchedFile:
    details = json.loads(row.details)
    return WatchedFile(
        FoundFile(details["path"], row.size, row.mtime_ns),
        row.content_key,
        row.task_id,
        WatchState(row.state),
        {ending: WrittenFile(**each) for ending, each in details["names"].items()},
        json.loads(row.written),
    )


def _done(row: Any) -> DoneFile:
    return DoneFile(row.content_key, json.loads(row.written))
