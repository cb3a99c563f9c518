"""PostgreSQL by psycopg 3: how it is set up, how a transaction begins and ends, and what its errors mean.

Nothing imports this module unless DATABASE_URL asks for it.

**One writer at a time**, as with SQLite: whoever writes holds an advisory lock until its transaction ends, so what it
reads cannot change meanwhile. It reads what is committed at each statement (READ COMMITTED), because the view of a
stricter transaction would begin before it has the lock. Readers have one view throughout (REPEATABLE READ) and wait for
nobody.

**One server at a time**: a server holds a second advisory lock on a connection of its own, which the database lets go
of when the server dies. When that connection is lost, the next writer takes the lock again before it writes, unless
another server had it meanwhile: each leaves a mark of its own in `learned`.

**A commit whose answer was lost** may have been made or not. So every writing transaction knows its number, and the
database is asked what became of it, for as long as OUTCOME_LIMIT_S; nobody is told anything before.
"""

from __future__ import annotations

import json
import logging
import re
import select
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from errors import (
    DatabaseDamagedError,
    DatabaseInUseError,
    DatabaseUnreachableError,
    DiskFullError,
    InvalidSettingsError,
    StoreBusyError,
    TranscriptionServerError,
)
from optimizer.common.clock import SystemClock
from optimizer.common.failpoints import failpoint
from optimizer.storage.dialect import BUSY_TIMEOUT_MS, CANNOT_WRITE

log = logging.getLogger(__name__)

OLDEST_VERSION = 13  # the first with pg_xact_status for whole transaction numbers
KEPT_CONNECTIONS = 16
MOST_CONNECTIONS = 64  # a server takes 100 from all programs unless it is told otherwise
CONNECT_LIMIT_S = 5
STILL_LIMIT_S = 60  # for which a writing transaction may ask for nothing, as of a process that was stopped
OUTCOME_LIMIT_S = 60.0
LOOK_EVERY_S = 0.2
TAKE_OVER_S = 5.0  # after a kill the database may need a moment to notice that its client is gone
WRITING, SERVING = 7_405_001, 7_405_002  # the advisory locks' numbers
UNREACHABLE = "The database server cannot be reached at the moment. Nothing was changed."
CONNECTION_OPTIONS = {
    "connect_timeout": CONNECT_LIMIT_S,
    "client_encoding": "utf8",
    "application_name": "whisper-scheduler",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms, for what was sent and nobody acknowledged
}
# A server that another machine's crash left alone must notice it, too: it holds that machine's locks until then.
_SET_UP = """
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
_LOCK = """
    SET LOCAL lock_timeout = {wait_ms}; SET LOCAL idle_in_transaction_session_timeout = '{still_s}s';
    SELECT pg_advisory_xact_lock({key})
"""
_WHO = "SELECT pg_current_xact_id()::text, pg_backend_pid()"
_OUTCOME = text("SELECT pg_xact_status(CAST(:number AS xid8))")
_END = text("SELECT pg_terminate_backend(:process)")
_MARK = "serving"
_LEAVE_MARK = """
    INSERT INTO learned (name, value, updated_at) VALUES (%s, %s, now()::text)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
