"""What the list's search looks through, and the index of it: SQLite's FTS5, where Python's SQLite has it.

`task_texts` has the words of every task (`search_words.spaced`), which is all that is needed to search. The index says
which tasks have a word, or two words beside each other, without reading their texts; it is made of `task_texts` alone
and keeps no text of its own (`content=''`). Other databases, and an SQLite without FTS5, look through the words.

Rows that an earlier release wrote have `index_form` RAW and are brought up to date in the background
(`search_filler`); until then they are looked through as that release did, so nothing is missed.

Every task in the index has its owner as one of its words, which nobody can type. So a search of one owner's tasks
reads nothing of the others', and costs what that owner's tasks do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    column,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    table,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from errors import InvalidOptionError
from optimizer.storage import search_erasure, search_words
from optimizer.storage.schema import task_texts, tasks
from optimizer.storage.search_words import Phrase
from optimizer.tasks.search_hit import HitField, Sentence
from optimizer.tasks.task import Task
from whisper_core.text.transcript import Segment

MAX_QUERY_CHARACTERS = 500
MOST_COMPARED = 500  # texts, to count those that have a phrase: it takes some 40 us each
FIRST_ROW = 0  # stays, see `search_erasure`; no task has this number
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
_INSERT = insert(task_texts)
_UPDATE = (
    update(task_texts)
    .where(task_texts.c.task_id == bindparam("of_task"))
    .values(folded_text=bindparam("words"), index_form=bindparam("form"))
)
_UPDATE_WITH_SENTENCES = _UPDATE.values(sentences=bindparam("packed"))
_ROWS = (
    select(task_texts.c.task_id, task_texts.c.folded_text, task_texts.c.index_form, tasks.c.seq, tasks.c.owner)
    .join(tasks, tasks.c.id == task_texts.c.task_id)
    .where(task_texts.c.task_id.in_(bindparam("task_ids", expanding=True)))
)


class IndexForm(IntEnum):
    """How `task_texts` has a task."""

    RAW = 0  # name and text, folded, as releases before the index wrote them
    WORDS = 1  # `spaced` words: of the text in the first line, of its names in the others
    INDEXED = 2  # likewise, and in the index


@dataclass(frozen=True)
class SearchedText:
    """A task and what the search finds it by."""

    task: Task
    text: str | None  # None: as it is
    sentences: Sequence[Sentence] | None = None  # what a hit shows; None: as they are


@cache
def has_fts5() -> bool:
    """Whether Python's SQLite has it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(words)")
        except sqlite3.OperationalError:
            return False
    return True


def is_indexed(connection: Connection) -> bool:
    """Whether this database has an index."""
    return connection.dialect.name == "sqlite" and has_fts5()


def form_now(connection: Connection) -> IndexForm:
    """What every row should be in."""
    return IndexForm.INDEXED if is_indexed(connection) else IndexForm.WORDS


# What the search looks through


def add(connection: Connection, task: Task) -> None:
    """A new task, which has only its names."""
    words = "\n".join([search_words.spaced([""]), _name_lines(task)])
    row = {"task_id": task.id, "folded_text": words, "index_form": form_now(connection)}
    connection.execute(_INSERT, row)
    _change(connection, [_Terms(task.seq, set(), search_words.terms_of(words, task.owner))])


def write(connection: Connection, texts: Iterable[SearchedText]) -> None:
    """Makes the search find these tasks by their present names, and by what is given of their texts."""
    wanted = {each.task.id: each for each in texts}
    if not wanted:
        return
    changes, rows, rows_with_sentences = [], [], []
    for row in _rows(connection, wanted):
        each = wanted[row.task_id]
        line = _text_line(row) if each.text is None else search_words.spaced([each.text])
        words = "\n".join([line, _name_lines(each.task)])
        values = {"of_task": row.task_id, "words": words, "form": form_now(connection)}
        if each.sentences is None:
            rows.append(values)
        else:
            rows_with_sentences.append({**values, "packed": pack(each.sentences)})
        changes.append(_Terms(row.seq, _terms_of(row), search_words.terms_of(words, str(row.owner))))
    if rows:
        connection.execute(_UPDATE, rows)
    if rows_with_sentences:
        connection.execute(_UPDATE_WITH_SENTENCES, rows_with_sentences)
    _change(connection, changes)


