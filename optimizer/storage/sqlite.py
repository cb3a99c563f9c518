"""SQLite: how it is set up, how a transaction begins, what its errors mean, and the files it consists of.

WAL lets readers and the one writer work side by side. With `synchronous=FULL` an acknowledged commit survives a power
cut. A writer takes its lock when it begins, because `busy_timeout` does not apply to a read transaction that becomes a
write.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.exc import DBAPIError

from errors import (
    DatabaseDamagedError,
    DataFolderUnusableError,
    DiskFullError,
    StoreBusyError,
    TranscriptionServerError,
)
from optimizer.common.atomic_files import PRIVATE_FILE, PRIVATE_FOLDER
from optimizer.common.failpoints import failpoint
from optimizer.storage.dialect import BUSY_TIMEOUT_MS, CANNOT_WRITE, KEPT_CONNECTIONS
from optimizer.storage.log_watch import LogWatch

log = logging.getLogger(__name__)

SHORT_WAIT_MS = 100  # for a writer's turn; what is shorter is not taken off BUSY_TIMEOUT_MS
_PRAGMAS = (
    f"busy_timeout = {BUSY_TIMEOUT_MS}",  # first, because the next ones may have to wait
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
)
_BEGIN = "sqlite_begin"
_IRREPLACEABLE_FOLDERS = ("media", "transcripts")


class SqliteDialect:
    """See Dialect."""

    def __init__(self, url: URL, *, is_ours: bool = False, is_read_only: bool = False) -> None:
        """is_ours: the file is in the data folder, where no links are followed."""
        self._url = url
        self._is_ours = is_ours
        self._is_read_only = is_read_only
        self._file = Path(str(url.database))
        self._log_watch = LogWatch(self._file)

    @property
    def file(self) -> Path:
        return self._file

    def make_engine(self) -> Engine:
        # No limit on connections: a wait for the pool would only hide the wait for the database's lock. Those beyond
        # the pool are opened and closed for one transaction each, which takes longer than a short reading.
        engine = create_engine(self._url, pool_size=KEPT_CONNECTIONS, max_overflow=-1)
        event.listen(engine, "connect", _set_up_reader if self._is_read_only else _set_up)
        event.listen(engine, "begin", _begin)
        return engine

    def begin(self, connection: Connection, left_ms: int) -> SqliteTransaction:
        self._log_watch.check()
        writer = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        with _our_errors(), _waiting_at_most(writer, left_ms):
            return SqliteTransaction(writer, writer.begin(), self._log_watch)

    @contextmanager
    def rebuilding(self, connection: Connection) -> Iterator[None]:
        """Foreign keys are off, and checked before the commit instead: SQLite changes a table by copying and dropping
        it, and dropping it must not delete the rows that refer to it."""
        writer = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        with _our_errors():
            _raw(writer).execute("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction
        try:
            with writer.begin():
                yield
                if writer.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise DatabaseDamagedError("The migration would leave rows without their task.")
                failpoint("schema.before_commit")
        finally:
            writer.invalidate()  # a new connection has foreign keys on again

    def empty_log(self, engine: Engine, wait_ms: int) -> bool:
        """Writes the log into the database, too. Waits so long at most, and writers with it, for those who read an
        older state."""
        with _our_errors(), engine.connect() as connection:
            raw = _raw(connection)
            raw.execute(f"PRAGMA busy_timeout = {wait_ms}")
            try:
                is_prevented = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        self._log_watch.note()
        return not is_prevented

    def translate(self, error: DBAPIError | sqlite3.Error) -> TranscriptionServerError:
        return translate(error)

    def obstacle(self) -> str | None:
        return None

    def when_given_up(self, act: Callable[[], None]) -> None:
        pass

    def check_start(self, data_dir: Path) -> None:
        """Reads the whole file, and makes it where there is none. Raises DatabaseDamagedError,
        DataFolderUnusableError, StoreBusyError."""
        if (self._is_ours and self._file.is_symlink()) or self._file.is_dir():
            raise DataFolderUnusableError(f"{self._file.name} must be a file of its own, not a link or a folder.")
        self._log_watch.check_start()
        if self._has_content:
            check_sqlite_file(self._file)
            return
        if any(_has_files(data_dir / name) for name in _IRREPLACEABLE_FOLDERS):
            raise DatabaseDamagedError("The database is missing, but there are uploads or transcripts that it knew.")
        self._file.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        # SQLite gives its log the same mode as the database.
        os.close(os.open(self._file, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE))
        log.info("event=database_created")

    def check_command(self, data_dir: Path) -> None:
        self._log_watch.check_start()
        if not self._has_content:
            self.check_start(data_dir)

    def take_over(self) -> None:
        """The lock on the data folder has seen to it."""

    def begin_serving(self) -> None:
        self._log_watch.open()

    def end_serving(self) -> None:
        self._log_watch.close()

    def forget_command(self) -> None:
        self._log_watch.forget()

    def advice(self) -> str:
        name = self._file.name
        backups = sorted(path.name for path in self._file.parent.glob(f"{name}.before-*") if path.suffix != ".tmp")
        restore = f"cp {backups[-1]} {name}" if backups else f"sqlite3 damaged.db .recover | sqlite3 {name}"
        return (
            f"{name} was left as it is. To restore it, go into the data folder, move {name}, {name}-wal and {name}-shm "
            f"aside (mv {name} damaged.db), then run: {restore}"
        )

    @property
    def _has_content(self) -> bool:
        return self._file.exists() and self._file.stat().st_size > 0


@dataclass(frozen=True)
class SqliteTransaction:
    """See WriteTransaction."""

    connection: Connection
    transaction: RootTransaction
    log_watch: LogWatch

    @property
    def is_open(self) -> bool:
        """SQLite gives a whole transaction up when the disk is full, among others."""
        return self.transaction.is_active and bool(_raw(self.connection).in_transaction)

    def commit(self) -> None:
        self.transaction.commit()
        self.log_watch.note()

    def rollback(self) -> None:
        self.transaction.rollback()


def check_sqlite_file(path: Path) -> None:
    """Reads the whole database once and changes nothing. Raises DatabaseDamagedError, StoreBusyError."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    with _our_errors(), closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
        finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if finding != "ok":
        raise DatabaseDamagedError("The database is damaged.")


