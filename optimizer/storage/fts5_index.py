"""The index of the search on SQLite: its FTS5, where Python's SQLite has it.

It knows tasks by their place in the queue, because its rows have numbers, and keeps no text of its own (`content=''`).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, column, select, table, text
from sqlalchemy.exc import DBAPIError

from optimizer.storage import search_erasure, search_words
from optimizer.storage.schema import IndexForm, task_texts, tasks
from optimizer.storage.search_words import Phrase
from optimizer.storage.word_index import Terms

FIRST_ROW = 0  # stays, see `search_erasure`; no task has this number
_READ_AT_ONCE = 200
_index = table("search_index", column("rowid", Integer), column("search_index"))
_CREATE = text(
    "CREATE VIRTUAL TABLE search_index USING fts5"
    "(words, content='', columnsize=0, detail=none, prefix='1 2 3', tokenize='ascii')"
)
_ADD = text("INSERT INTO search_index (rowid, words) VALUES (:seq, :words)")
_REMOVE = text("INSERT INTO search_index (search_index, rowid, words) VALUES ('delete', :seq, :words)")
_EXISTS = text("SELECT count(*) FROM sqlite_master WHERE name = 'search_index'")
_DROP = text("DROP TABLE search_index")
# FTS5's own tables as of an index without a word, so that one which is damaged, or which a later SQLite wrote, can be
# removed: that would be refused otherwise.
_EMPTY = (
    text("DELETE FROM search_index_idx"),
    text("DELETE FROM search_index_data"),
    text("INSERT INTO search_index_data (id, block) VALUES (1, x''), (10, x'00000000000000')"),
    text("UPDATE search_index_config SET v = 4 WHERE k = 'version'"),
)
_FIRST = text("SELECT rowid FROM search_index WHERE search_index MATCH :owner ORDER BY rowid LIMIT 1")
_NUMBERS = text("SELECT rowid FROM search_index WHERE search_index MATCH :owners")
_VOCABULARY = text("CREATE VIRTUAL TABLE temp.search_terms USING fts5vocab(main, search_index, row)")
_TERMS = text("SELECT term, doc FROM temp.search_terms")
_FORGET = text("DROP TABLE temp.search_terms")


@cache
def has_fts5() -> bool:
    """Whether Python's SQLite has it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(words)")
        except sqlite3.OperationalError:
            return False
    return True


class Fts5Index:
    """See WordIndex."""

    def change(self, connection: Connection, changes: Sequence[Terms]) -> None:
        """All removals come first, as tasks may move to each other's places."""
        gone, new = [], []
        for _, seq, before, after in changes:
            if not isinstance(seq, int):
                continue
            if removed := before - after:
                gone.append({"seq": seq, "words": " ".join(removed)})
            # FTS5 counts rows: one that stays must not be counted out.
            if (added := after - before) or (removed and after):
                new.append({"seq": seq, "words": " ".join(added)})
        if gone:
            connection.execute(_REMOVE, gone)
            search_erasure.note_removal(connection)
        if new:
            connection.execute(_ADD, new)

    def move(self, connection: Connection, changes: Sequence[Terms]) -> None:
        self.change(connection, changes)

    def matches(self, phrases: Sequence[Phrase], owner: str | None) -> Select[Any]:
        expression = search_words.match_expression(phrases, owner)
        return select(_index.c.rowid).where(_index.c.search_index.op("MATCH", is_comparison=True)(expression))

    def is_found(
        self, connection: Connection, phrases: Sequence[Phrase], owner: str | None, *, is_in_order: bool
    ) -> ColumnElement[bool]:
        # As a sum SQLite does not look every number up, which for a frequent word takes longer than to go through an
        # index of the tasks and see which are among the numbers.
        seq = tasks.c.seq if is_in_order else tasks.c.seq + 0
        return seq.in_(self.matches(phrases, owner))

    def prepare(self, connection: Connection) -> bool:
        search_erasure.prepare(connection)
        if connection.scalar(_EXISTS) == 0:
            return False
        try:
            first: int | None = connection.scalar(_FIRST, {"owner": search_words.match_expression((), "")})
        except DBAPIError:
            return False
        return first == FIRST_ROW

    def rebuild(self, connection: Connection) -> None:
        if empty(connection):
            connection.execute(_DROP)
        connection.execute(_CREATE)
        connection.execute(_ADD, {"seq": FIRST_ROW, "words": search_words.owner_term("")})

    def agrees(self, connection: Connection) -> bool:
        numbers, fingerprint = {FIRST_ROW}, _fingerprint([search_words.owner_term("")])
        query = select(task_texts.c.folded_text, tasks.c.seq, tasks.c.owner)
        query = query.join(tasks, tasks.c.id == task_texts.c.task_id)
        query = query.where(task_texts.c.index_form == IndexForm.INDEXED)
        for part in connection.execution_options(yield_per=_READ_AT_ONCE).execute(query).partitions():
            for row in part:
                numbers.add(row.seq)
                fingerprint += _fingerprint(search_words.terms_of(row.folded_text, str(row.owner)))
        if not connection.scalar(_EXISTS):  # a backup may be without it
            return numbers == {FIRST_ROW}
        try:
            return numbers == _indexed_numbers(connection) and fingerprint == _indexed_fingerprint(connection)
        except DBAPIError:  # it is damaged, or not there
            return False


def empty(connection: Connection) -> bool:
    """Takes every word out of an index that is there, whatever is wrong with it. Returns whether there is one."""
    if not connection.scalar(_EXISTS):
        return False
    for statement in _EMPTY:
        connection.execute(statement)
    return True


def leave_out(connection: sqlite3.Connection) -> None:
    """Of a copy of the database."""
    if has_fts5() and connection.execute(_EXISTS.text).fetchone() == (1,):
        connection.execute(_DROP.text)
        connection.execute("UPDATE search_removals SET count = 0")
        connection.execute("UPDATE task_texts SET index_form = 1 WHERE index_form = 2")


def _indexed_numbers(connection: Connection) -> set[int]:
    return set(connection.scalars(_NUMBERS, {"owners": search_words.every_owner()}))


def _indexed_fingerprint(connection: Connection) -> int:
    connection.execute(_VOCABULARY)
    try:
        return sum(zlib.crc32(term.encode()) * doc for term, doc in connection.execute(_TERMS))
    finally:
        connection.execute(_FORGET)


def _fingerprint(terms: Iterable[str]) -> int:
    """Adds up over tasks to that of the index, which knows in how many of them each term is."""
    return sum(zlib.crc32(term.encode()) for term in terms)