def move(connection: Connection, before: Mapping[str, int]) -> None:
    """Tasks have other places in the queue, by which the index knows them. before: their earlier ones, by id."""
    changes = []
    for row in _rows(connection, before):
        terms = _terms_of(row)
        changes += [_Terms(before[row.task_id], terms, set()), _Terms(row.seq, set(), terms)]
    _change(connection, changes)


def remove(connection: Connection, task_id: str) -> None:
    """Its words leave the index and `task_texts`."""
    _change(connection, [_Terms(row.seq, _terms_of(row), set()) for row in _rows(connection, [task_id])])
    connection.execute(delete(task_texts).where(task_texts.c.task_id == task_id))


def sentences_of(segments: Iterable[Segment]) -> tuple[Sentence, ...]:
    return tuple(Sentence(segment.id, segment.start, segment.text) for segment in segments)


def pack(sentences: Iterable[Sentence]) -> str:
    """A line of segments and starts, then a line for each sentence."""
    listed = list(sentences)
    places = " ".join(f"{each.segment}:{each.start:.2f}" for each in listed)
    return "\n".join([places, *(" ".join(each.text.split()) for each in listed)])


def _rows(connection: Connection, task_ids: Iterable[str]) -> Sequence[Any]:
    return connection.execute(_ROWS, {"task_ids": list(task_ids)}).all()


class _Terms(NamedTuple):
    """What the index has of the task at a place of the queue, and should have."""

    seq: object  # an int but in a damaged row, which `doctor` reports
    before: set[str]
    after: set[str]


def _change(connection: Connection, changes: Iterable[_Terms]) -> None:
    """All removals come first, as tasks may move to each other's places."""
    if not is_indexed(connection):
        return
    gone, new = [], []
    for seq, before, after in changes:
        if not isinstance(seq, int):
            continue
        if removed := before - after:
            gone.append({"seq": seq, "words": " ".join(removed)})
        if (added := after - before) or (removed and after):  # FTS5 counts rows: one that stays must not be counted out
            new.append({"seq": seq, "words": " ".join(added)})
    if gone:
        connection.execute(_REMOVE, gone)
        search_erasure.note_removal(connection)
    if new:
        connection.execute(_ADD, new)


def _terms_of(row: Any) -> set[str]:
    """What the index has of it."""
    return search_words.terms_of(row.folded_text, str(row.owner)) if row.index_form == IndexForm.INDEXED else set()


def _text_line(row: Any) -> str:
    names_or_text, _, rest = row.folded_text.partition("\n")
    return search_words.spaced([rest]) if row.index_form == IndexForm.RAW else str(names_or_text)


def names_of(task: Task) -> Iterator[tuple[HitField, str]]:
    """What the search finds it by beside its text."""
    if task.title is not None:
        yield HitField.TITLE, task.title
    yield HitField.FILENAME, task.filename
    if task.note:
        yield HitField.NOTE, task.note
    for tag in task.tags:
        yield HitField.TAG, tag


def _name_lines(task: Task) -> str:
    """Lines of a note are apart, as words of different names are."""
    return search_words.spaced(line for _, name in names_of(task) for line in name.splitlines() or [""])


# Searching


def found(
    connection: Connection, query: str, owner: str | None, *, is_in_order: bool = False, is_count: bool = False
) -> ColumnElement[bool]:
    """The condition for tasks of this owner (None: of all) that a query finds. is_in_order: they are read in order of
    arrival, as the index has them. is_count: only their number is asked for, and a phrase of three words or more that
    may be in very many texts is not compared with each of them. Raises InvalidOptionError."""
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidOptionError(f"q must have at most {MAX_QUERY_CHARACTERS} characters.", field="q")
    if "\0" in query:  # for a database it may be the end of the text
        raise InvalidOptionError("q must not contain a NUL.", field="q")
    phrases = search_words.read_query(query)
    if not phrases:
        return false()
    parts = []
    form = form_now(connection)
    if form is IndexForm.INDEXED:
        # As a sum SQLite does not look every number up, which for a frequent word takes longer than to go through an
        # index of the tasks and see which are among the numbers.
        seq = tasks.c.seq if is_in_order else tasks.c.seq + 0
        matches = _matches(phrases, owner)
        is_whole = [] if is_count and _are_many(connection, matches) else _whole(phrases)
        parts.append(and_(seq.in_(matches), *is_whole))
    rest = task_texts.c.index_form < form if form is IndexForm.INDEXED else task_texts.c.index_form <= form
    if connection.execute(select(task_texts.c.task_id).where(rest).limit(1)).first() is not None:
        parts += _in_texts(phrases, is_postgresql=connection.dialect.name == "postgresql")
    return or_(false(), *parts)


