"""The index of the search on PostgreSQL: a table with the terms of each task as a `tsvector`, and a GIN index of it.

The terms are ours, so PostgreSQL's dictionaries and its notion of words have no part in it, and a query finds what it
finds on SQLite. A `tsvector` takes a megabyte at most: the terms of a very long text are in several rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    cast,
    column,
    delete,
    func,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.types import UserDefinedType

from optimizer.storage import search_words
from optimizer.storage.schema import IndexForm, task_texts, tasks
from optimizer.storage.search_words import Phrase, Term
from optimizer.storage.word_index import Terms

PART_BYTES = 700_000  # of terms; each takes up to four bytes more
FEW = 1_000  # of which a page is found faster by their ids than by a walk through the tasks
_READ_AT_ONCE = 200
_index = table("search_index", column("task_id", String), column("part", Integer), column("terms"))
_CREATE = (
    text(
        'CREATE TABLE search_index (task_id text COLLATE "C" NOT NULL REFERENCES tasks (id) ON DELETE CASCADE, '
        "part integer NOT NULL, terms tsvector NOT NULL, PRIMARY KEY (task_id, part))"
    ),
    text("CREATE INDEX ix_search_index_terms ON search_index USING gin (terms)"),
    text("CREATE INDEX ix_search_index_parts ON search_index (task_id) WHERE part > 0"),
)
_EXISTS = text("SELECT to_regclass('search_index') IS NOT NULL")
_DROP = text("DROP TABLE IF EXISTS search_index")
_REMOVE = delete(_index).where(_index.c.task_id.in_(bindparam("task_ids", expanding=True)))
_ADD = text("INSERT INTO search_index VALUES (:task_id, :part, array_to_tsvector(CAST(:terms AS text[])))")
_HAS_PARTS = select(_index.c.task_id).where(_index.c.part > 0)
_TERMS = select(_index.c.task_id, func.tsvector_to_array(_index.c.terms).label("terms")).where(
    _index.c.task_id.in_(bindparam("task_ids", expanding=True))
)


class _Tsquery(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "tsquery"


class TsvectorIndex:
    """See WordIndex."""

    def change(self, connection: Connection, changes: Sequence[Terms]) -> None:
        changed = [each for each in changes if each.before != each.after]
        gone = [each.task_id for each in changed if each.before]
        if gone:
            connection.execute(_REMOVE, {"task_ids": gone})
        new = [row for each in changed for row in _rows_of(each)]
        if new:
            connection.execute(_ADD, new)

    def move(self, connection: Connection, changes: Sequence[Terms]) -> None:
        """Nothing to do: it knows tasks by their ids."""

    def matches(self, phrases: Sequence[Phrase], owner: str | None) -> Select[Any]:
        return select(_index.c.task_id).where(_has(search_words.match_terms(phrases, owner)))

    def is_found(
        self, connection: Connection, phrases: Sequence[Phrase], owner: str | None, *, is_in_order: bool
    ) -> ColumnElement[bool]:
        matches = self.matches(phrases, owner)
        if connection.execute(_HAS_PARTS.limit(1)).first() is None:
            few = _few(connection, matches)
            return tasks.c.id.in_(matches if few is None else few)
        in_one_row = tasks.c.id.in_(matches)
        of_parts = [_index.c.task_id.in_(_HAS_PARTS)]
        in_some_row = (
            tasks.c.id.in_(select(_index.c.task_id).where(*of_parts, _has([term])))
            for term in search_words.match_terms(phrases, owner)
        )
        return or_(in_one_row, and_(*in_some_row))

    def prepare(self, connection: Connection) -> bool:
        return bool(connection.scalar(_EXISTS))

    def rebuild(self, connection: Connection) -> None:
        connection.execute(_DROP)
        for statement in _CREATE:
            connection.execute(statement)

    def agrees(self, connection: Connection) -> bool:
        is_indexed = task_texts.c.index_form == IndexForm.INDEXED
        if not self.prepare(connection):
            return connection.execute(select(task_texts.c.task_id).where(is_indexed).limit(1)).first() is None
        query = select(task_texts.c.task_id, task_texts.c.folded_text, tasks.c.owner)
        query = query.join(tasks, tasks.c.id == task_texts.c.task_id).where(is_indexed)
        number = 0
        for part in connection.execute(query, execution_options={"yield_per": _READ_AT_ONCE}).partitions():
            number += len(part)
            expected = {row.task_id: search_words.terms_of(row.folded_text, str(row.owner)) for row in part}
            if _terms_in_index(connection, expected) != expected:
                return False
        return connection.scalar(select(func.count(_index.c.task_id.distinct()))) == number


def _rows_of(change: Terms) -> Iterator[dict[str, Any]]:
    for part, terms in enumerate(_parts(sorted(change.after))):
        yield {"task_id": change.task_id, "part": part, "terms": terms}


def _parts(terms: Iterable[str]) -> Iterator[list[str]]:
    """As many lists as are needed."""
    part: list[str] = []
    size = 0
    for term in terms:
        size += len(term.encode()) + 4
        if size > PART_BYTES and part:
            yield part
            part, size = [], len(term.encode()) + 4
        part.append(term)
    if part:
        yield part


def _has(terms: Iterable[Term]) -> ColumnElement[bool]:
    """All of them, in one row."""
    query = " & ".join(f"{_quoted(term.text)}{':*' if term.is_prefix else ''}" for term in terms)
    condition: ColumnElement[bool] = _index.c.terms.op("@@", is_comparison=True)(cast(query, _Tsquery()))
    return condition


def _few(connection: Connection, matches: Select[Any]) -> list[str] | None:
    """The ids that match; None when there are more than FEW.

    PostgreSQL takes a fiftieth of all texts for what a prefix finds, and where a page of them is wanted it goes through
    the tasks from the newest on: through all of them, where few match. Materialized, so that it looks into the index
    instead; it stops when there are enough all the same.
    """
    found = matches.cte("found").prefix_with("MATERIALIZED")
    ids = connection.execute(select(found.c.task_id).limit(FEW + 1)).scalars().all()
    return None if len(ids) > FEW else list(ids)


def _quoted(term: str) -> str:
    """Terms are letters and digits, so nothing in them means anything to PostgreSQL; this keeps it so."""
    return "'" + term.replace("\\", "\\\\").replace("'", "''") + "'"


def _terms_in_index(connection: Connection, task_ids: Iterable[str]) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in connection.execute(_TERMS, {"task_ids": list(task_ids)}):
        found[row.task_id].update(row.terms)
    return dict(found)
