"""Transactions on the database: SQLite's file in the data folder unless DATABASE_URL says otherwise.

What is the one or the other kind of database's own stands in `sqlite.py` and `postgresql.py`, behind a Dialect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from errors import InvalidSettingsError, StoreBusyError
from optimizer.common.clock import SystemClock
from optimizer.common.failpoints import failpoint
from optimizer.storage.dialect import BUSY_TIMEOUT_MS, Dialect
from optimizer.storage.sqlite import SqliteDialect
from optimizer.storage.write_turns import SharedTransaction, WriteTurns

_ADDRESSES = "postgresql://USER:PASSWORD@HOST/NAME, sqlite:///PATH or empty"


class Database:
    """Transactions on one database, from any thread. Connects on first use."""

    def __init__(self, url: URL, *, is_ours: bool = False, is_read_only: bool = False) -> None:
        """is_ours: SQLite's file is in the data folder. Raises InvalidSettingsError."""
        self.dialect = _dialect_of(url, is_ours=is_ours, is_read_only=is_read_only)
        self._engine = self.dialect.make_engine()
        self._turns = WriteTurns(self._begin_to_write, SystemClock(), BUSY_TIMEOUT_MS)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view; nothing is committed. Raises StoreBusyError, DatabaseDamagedError."""
        with self._our_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one writer at this moment: all of its changes are committed, or none when the block raises. The commit
        may hold the changes of several writers; see `write_turns`.

        Waits up to 5 s for other writers, of this process and of others together: for those of this process in the
        order in which they came, because SQLite's own waiting is a series of ever longer sleeps, in which a thread can
        miss its turn. Raises StoreBusyError, DiskFullError, DatabaseDamagedError.
        """
        with self._our_errors(), self._turns.writing() as connection:
            failpoint("store.begin")
            yield connection
            failpoint("store.before_commit")
        failpoint("store.after_commit")

    def _begin_to_write(self, left_ms: int) -> SharedTransaction:
        """left_ms: how long other processes' locks may be waited for."""
        connection = self._engine.connect()
        try:
            return SharedTransaction(connection, self.dialect.begin(connection, left_ms))
        except BaseException:
            connection.close()
            raise

    @contextmanager
    def rebuilding(self) -> Iterator[Connection]:
        """`writing` for migrations."""
        with (
            self._our_errors(),
            self._engine.connect() as connection,
            self.dialect.rebuilding(connection),
        ):
            yield connection

    def take_over(self) -> None:
        """See Dialect. Raises StoreBusyError, DiskFullError, DatabaseInUseError, DatabaseDamagedError."""
        with self._our_errors():
            self.dialect.take_over()

    def empty_log(self, wait_ms: int = 0) -> bool:
        """Takes deleted rows out of the database's log. Waits so long at most, and writers with it, for those who read
        an older state. Returns whether none is left there."""
        with self._turns.alone(wait_ms) as is_alone, self._our_errors():
            return is_alone and self.dialect.empty_log(self._engine, wait_ms)

    def close(self) -> None:
        """Harmless when repeated."""
        self._engine.dispose()

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # a violated constraint is our own bug
        except DBAPIError as error:
            raise self.dialect.translate(error) from error
        except (PoolTimeoutError, PendingRollbackError) as error:  # the latter: its connection was lost before
            raise StoreBusyError() from error


def _dialect_of(url: URL, *, is_ours: bool, is_read_only: bool) -> Dialect:
    """Raises InvalidSettingsError."""
    if url.get_backend_name() == "sqlite":
        return SqliteDialect(url, is_ours=is_ours, is_read_only=is_read_only)
    try:
        from optimizer.storage.postgresql import PostgresqlDialect
    except ImportError as error:  # psycopg is not here, or not PostgreSQL's own library that it needs
        raise InvalidSettingsError(
            "DATABASE_URL names PostgreSQL, but psycopg cannot be imported. Install it: "
            "python -m pip install -r requirements-postgresql.txt"
        ) from error
    return PostgresqlDialect(url, is_read_only=is_read_only)


def database_url(text: str, data_dir: Path) -> URL:
    """DATABASE_URL for SQLAlchemy; when empty, SQLite's file in the data folder. Raises InvalidSettingsError."""
    try:
        url = make_url(text) if text else URL.create("sqlite", database=str(data_dir / "tasks.db"))
    except (ArgumentError, ValueError):
        raise InvalidSettingsError(f"DATABASE_URL must be {_ADDRESSES}.") from None  # the error may have the password
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise InvalidSettingsError(f"DATABASE_URL must be {_ADDRESSES}.")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise InvalidSettingsError("DATABASE_URL names no file: tasks would be lost at every stop.")
    return url