"""
_READ_MARK = "SELECT value FROM learned WHERE name = %s"
_WRITER = {"isolation_level": "READ COMMITTED", "postgresql_readonly": False}
_PLAIN_HOST = re.compile(r"[\w.:/-]*")


class PostgresqlDialect:
    """See Dialect."""

    def __init__(self, url: URL, *, is_read_only: bool = False) -> None:
        """Raises InvalidSettingsError."""
        if not _PLAIN_HOST.fullmatch(url.host or ""):  # it would be shown in errors, and may be part of the password
            raise InvalidSettingsError(
                "DATABASE_URL names no host that could be one. In the user and the password, characters other than "
                "letters and digits must be written as %XX, such as %40 for @."
            )
        self._url = url
        self._is_read_only = is_read_only
        self._engine: Engine | None = None
        self._holder: psycopg.Connection[Any] | None = None
        self._mark: str | None = None  # a server's, once it serves
        self._obstacle: str | None = None  # why nothing may be written until a restart

    @property
    def file(self) -> Path | None:
        return None

    def make_engine(self) -> Engine:
        engine = create_engine(
            self._url.set(drivername="postgresql+psycopg"),
            pool_size=KEPT_CONNECTIONS,
            max_overflow=MOST_CONNECTIONS - KEPT_CONNECTIONS,
            pool_timeout=BUSY_TIMEOUT_MS / 1000,
            pool_pre_ping=True,  # the server may have been started again
            hide_parameters=True,
            isolation_level="REPEATABLE READ",
            connect_args={name: value for name, value in CONNECTION_OPTIONS.items() if name not in self._url.query},
        ).execution_options(postgresql_readonly=True)
        event.listen(engine, "connect", _set_up)
        self._engine = engine
        return engine

    def begin(self, connection: Connection, left_ms: int) -> PostgresqlTransaction:
        if self._is_read_only:
            raise RuntimeError("this database was opened to be read")
        writer = connection.execution_options(**_WRITER)
        transaction = writer.begin()
        self._lock(writer, left_ms)
        self._check_holder()
        number, process = writer.exec_driver_sql(_WHO).one()
        return PostgresqlTransaction(self, writer, transaction, str(number), int(process))

    @contextmanager
    def rebuilding(self, connection: Connection) -> Iterator[None]:
        writer = connection.execution_options(**_WRITER)
        with writer.begin():
            self._lock(writer, BUSY_TIMEOUT_MS)
            yield
            failpoint("schema.before_commit")

    def empty_log(self, engine: Engine, wait_ms: int) -> bool:
        """PostgreSQL's log is the server's own affair; see docs/deploy.md."""
        return True

    def translate(self, error: DBAPIError) -> TranscriptionServerError:
        return translate(error)

    def check_start(self, data_dir: Path) -> None:
        """The database is this server's from here on. Raises DatabaseUnreachableError, InvalidSettingsError,
        DatabaseInUseError."""
        self.check_command(data_dir)
        pause = threading.Event()
        for _ in range(int(TAKE_OVER_S / LOOK_EVERY_S)):
            if self._try_to_hold():
                return
            pause.wait(LOOK_EVERY_S)
        raise DatabaseInUseError()

    def check_command(self, data_dir: Path) -> None:
        """Raises DatabaseUnreachableError, InvalidSettingsError."""
        try:
            with self._connected() as connection:
                self._check_server(connection)
        except DBAPIError as error:
            raise self._start_error(error) from error

    def begin_serving(self) -> None:
        if self._holder is None:
            raise RuntimeError("the database is not held")
        self._mark = json.dumps(uuid.uuid4().hex)
        self._holder.execute(_LEAVE_MARK, [_MARK, self._mark])

    def end_serving(self) -> None:
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.close()

    def forget_command(self) -> None:
        pass

    def advice(self) -> str:
        return "Nothing was changed."

    def was_committed(self, number: str, process: int) -> bool:
        """Whether the transaction of this number was committed, of which the connection to this server process was
        lost. Waits until that is known, up to OUTCOME_LIMIT_S. Raises DatabaseDamagedError when it is not: what the
        queue has in memory may differ from the database from then on, until a restart reads it again."""
        pause, clock = threading.Event(), SystemClock()
        given_up_at = clock.monotonic() + OUTCOME_LIMIT_S
        while clock.monotonic() < given_up_at:
            with suppress(OperationalError, InterfaceError, PoolTimeoutError):
                outcome = self._outcome(number, process)
                if outcome != "in progress":
                    return outcome == "committed"
            pause.wait(LOOK_EVERY_S)
        log.error("event=commit_uncertain: the database server has not answered for %.0f s", OUTCOME_LIMIT_S)
        self._obstacle = (
            "The database server went away while it stored something, and whether it did is not known. Restart the "
            "server."
        )
        raise DatabaseDamagedError(self._obstacle)

    def _outcome(self, number: str, process: int) -> str | None:
        with self._connected() as connection:
            try:
                outcome: str | None = connection.scalar(_OUTCOME, {"number": number})
            except DBAPIError as error:
                if isinstance(error, OperationalError | InterfaceError):
                    raise
                return None  # a server that never saw it, such as a copy of the one that had it
            if outcome == "in progress":  # nobody will ever answer to that connection
                connection.execute(_END, {"process": process})
            return outcome

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        if self._engine is None:
            raise RuntimeError("no engine was made yet")
        with self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def _lock(self, writer: Connection, wait_ms: int) -> None:
        """Waits for other processes' writers."""
        statement = _LOCK.format(wait_ms=max(1, wait_ms), still_s=STILL_LIMIT_S, key=WRITING)
        writer.exec_driver_sql(statement, execution_options={"no_parameters": True})

    # One server at a time

    def _try_to_hold(self) -> bool:
        if self._engine is None:
            raise RuntimeError("no engine was made yet")
        pooled = self._engine.raw_connection()
        pooled.detach()
        holder: Any = pooled.dbapi_connection
        holder.autocommit = True
        (is_held,) = holder.execute("SELECT pg_try_advisory_lock(%s)", [SERVING]).fetchone()
        if is_held:
            self._holder = holder
        else:
            holder.close()
        return bool(is_held)

    def _check_holder(self) -> None:
        """Before every write of a server. Raises DatabaseDamagedError, StoreBusyError."""
        if self._obstacle is not None:
            raise DatabaseDamagedError(self._obstacle)
        if self._holder is None or _is_connected(self._holder):
            return
        self._holder.close()
        try:
            if not self._try_to_hold() or self._was_held_by_another(self._holder):
                self._obstacle = (
                    "Another server has taken the database, so nothing can be stored. Stop one of them, and restart "
                    "the other."
                )
                raise DatabaseDamagedError(self._obstacle)
        except psycopg.Error as error:
            raise StoreBusyError(UNREACHABLE) from error
        log.warning("event=database_taken_again: the connection that holds it was lost")

    def _was_held_by_another(self, holder: psycopg.Connection[Any]) -> bool:
        return self._mark is not None and holder.execute(_READ_MARK, [_MARK]).fetchone() != (self._mark,)

    # Errors of the start

    def _check_server(self, connection: Connection) -> None:
        major = int((connection.dialect.server_version_info or (0,))[0])
        if major < OLDEST_VERSION:
            raise InvalidSettingsError(
                f"DATABASE_URL: the server {self._place} is PostgreSQL {major}. It must be {OLDEST_VERSION} or newer."
            )
        encoding = connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise InvalidSettingsError(
                f"DATABASE_URL: the database has the encoding {encoding}. Make one with UTF8: "
                "createdb --encoding=UTF8 --template=template0 NAME"
            )
        if connection.scalar(text("SELECT pg_is_in_recovery()")):
            raise InvalidSettingsError(f"DATABASE_URL: the server {self._place} is a copy that can only be read.")
        if connection.scalar(text("SHOW fsync")) == "off":
            log.warning("event=database_not_durable: fsync is off on the database server, a power cut loses tasks")

    def _start_error(self, error: DBAPIError) -> TranscriptionServerError:
        """In words of our own: the server's may be in any language, and its log has them."""
        refusal = refusal_of(error)
        if refusal is not None:
            return InvalidSettingsError(f"DATABASE_URL: the database server {self._place} refused the login: {refusal}")
        if isinstance(error, OperationalError | InterfaceError):
            return DatabaseUnreachableError(
                f"The database server {self._place} cannot be reached. Check that it runs, and DATABASE_URL."
            )
        if isinstance(error.orig, psycopg.ProgrammingError) and error.orig.sqlstate is None:
            return InvalidSettingsError("DATABASE_URL has an option that PostgreSQL's client does not know.")
        return translate(error)

    @property
    def _place(self) -> str:
        host = self._url.host or self._url.query.get("host")
        if not isinstance(host, str) or host.startswith("/"):
            return "of this machine"
        return f"at {host}:{self._url.port or 5432}"


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

    @property
    def is_open(self) -> bool:
        """A lost connection has lost the transaction, too."""
        if not self._transaction.is_active or self._connection.invalidated:
            return False
        raw: Any = self._connection.connection.dbapi_connection
        return not raw.closed and raw.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS

    def commit(self) -> None:
        try:
            self._transaction.commit()
        except DBAPIError as error:
            if not error.connection_invalidated or not self._dialect.was_committed(self._number, self._process):
                raise
            log.warning("event=commit_confirmed: its answer was lost, but it was made")

    def rollback(self) -> None:
        self._transaction.rollback()