def copy_sqlite_file(source: Path, destination: Path) -> None:
    """Copies by SQLite's backup interface: a plain copy would miss the log and drop the server's own locks."""
    address = f"file:{quote(str(source.absolute()))}?mode=ro"
    with (
        _our_errors(),
        closing(sqlite3.connect(address, uri=True)) as original,
        closing(sqlite3.connect(destination)) as copy,
    ):
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it


def translate(error: DBAPIError | sqlite3.Error) -> TranscriptionServerError:
    """The error of ours that stands for SQLite's."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_BUSY) & 0xFF  # the primary code is in the low byte
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusyError()
        case sqlite3.SQLITE_FULL:
            return DiskFullError("The disk is full, so the database could not be changed.")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DatabaseDamagedError("The database is damaged or not a database.")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return DatabaseDamagedError(CANNOT_WRITE)
    return StoreBusyError("The database could not be used. Nothing was changed; the server's log has the details.")


@contextmanager
def _our_errors() -> Iterator[None]:
    """For what goes around SQLAlchemy."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        raise translate(error) from error


@contextmanager
def _waiting_at_most(connection: Connection, left_ms: int) -> Iterator[None]:
    """Within the block SQLite waits so long for other processes' locks. Nothing to do for one that had its turn at
    once."""
    if left_ms > BUSY_TIMEOUT_MS - SHORT_WAIT_MS:
        yield
        return
    raw = _raw(connection)
    raw.execute(f"PRAGMA busy_timeout = {left_ms}")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is not None


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 begins no transaction by itself; `_begin` does
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _set_up_reader(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA {_PRAGMAS[0]}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _raw(connection: Connection) -> Any:
    """sqlite3's own connection, outside any transaction of SQLAlchemy's."""
    return connection.connection.dbapi_connection
