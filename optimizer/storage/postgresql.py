"""PostgreSQL by psycopg 3: how it is set up, how a transaction begins and ends, and what its errors mean.

Nothing imports this module unless DATABASE_URL asks for it.

**One writer at a time**, as with SQLite: whoever writes holds an advisory lock until its transaction ends, so what it
reads cannot change meanwhile. It reads what is committed at each statement (READ COMMITTED), because the view of a
stricter transaction would begin before it has the lock. Readers have one view throughout (REPEATABLE READ) and wait for
nobody.

**One server at a time**: see `postgresql_hold`.

**A commit whose answer was lost** may have been made or not. So every writing transaction knows its number, and the
database is asked what became of it, for as long as OUTCOME_LIMIT_S; nobody is told anything before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from errors import (
    CommitUncertainError,
    DatabaseInUseError,
    InvalidSettingsError,
    StoreBusyError,
    TranscriptionServerError,
)
from optimizer.common.clock import SystemClock
from optimizer.common.failpoints import failpoint
from optimizer.storage.dialect import BUSY_TIMEOUT_MS
from optimizer.storage.postgresql_address import checked_address, place_of
from optimizer.storage.postgresql_checks import check_server, check_sessions
from optimizer.storage.postgresql_errors import UNREACHABLE, start_error, translate
from optimizer.storage.postgresql_hold import LOOK_EVERY_S, NEVER_IDLE, REPLACED, History, ServingHold
from optimizer.storage.postgresql_session import history_in, lift_limits, set_up
from optimizer.storage.postgresql_silence import WatchedConnection

log = logging.getLogger(__name__)

KEPT_CONNECTIONS = 16
MOST_CONNECTIONS = 64  # a server takes 100 from all programs unless it is told otherwise
CONNECT_LIMIT_S = 5
STILL_LIMIT_S = 60  # for which a writing transaction may ask for nothing, as of a process that was stopped
OUTCOME_LIMIT_S = 60.0
TAKE_OVER_S = 5.0  # after a kill the database may need a moment to notice that its client is gone
WRITING = 7_405_001  # the advisory lock's number
DRIVER = "postgresql+psycopg"
CONNECTION_OPTIONS = {
    "connect_timeout": CONNECT_LIMIT_S,
    "client_encoding": "utf8",
    "application_name": "whisper-scheduler",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms, for what was sent and nobody acknowledged
}
_LOCK = """
    SET LOCAL lock_timeout = {wait_ms}; SET LOCAL idle_in_transaction_session_timeout = '{still_s}s';
    SELECT pg_advisory_xact_lock({key}); SET LOCAL lock_timeout = {limit_ms}