class _Text(StrDumperUnknown):
    """PostgreSQL's texts have no NUL. One that a model or a person wrote is shown as what cannot be shown."""

    def dump(self, obj: str) -> Any:
        return super().dump(without_nul(obj))


def without_nul(value: str) -> str:
    """As PostgreSQL keeps it."""
    return value.replace("\0", "\ufffd") if "\0" in value else value


def translate(error: DBAPIError) -> TranscriptionServerError:
    """The error of ours that stands for PostgreSQL's."""
    cause = error.orig
    state = (cause.sqlstate if isinstance(cause, psycopg.Error) else None) or ""
    match state[:2], state:
        case _, "55P03" | "40001" | "40P01" | "57014" | "25P03":
            return StoreBusyError()
        case _, "53100":
            return DiskFullError("The database server's disk is full, so the database could not be changed.")
        case _, "42501" | "25006":
            return DatabaseDamagedError(CANNOT_WRITE)
        case "XX", "XX001" | "XX002":
            return DatabaseDamagedError("The database is damaged: its server found data that it cannot read.")
        case (("08" | "57" | "53"), _):
            return StoreBusyError(UNREACHABLE)
    if error.connection_invalidated or (not state and isinstance(error, OperationalError | InterfaceError)):
        return StoreBusyError(UNREACHABLE)
    return StoreBusyError("The database could not be used. Nothing was changed; the server's log has the details.")


def refusal_of(error: DBAPIError) -> str | None:
    """Why a server that was reached did not let us in, as a sentence; None when it was another error.

    libpq gives only a text for it, in the server's language where that could translate it.
    """
    said = str(error.orig)
    if re.search(r"connection slots|too many (clients|connections)|starting up|shutting down|recovery mode", said):
        return None
    connection = getattr(error.orig, "pgconn", None)
    if re.search(r"FATAL:\s+database .* does not exist", said):
        return "it has no database of that name. Make it with: createdb NAME"
    if re.search(r"FATAL:\s+role .* does not exist", said):
        return "it has no user of that name."
    if connection is not None and connection.needs_password:
        return "it wants a password."
    if re.search(r"authentication failed", said) or (connection is not None and connection.used_password):
        return "the user or the password is wrong."
    if re.search(r"pg_hba\.conf|SSL", said):
        return "it does not take connections like this one; see pg_hba.conf there, and sslmode here."
    return None


def _set_up(connection: Any, _record: object) -> None:
    connection.adapters.register_dumper(str, _Text)
    connection.execute(_SET_UP)
    connection.commit()


def _is_connected(connection: psycopg.Connection[Any]) -> bool:
    """Costs a look at its socket: where there is something to read, the server may have closed it."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True
