"""Whether the search's index has the words of `task_texts`, all of them and nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from optimizer.storage import search_words
from optimizer.storage.schema import task_texts, tasks
from optimizer.storage.search_index import FIRST_ROW, IndexForm, is_indexed

_READ_AT_ONCE = 200
_NUMBERS = text("SELECT rowid FROM search_index WHERE search_index MATCH :owners")
_EXISTS = text("SELECT count(*) FROM sqlite_master WHERE name = 'search_index'")
_VOCABULARY = text("CREATE VIRTUAL TABLE temp.search_terms USING fts5vocab(main, search_index, row)")
_TERMS = text("SELECT term, doc FROM temp.search_terms")
_FORGET = text("DROP TABLE temp.search_terms")


def agrees(connection: Connection) -> bool:
    """Also where there is no index. Changes nothing; reads all texts and the whole index."""
    if not is_indexed(connection):
        return True
    numbers, fingerprint = {FIRST_ROW}, _fingerprint([search_words.owner_term("")])
    query = select(task_texts.c.folded_text, tasks.c.seq, tasks.c.owner).join(tasks, tasks.c.id == task_texts.c.task_id)
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