"""
_WHO = "SELECT pg_current_xact_id()::text, pg_backend_pid(), {proof}"
_OUTCOME = text("SELECT pg_xact_status(CAST(:number AS xid8))")
_IN_PROGRESS = "in progress"
# Only while the process still has that transaction. It shows the last 32 bits of the number.
_END = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :process AND backend_xid = CAST(:xid AS xid)"
)
UNCERTAIN = (
    "The database server went away while it stored something, and whether it did is not known. Restart the server."
)
_WRITER = {"isolation_level": "READ COMMITTED", "postgresql_readonly": False}


class PostgresqlDialect:
    """See Dialect."""

    def __init__(self, url: URL, *, is_read_only: bool = False) -> None:
        """Raises InvalidSettingsError."""
        self._url = checked_address(url)
        self._is_read_only = is_read_only
        self._engine: Engine | None = None
        self._hold = ServingHold(self._connect_holder)

    @property
    def file(self) -> Path | None:
        return None

    def make_engine(self) -> Engine:
        try:
            engine = self._new_engine()
        except ArgumentError:
            raise InvalidSettingsError("DATABASE_URL has hosts and ports that do not belong together.") from None
        event.listen(engine, "do_connect", _connect)
        event.listen(engine, "connect", set_up)
        self._engine = engine
        return engine

    def _new_engine(self) -> Engine:
        return create_engine(
            self._url.set(drivername=DRIVER),
            pool_size=KEPT_CONNECTIONS,
            max_overflow=MOST_CONNECTIONS - 1 - KEPT_CONNECTIONS,  # one holds the database
            pool_timeout=BUSY_TIMEOUT_MS / 1000,
            pool_pre_ping=True,  # the server may have been started again
            hide_parameters=True,
            isolation_level="REPEATABLE READ",
            connect_args=options_of(self._url),
        ).execution_options(postgresql_readonly=True)

    def begin(self, connection: Connection, left_ms: int) -> PostgresqlTransaction:
        if self._is_read_only:
            raise RuntimeError("this database was opened to be read")
        history = history_in(connection.info)
        if history.is_copy:
            connection.invalidate()  # it may be promoted by the next time, or another server be found
            raise StoreBusyError(UNREACHABLE)
        self._hold.check(history)
        writer = connection.execution_options(**_WRITER)
        transaction = writer.begin()
        self._lock(writer, left_ms)
        proof, expected = self._hold.proof
        number, process, found = writer.exec_driver_sql(_WHO.format(proof=proof)).one()
        self._hold.check_proof(found, expected)
        return PostgresqlTransaction(self, writer, transaction, str(number), int(process))

    @contextmanager
    def rebuilding(self, connection: Connection) -> Iterator[None]:
        transaction = self.begin(connection, BUSY_TIMEOUT_MS)
        lift_limits(connection)
        try:
            yield
            failpoint("schema.before_commit")
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()

    def empty_log(self, engine: Engine, wait_ms: int) -> bool:
        """PostgreSQL's log is the server's own affair; see docs/deploy.md."""
        return True

    def translate(self, error: DBAPIError) -> TranscriptionServerError:
        return translate(error)

    def obstacle(self) -> str | None:
        return self._hold.obstacle

    def when_given_up(self, act: Callable[[], None]) -> None:
        self._hold.when_given_up(act)

    def check_start(self, data_dir: Path) -> None:
        """The database is this server's from here on. Raises DatabaseUnreachableError, InvalidSettingsError,
        DatabaseInUseError."""
        self.check_command(data_dir)
        pause = threading.Event()
        try:
            for _ in range(int(TAKE_OVER_S / LOOK_EVERY_S)):
                if self._hold.try_to_take():
                    return
                pause.wait(LOOK_EVERY_S)
        except psycopg.Error as error:
            raise start_error(error, place_of(self._url)) from error
        raise DatabaseInUseError()

    def check_command(self, data_dir: Path) -> None:
        """Raises DatabaseUnreachableError, InvalidSettingsError."""
        try:
            with self._connected() as connection:
                check_server(connection, place_of(self._url))
                check_sessions(connection, self._engine_made, place_of(self._url))
        except DBAPIError as error:
            raise start_error(error, place_of(self._url)) from error

    def take_over(self) -> None:
        with self._engine_made.connect() as connection:
            transaction = self.begin(connection, BUSY_TIMEOUT_MS)
            count_on_mark = self._hold.leave_mark(connection)
            transaction.commit()
        count_on_mark()

    def begin_serving(self) -> None:
        pass

    def end_serving(self) -> None:
        self._hold.let_go()

    def forget_command(self) -> None:
        pass

    def advice(self) -> str:
        return "Nothing was changed."

    def was_committed(self, number: str, process: int, history: History) -> bool:
        """Whether the transaction of this number was committed, of which the connection to this server process was
        lost. Waits until that is known, up to OUTCOME_LIMIT_S. Raises CommitUncertainError when it is not: what the
        queue has in memory may differ from the database from then on, until a restart reads it again."""
        pause, clock = threading.Event(), SystemClock()
        given_up_at = clock.monotonic() + OUTCOME_LIMIT_S
        while clock.monotonic() < given_up_at:
            with suppress(DBAPIError, PoolTimeoutError):
                outcome = self._outcome(number, process, history)
                if outcome != _IN_PROGRESS:
                    return outcome == "committed"
            pause.wait(LOOK_EVERY_S)
        log.error("event=commit_uncertain: the database server has not answered for %.0f s", OUTCOME_LIMIT_S)
        raise self._hold.give_up(UNCERTAIN, CommitUncertainError)

    def _outcome(self, number: str, process: int, history: History) -> str | None:
        """Raises CommitUncertainError when another database answers, whose numbers mean something else."""
        with self._connected() as connection:
            found = history_in(connection.info)
            if found.is_copy:
                connection.invalidate()
                return _IN_PROGRESS
            if found != history:
                raise self._hold.give_up(REPLACED, CommitUncertainError)
            try:
                outcome: str | None = connection.scalar(_OUTCOME, {"number": number})
            except DBAPIError as error:
                if isinstance(error, OperationalError | InterfaceError):
                    raise
                return None  # it was lost in a crash before anybody else saw it
            if outcome == _IN_PROGRESS:  # nobody will ever answer to that connection
                connection.execute(_END, {"process": process, "xid": str(int(number) % 2**32)})
            return outcome

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._engine_made.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def _connect_holder(self) -> tuple[psycopg.Connection[Any], History]:
        pooled = self._engine_made.raw_connection()
        history = history_in(pooled.info)
        pooled.detach()
        holder: Any = pooled.dbapi_connection
        holder.autocommit = True
        return holder, history

    @property
    def _engine_made(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("no engine was made yet")
        return self._engine

    def _lock(self, writer: Connection, wait_ms: int) -> None:
        """Waits for other processes' writers."""
        statement = _LOCK.format(wait_ms=max(1, wait_ms), still_s=STILL_LIMIT_S, key=WRITING, limit_ms=BUSY_TIMEOUT_MS)
        writer.exec_driver_sql(statement, execution_options={"no_parameters": True})


