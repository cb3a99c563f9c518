"""The connection to the database: how it is set up, how a transaction begins, what its errors mean.

SQLite unless DATABASE_URL says otherwise. WAL lets readers and the one writer work side by side. With
`synchronous=FULL` an acknowledged commit survives a power cut. A writer takes its lock when it begins, because
`busy_timeout` does not apply to a read transaction that becomes a write.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from errors import (
    DatabaseDamagedError,
    DiskFullError,
    InvalidSettingsError,
    StoreBusyError,
    TranscriptionServerError,
)
from optimizer.common.clock import SystemClock
from optimizer.common.failpoints import failpoint
from optimizer.storage.log_watch import LogWatch

BUSY_TIMEOUT_MS = 5000
SHORT_WAIT_MS = 100  # for a writer's turn; what is shorter is not taken off BUSY_TIMEOUT_MS
_PRAGMAS = (
    f"busy_timeout = {BUSY_TIMEOUT_MS}",  # first, because the next ones may have to wait
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
)
CANNOT_WRITE = "The database cannot be written. Check the permissions of it and its folder."
_BEGIN = "sqlite_begin"


class Database:
    """Transactions on one database, from any thread. Connects on first use."""

    def __init__(self, url: URL, *, is_read_only: bool = False) -> None:
        self.is_sqlite = url.get_backend_name() == "sqlite"
        # No limit on connections: a wait for the pool would only hide the wait for the database's lock.
        self._engine = create_engine(url, pool_size=8, max_overflow=-1, pool_pre_ping=not self.is_sqlite)
        if self.is_sqlite:
            event.listen(self._engine, "connect", _set_up_reader if is_read_only else _set_up)
            event.listen(self._engine, "begin", _begin)
        self._writer = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._clock = SystemClock()
        self._writer_lock = threading.Lock()
        self.log_watch = LogWatch(Path(str(url.database))) if self.is_sqlite else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view; nothing is committed. Raises StoreBusyError, DatabaseDamagedError."""
        with _our_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one write transaction at this moment: all of it is committed, or nothing when the block raises.

        Waits up to 5 s for other writers, of this process and of others together. Raises StoreBusyError, DiskFullError,
        DatabaseDamagedError.
        """
        with (
            _our_errors(),
            self._only_writer() as left_ms,
            self._writer.connect() as connection,
            self._waiting_at_most(connection, left_ms),
            connection.begin(),
        ):
            failpoint("store.begin")
            yield connection
            failpoint("store.before_commit")
        failpoint("store.after_commit")

    @contextmanager
    def _only_writer(self) -> Iterator[int]:
        """Among this process's threads; gives the milliseconds that are left to wait for those of other processes.

        SQLite's own waiting is a series of ever longer sleeps, in which a thread can miss its turn for 5 s while others
        are busy; a lock wakes the thread that waits for it.
        """
        began_at = self._clock.monotonic()
        if not self._writer_lock.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise StoreBusyError()
        try:
            if self.log_watch is not None:
                self.log_watch.check()
            yield max(0, BUSY_TIMEOUT_MS - int((self._clock.monotonic() - began_at) * 1000))
            if self.log_watch is not None:
                self.log_watch.note()
        finally:
            self._writer_lock.release()

    @contextmanager
    def _waiting_at_most(self, connection: Connection, left_ms: int) -> Iterator[None]:
        """Within the block SQLite waits so long for other processes' locks. Nothing to do for one that had its turn at
        once."""
        if not self.is_sqlite or left_ms > BUSY_TIMEOUT_MS - SHORT_WAIT_MS:
            yield
            return
        raw = _raw(connection)
        raw.execute(f"PRAGMA busy_timeout = {left_ms}")
        try:
            yield
        finally:
            raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

    @contextmanager
    def rebuilding(self) -> Iterator[Connection]:
        """`writing` for migrations: foreign keys are off, and checked before the commit instead.

        SQLite changes a table by copying and dropping it; dropping it must not delete the rows that refer to it.
        """
        with _our_errors(), self._writer.connect() as connection:
            if self.is_sqlite:
                _raw(connection).execute("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction
            try:
                with connection.begin():
                    yield connection
                    if self.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                        raise DatabaseDamagedError("The migration would leave rows without their task.")
                    failpoint("schema.before_commit")
            finally:
                connection.invalidate()  # a new connection has foreign keys on again

    def truncate_wal(self, wait_ms: int = 0) -> bool:
        """Writes the log into the database and empties it, so that deleted rows are in neither.

        Waits so long at most, and writers with it, for those who read an older state. Returns whether the log is empty.
        """
        if not self.is_sqlite:
            return True
        if not self._writer_lock.acquire(timeout=wait_ms / 1000):
            return False
        try:
            with _our_errors(), self._engine.connect() as connection:
                raw = _raw(connection)
                raw.execute(f"PRAGMA busy_timeout = {wait_ms}")
                try:
                    is_prevented = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                finally:
                    raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            if self.log_watch is not None:
                self.log_watch.note()
            return not is_prevented
        finally:
            self._writer_lock.release()

    def close(self) -> None:
        """Harmless when repeated."""
        self._engine.dispose()


def database_url(text: str, data_dir: Path) -> URL:
    """DATABASE_URL for SQLAlchemy; when empty, SQLite's file in the data folder. Raises InvalidSettingsError."""
    try:
        url = make_url(text) if text else URL.create("sqlite", database=str(data_dir / "tasks.db"))
    except (ArgumentError, ValueError) as error:
        raise InvalidSettingsError("DATABASE_URL is not an SQLAlchemy address.") from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise InvalidSettingsError("DATABASE_URL names no file: tasks would be lost at every stop.")
    return url


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


def translate(error: DBAPIError | PoolTimeoutError | sqlite3.Error) -> TranscriptionServerError:
    """The error of ours that stands for the database's."""
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
    try:
        yield
    except IntegrityError:
        raise  # a violated constraint is our own bug
    except (sqlite3.OperationalError, sqlite3.DatabaseError, DBAPIError, PoolTimeoutError) as error:
        raise translate(error) from error


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
