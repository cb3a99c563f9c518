"""The connection to the database: how it is set up, how a transaction begins, what its errors mean.

SQLite unless DATABASE_URL says otherwise. WAL lets readers and the one writer work side by side. With
`synchronous=FULL` an acknowledged commit survives a power cut. A writer takes its lock when it begins, because
`busy_timeout` does not apply to a read transaction that becomes a write.
"""

from __future__ import annotations

import sqlite3
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
from optimizer.storage.write_turns import SharedTransaction, WriteTurns

BUSY_TIMEOUT_MS = 5000
KEPT_CONNECTIONS = 32
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
        # No limit on connections: a wait for the pool would only hide the wait for the database's lock. Those beyond
        # the pool are opened and closed for one transaction each, which takes longer than a short reading.
        self._engine = create_engine(url, pool_size=KEPT_CONNECTIONS, max_overflow=-1, pool_pre_ping=not self.is_sqlite)
        if self.is_sqlite:
            event.listen(self._engine, "connect", _set_up_reader if is_read_only else _set_up)
            event.listen(self._engine, "begin", _begin)
        self._writer = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._turns = WriteTurns(self._begin_to_write, SystemClock(), BUSY_TIMEOUT_MS)
        self.log_watch = LogWatch(Path(str(url.database))) if self.is_sqlite else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view; nothing is committed. Raises StoreBusyError, DatabaseDamagedError."""
        with _our_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one writer at this moment: all of its changes are committed, or none when the block raises. The commit
        may hold the changes of several writers; see `write_turns`.

        Waits up to 5 s for other writers, of this process and of others together: for those of this process in the
        order in which they came, because SQLite's own waiting is a series of ever longer sleeps, in which a thread can
        miss its turn. Raises StoreBusyError, DiskFullError, DatabaseDamagedError.
        """
        with _our_errors(), self._turns.writing() as connection:
            failpoint("store.begin")
            yield connection
            failpoint("store.before_commit")
        failpoint("store.after_commit")

    def _begin_to_write(self, left_ms: int) -> SharedTransaction:
        """left_ms: how long other processes' locks may be waited for."""
        if self.log_watch is not None:
            self.log_watch.check()
        connection = self._writer.connect()
        try:
            with self._waiting_at_most(connection, left_ms):
                transaction = connection.begin()
        except BaseException:
            connection.close()
            raise
        return SharedTransaction(connection, transaction, self._note_log)

    def _note_log(self) -> None:
        if self.log_watch is not None:
            self.log_watch.note()

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
        with self._turns.alone(wait_ms) as is_alone:
            if not is_alone:
                return False
            with _our_errors(), self._engine.connect() as connection:
                raw = _raw(connection)
                raw.execute(f"PRAGMA busy_timeout = {wait_ms}")
                try:
                    is_prevented = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                finally:
                    raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self._note_log()
            return not is_prevented

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
