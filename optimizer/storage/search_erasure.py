"""Makes removed words leave the file of the search's index, too.

FTS5 only notes that a word was removed, and lets go of it when it merges that part of its index. So after a deletion
all parts are merged into one: a step at a time, so that nobody waits long for a turn to write. That a merge is due is
kept in the database, so a killed server's successor does it.

A merge of a single part does nothing, so there is always a second one: the index has a first row that is never removed,
and so a removal is in a later part than what it removes.

Newer versions of SQLite can remove words at once (`secure-delete`). With 3.54 one in 30,000 stayed in the file, as the
border between two pages of the index.
"""

from __future__ import annotations

import threading

from sqlalchemy import Connection, insert, select, text, update

from optimizer.storage.database import Database
from optimizer.storage.schema import search_removals

STEP_PAGES = 250  # of 4 kB; a step takes about 20 ms
STEPS = 8  # of one call
_IS_DUE = select(search_removals.c.count)
_NOTE = update(search_removals).values(count=search_removals.c.count + 1)
_MERGE = text("INSERT INTO search_index (search_index, rank) VALUES ('merge', :pages)")


def note_removal(connection: Connection) -> None:
    """In the transaction of the removal."""
    connection.execute(_NOTE)


def prepare(connection: Connection) -> None:
    if connection.execute(_IS_DUE).first() is None:
        connection.execute(insert(search_removals).values(id=1, count=0))


class SearchErasure:
    """Any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()  # of those who delete at the same time, one merges
        self._merging: int | None = None  # how many removals there were when the merge under way began

    def erase(self) -> bool:
        """Some steps of the merge that is due. Returns whether nothing removed is left in the index. Raises
        StoreBusyError, DiskFullError, DatabaseDamagedError."""
        with self._lock:
            return any(self._step() for _ in range(STEPS))

    def _step(self) -> bool:
        with self._database.reading() as connection:
            due = connection.scalar(_IS_DUE) or 0
        if due == 0:
            return True
        with self._database.writing() as connection:
            is_merged = not self._merge(connection, is_new=self._merging is None)
            if self._merging is None:
                self._merging = due
            if not is_merged:
                return False
            since = search_removals.c.count - self._merging
            connection.execute(update(search_removals).values(count=since))
            self._merging = None
        return False

    def _merge(self, connection: Connection, *, is_new: bool) -> bool:
        """Returns whether there may be more to do. A new merge takes every part there is now."""
        raw = connection.connection.dbapi_connection
        before = raw.total_changes  # type: ignore[union-attr]
        connection.execute(_MERGE, {"pages": -STEP_PAGES if is_new else STEP_PAGES})
        return bool(raw.total_changes - before >= 2)  # type: ignore[union-attr] # so the documentation says
