"""What the list's search looks through, and the index of it, if there is one.

`task_texts` has the words of every task (`search_words.spaced`), which is all that is needed to search. The index is
made of `task_texts` alone and says which tasks have a word without reading their texts; see `word_index`. An SQLite
without FTS5 looks through the words.

Rows that an earlier release wrote have `index_form` RAW and are brought up to date in the background
(`search_filler`); until then they are looked through as that release did, so nothing is missed.

Every task in the index has its owner as one of its words, which nobody can type. So a search of one owner's tasks
reads nothing of the others', and costs what that owner's tasks do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from errors import InvalidOptionError
from optimizer.storage import fts5_index, search_words
from optimizer.storage.fts5_index import Fts5Index, has_fts5
from optimizer.storage.schema import IndexForm, task_texts, tasks
from optimizer.storage.search_words import Phrase
from optimizer.storage.tsvector_index import TsvectorIndex
from optimizer.storage.word_index import Terms, WordIndex
from optimizer.tasks.search_hit import HitField, Sentence
from optimizer.tasks.task import Task
from whisper_core.text.transcript import Segment

MAX_QUERY_CHARACTERS = 500
MOST_COMPARED = 500  # texts, to count those that have a phrase: it takes some 40 us each
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


@dataclass(frozen=True)
class SearchedText:
    """A task and what the search finds it by."""

    task: Task
    text: str | None  # None: as it is
    sentences: Sequence[Sentence] | None = None  # what a hit shows; None: as they are


def index_of(connection: Connection) -> WordIndex | None:
    """This database's, None where it has none."""
    if connection.dialect.name == "postgresql":
        return TsvectorIndex()
    return Fts5Index() if has_fts5() else None


def form_now(connection: Connection) -> IndexForm:
    """What every row should be in."""
    return IndexForm.WORDS if index_of(connection) is None else IndexForm.INDEXED


# What the search looks through


def add(connection: Connection, task: Task) -> None:
    """A new task, which has only its names."""
    words = "\n".join([search_words.spaced([""]), _name_lines(task)])
    row = {"task_id": task.id, "folded_text": words, "index_form": form_now(connection)}
    connection.execute(_INSERT, row)
    _change(connection, [Terms(task.id, task.seq, set(), search_words.terms_of(words, task.owner))])


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
        changes.append(Terms(row.task_id, row.seq, _terms_of(row), search_words.terms_of(words, str(row.owner))))
    if rows:
        connection.execute(_UPDATE, rows)
    if rows_with_sentences:
        connection.execute(_UPDATE_WITH_SENTENCES, rows_with_sentences)
    _change(connection, changes)


def move(connection: Connection, before: Mapping[str, int]) -> None:
    """Tasks have other places in the queue, by which an index may know them. before: their earlier ones, by id."""
    index, changes = index_of(connection), []
    for row in _rows(connection, before) if index is not None else ():
        task_id, terms = row.task_id, _terms_of(row)
        changes += [Terms(task_id, before[task_id], terms, set()), Terms(task_id, row.seq, set(), terms)]
    if index is not None:
        index.move(connection, changes)


def remove(connection: Connection, task_id: str) -> None:
    """Its words leave the index and `task_texts`."""
    _change(connection, [Terms(task_id, row.seq, _terms_of(row), set()) for row in _rows(connection, [task_id])])
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


def _change(connection: Connection, changes: Sequence[Terms]) -> None:
    index = index_of(connection)
    if index is not None:
        index.change(connection, changes)


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
    index, form = index_of(connection), form_now(connection)
    is_postgresql = connection.dialect.name == "postgresql"
    if index is not None:
        is_many = is_count and _are_many(connection, index.matches(phrases, owner))
        is_whole = [] if is_many else _whole(phrases, is_postgresql=is_postgresql)
        parts.append(and_(index.is_found(connection, phrases, owner, is_in_order=is_in_order), *is_whole))
    rest = task_texts.c.index_form < form if form is IndexForm.INDEXED else task_texts.c.index_form <= form
    if connection.execute(select(task_texts.c.task_id).where(rest).limit(1)).first() is not None:
        parts += _in_texts(phrases, is_postgresql=is_postgresql)
    return or_(false(), *parts)


def _are_many(connection: Connection, matches: Select[Any]) -> bool:
    found = connection.scalar(select(func.count()).select_from(matches.limit(MOST_COMPARED + 1).subquery()))
    return (found or 0) > MOST_COMPARED


def _whole(phrases: Sequence[Phrase], *, is_postgresql: bool) -> list[ColumnElement[bool]]:
    """The index knows which two words stand beside each other. Of longer phrases it finds what has all of the pairs."""
    find, text = func.strpos if is_postgresql else func.instr, task_texts.c.folded_text
    longer = [find(text, search_words.spaced_phrase(each)) > 0 for each in phrases if len(each.words) > 2]
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
    index = index_of(connection)
    if index is None:
        fts5_index.empty(connection)  # without FTS5 it could not follow, and nothing that is deleted now may stay in it
        _mark_unindexed(connection)
    elif not index.prepare(connection):
        rebuild(connection)


def rebuild(connection: Connection) -> None:
    """An empty index; `search_filler` fills it."""
    index = index_of(connection)
    if index is not None:
        index.rebuild(connection)
    _mark_unindexed(connection)


def _mark_unindexed(connection: Connection) -> None:
    indexed = task_texts.c.index_form == IndexForm.INDEXED
    connection.execute(update(task_texts).where(indexed).values(index_form=IndexForm.WORDS))