def _matches(phrases: Sequence[Phrase], owner: str | None) -> Select[tuple[int]]:
    expression = search_words.match_expression(phrases, owner)
    return select(_index.c.rowid).where(_index.c.search_index.op("MATCH", is_comparison=True)(expression))


def _are_many(connection: Connection, matches: Select[tuple[int]]) -> bool:
    found = connection.scalar(select(func.count()).select_from(matches.limit(MOST_COMPARED + 1).subquery()))
    return (found or 0) > MOST_COMPARED


def _whole(phrases: Sequence[Phrase]) -> list[ColumnElement[bool]]:
    """The index knows which two words stand beside each other. Of longer phrases it finds what has all of the pairs."""
    text = task_texts.c.folded_text
    longer = [func.instr(text, search_words.spaced_phrase(each)) > 0 for each in phrases if len(each.words) > 2]
    return [exists().where(task_texts.c.task_id == tasks.c.id, *longer)] if longer else []


def _in_texts(phrases: Sequence[Phrase], *, is_postgresql: bool) -> list[ColumnElement[bool]]:
    find = func.strpos if is_postgresql else func.instr
    of_task = task_texts.c.task_id == tasks.c.id
    words, form = task_texts.c.folded_text, task_texts.c.index_form
    has_words = [find(words, search_words.spaced_phrase(each)) > 0 for each in phrases]
    has_text = [find(words, each.written) > 0 for each in phrases]
    return [
        exists().where(of_task, form == IndexForm.WORDS, *has_words),
        exists().where(of_task, form == IndexForm.RAW, *has_text),
    ]


# Its life


def prepare(connection: Connection) -> None:
    """Makes the index where there is none, and makes it anew where it cannot be read. Rows that are not in it are left
    for `search_filler`."""
    if is_indexed(connection):
        if not _is_readable(connection):
            rebuild(connection)
        search_erasure.prepare(connection)
        return
    if connection.dialect.name == "sqlite" and connection.scalar(_EXISTS):
        _empty(connection)  # without FTS5 it could not follow, and nothing of what is deleted now may stay in it
    _mark_unindexed(connection)


def rebuild(connection: Connection) -> None:
    """An empty index; `search_filler` fills it."""
    if connection.scalar(_EXISTS):
        _empty(connection)
        connection.execute(_DROP)
    connection.execute(_CREATE)
    connection.execute(_ADD, {"seq": FIRST_ROW, "words": search_words.owner_term("")})
    _mark_unindexed(connection)


def leave_out(connection: sqlite3.Connection) -> None:
    """Of a copy of the database."""
    if has_fts5() and connection.execute(_EXISTS.text).fetchone() == (1,):
        connection.execute(_DROP.text)
        connection.execute("UPDATE search_removals SET count = 0")
        connection.execute("UPDATE task_texts SET index_form = 1 WHERE index_form = 2")


def _empty(connection: Connection) -> None:
    for statement in _EMPTY:
        connection.execute(statement)


def _mark_unindexed(connection: Connection) -> None:
    indexed = task_texts.c.index_form == IndexForm.INDEXED
    connection.execute(update(task_texts).where(indexed).values(index_form=IndexForm.WORDS))


def _is_readable(connection: Connection) -> bool:
    if connection.scalar(_EXISTS) == 0:
        return False
    try:
        first: int | None = connection.scalar(_FIRST, {"owner": search_words.match_expression((), "")})
    except DBAPIError:
        return False
    return first == FIRST_ROW
