"""Copies the database of a data folder into an empty one of PostgreSQL, in one transaction: all of it or nothing.

What was copied is read again before the commit and compared, table by table. SQLite's file is only read. The search's
index is not copied: it is made of `task_texts`, which the next start does in the background.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Table, func, insert, inspect, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from errors import DatabaseMoveError
from optimizer.common.failpoints import failpoint
from optimizer.storage.database import Database, database_url
from optimizer.storage.migrate import create_tables
from optimizer.storage.read_only import reading, sqlite_file
from optimizer.storage.schema import IndexForm, metadata, search_removals, task_texts

_READ_AT_ONCE = 16  # rows, of which a few have a whole transcript's text
_WRITTEN_AT_ONCE = 1000
_PART_CHARACTERS = 8_000_000  # of one row's and the others' texts together, unless it is a single row
Values = dict[str, Any]


def move_database(data_dir: Path, source: str, target: str) -> dict[str, int]:
    """source: as DATABASE_URL, of SQLite. target: of PostgreSQL. The caller holds the data folder's lock.

    Returns how many rows each table has. Raises DatabaseMoveError, InvalidSettingsError, DatabaseUnreachableError,
    DatabaseInUseError, DatabaseDamagedError, StoreBusyError, DiskFullError; then nothing was copied.
    """
    if sqlite_file(data_dir, source) is None:
        raise DatabaseMoveError("DATABASE_URL names PostgreSQL already. Only a database of SQLite's can be moved.")
    with closing(_Target(data_dir, target)) as database:
        database.open()
        with reading(data_dir, source) as original, database.writing() as copy:
            return _copy(original, copy)


class _Target:
    """The new database. No server may use it meanwhile."""

    def __init__(self, data_dir: Path, url: str) -> None:
        if sqlite_file(data_dir, url) is not None:
            raise DatabaseMoveError("Name a PostgreSQL database: postgresql://USER:PASSWORD@HOST/NAME")
        self._data_dir = data_dir
        self._database = Database(database_url(url, data_dir))
        self.writing = self._database.writing

    def open(self) -> None:
        self._database.dialect.check_start(self._data_dir)

    def close(self) -> None:
        self._database.dialect.end_serving()
        self._database.close()


def _copy(original: Connection, copy: Connection) -> dict[str, int]:
    if inspect(copy).get_table_names():
        raise DatabaseMoveError("The database is not empty. Make another one with createdb, or remove its tables.")
    _lift_limits(copy)
    create_tables(copy)
    counts = {}
    for table in metadata.sorted_tables:
        if table is search_removals:  # of SQLite's index
            continue
        written = _Summary()
        try:
            for part in _parts(_rows_of_original(original, table)):
                copy.execute(insert(table), part)
                written.add(part)
        except (IntegrityError, DataError, ProgrammingError) as error:
            raise DatabaseMoveError(
                f"{table.name} has rows that PostgreSQL does not take, so nothing was copied. `python main.py doctor` "
                "says what is wrong with them."
            ) from error
        _go_on_counting(copy, table)
        found = _Summary()
        for part in _parts(_rows(copy, table)):
            found.add(part)
        if found.value != written.value:
            raise DatabaseMoveError(f"{table.name} was not copied as it is, so nothing was kept of the copy.")
        counts[table.name] = found.number
    copy.execute(text("ANALYZE"))  # until it looks by itself, PostgreSQL would read whole tables
    failpoint("move.before_commit")
    return counts


class _Summary:
    """Of rows in any order, because a NUL that PostgreSQL does not keep may be part of a key: how many, and a sum of
    their checksums."""

    def __init__(self) -> None:
        self.number = 0
        self._sum = 0

    def add(self, rows: list[Values]) -> None:
        self.number += len(rows)
        for row in rows:
            text_of_row = json.dumps(list(row.values()), ensure_ascii=False)
            self._sum += int.from_bytes(hashlib.sha256(text_of_row.encode()).digest(), "big")

    @property
    def value(self) -> tuple[int, int]:
        return self.number, self._sum


def _parts(rows: Iterable[Values]) -> Iterator[list[Values]]:
    """What may be in memory and on its way at once."""
    part: list[Values] = []
    characters = 0
    for row in rows:
        size = sum(len(value) for value in row.values() if isinstance(value, str))
        if part and (len(part) == _WRITTEN_AT_ONCE or characters + size > _PART_CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(row)
        characters += size
    if part:
        yield part


def _rows_of_original(original: Connection, table: Table) -> Iterator[Values]:
    try:
        for row in _rows(original, table):
            if any(isinstance(value, bytes) for value in row.values()):
                raise _unreadable(table)
            yield row
    except DBAPIError as error:  # a text that is none, or a damaged page
        raise _unreadable(table) from error


def _unreadable(table: Table) -> DatabaseMoveError:
    return DatabaseMoveError(
        f"{table.name} has rows that cannot be read as text, so nothing was copied. `python main.py doctor` says what "
        "is wrong with them."
    )


def _rows(connection: Connection, table: Table) -> Iterator[Values]:
    """As they are in PostgreSQL."""
    names = [column.key for column in table.columns]
    # For this statement alone: with PostgreSQL, writing ones cannot be carried out like this.
    for row in connection.execute(select(table), execution_options={"yield_per": _READ_AT_ONCE}):
        yield _as_in_postgresql(table, dict(zip(names, row, strict=True)))


def _as_in_postgresql(table: Table, row: Values) -> Values:
    from optimizer.storage.postgresql_session import without_nul

    kept = {name: without_nul(value) if isinstance(value, str) else value for name, value in row.items()}
    if table is task_texts and kept["index_form"] == IndexForm.INDEXED:
        kept["index_form"] = IndexForm.WORDS.value
    return kept


def _lift_limits(copy: Connection) -> None:
    from optimizer.storage.postgresql_session import lift_limits

    lift_limits(copy)


def _go_on_counting(copy: Connection, table: Table) -> None:
    """Numbers that the database gives to new rows begin after those that are there."""
    column: Column[Any] | None = table.autoincrement_column
    if column is None or column.foreign_keys:
        return
    last = copy.scalar(select(func.max(column)))
    if last is not None:
        sequence = text("SELECT setval(pg_get_serial_sequence(:of_table, :of_column), :next_or_last, :is_last)")
        number = {"next_or_last": max(last, 1), "is_last": last >= 1}  # none begins below 1
        copy.execute(sequence, {"of_table": table.name, "of_column": column.name, **number})