class PostgresqlTransaction:
    """See WriteTransaction."""

    def __init__(
        self,
        dialect: PostgresqlDialect,
        connection: Connection,
        transaction: RootTransaction,
        number: str,
        process: int,
    ) -> None:
        """number: the transaction's, by which the database knows it ever after. process: the server's for it."""
        self._dialect = dialect
        self._connection = connection
        self._transaction = transaction
        self._number = number
        self._process = process
        self._history = history_in(connection.info)

    @property
    def is_open(self) -> bool:
        """A lost connection has lost the transaction, too."""
        return self._status is psycopg.pq.TransactionStatus.INTRANS

    def commit(self) -> None:
        if self._status is psycopg.pq.TransactionStatus.INERROR:  # its COMMIT would roll back without a word
            self.rollback()
            raise StoreBusyError()
        try:
            self._transaction.commit()
        except DBAPIError as error:
            if not error.connection_invalidated or not self._was_committed():
                raise
            log.warning("event=commit_confirmed: its answer was lost, but it was made")

    def _was_committed(self) -> bool:
        return self._dialect.was_committed(self._number, self._process, self._history)

    @property
    def _status(self) -> psycopg.pq.TransactionStatus | None:
        """None: there is none any more."""
        if not self._transaction.is_active or self._connection.invalidated:
            return None
        raw = _raw(self._connection)
        return None if raw.closed else raw.info.transaction_status

    def rollback(self) -> None:
        self._transaction.rollback()


def _connect(_dialect: Any, _record: Any, args: list[Any], named: dict[str, Any]) -> WatchedConnection:
    """For SQLAlchemy's pool. Raises psycopg.Error."""
    return WatchedConnection.connect(*args, **named)


def _raw(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def connect_beside(url: URL) -> psycopg.Connection[Any]:
    """A connection of its own that commits at once and may be idle for ever, by the address that all others take.
    Raises psycopg.Error."""
    address = checked_address(url).set(drivername=DRIVER)
    args, named = address.get_dialect()().create_connect_args(address)
    connection = WatchedConnection.connect(*args, **{**options_of(address), **named}, autocommit=True)
    try:
        connection.learn_process()
        connection.execute(NEVER_IDLE)
    except BaseException:
        connection.close()
        raise
    return connection


def options_of(address: URL) -> dict[str, Any]:
    """What the address leaves open."""
    return {name: value for name, value in CONNECTION_OPTIONS.items() if name not in address.query}
