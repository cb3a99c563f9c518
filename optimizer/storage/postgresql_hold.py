"""One server at a time on a database of PostgreSQL's: who has it, and how a server that lost it is kept from writing.

**The lock.** A server holds an advisory lock on a connection of its own, the holder, which the database lets go of when
the server dies. When that connection is lost, the next writer takes the lock again.

**The mark.** A server may not know that the database has dropped its holder, such as one whose machine was paused, and
another one may have the lock by then. So a new server leaves a mark, in a transaction that waits for the last writer
before it, and each writing transaction of a server reads the mark once nobody else can write: where it is not its own,
it writes nothing. Until a server has left its mark, the transaction asks for the lock itself.

**The history.** A copy that was promoted may lack the last commits, and so does a database that was restored. Either
begins another timeline or is another database, of which each new connection asks. What a server has in memory counts
only on the one that it was read from.

A command has no holder, and writes beside the server.
"""

from __future__ import annotations

import json
import logging
import select
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection

from errors import DatabaseDamagedError, DatabaseInUseError, StoreBusyError
from optimizer.storage.postgresql_errors import UNREACHABLE
from optimizer.storage.postgresql_silence import SELF

log = logging.getLogger(__name__)

SERVING = 7_405_002  # the advisory lock's number
LOOK_EVERY_S = 0.2
TAKE_AGAIN_S = 2.0  # for the database to end the lost connection
_MARK = "serving"
_FIND_LOCK = f"""
    FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = {SERVING} AND objsubid = 1 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608
NEVER_IDLE = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
_TAKE = "SELECT pg_try_advisory_lock(%s)"
_END_LOST = f"""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = %s AND extract(epoch FROM backend_start)::text = %s AND pid IN (SELECT pid {_FIND_LOCK})
"""  # noqa: S608
_READ_MARK = f"SELECT value FROM learned WHERE name = '{_MARK}'"  # noqa: S608
_LEAVE_MARK = f"""
    INSERT INTO learned (name, value, updated_at) VALUES ('{_MARK}', %s, now()::text)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
"""  # noqa: S608
# A promoted server tells its new timeline at once by the log that it writes; its control file follows later.
_HISTORY = """
    SELECT (SELECT system_identifier::text FROM pg_control_system()),
           CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
           (SELECT oid::text FROM pg_database WHERE datname = current_database())
"""
TAKEN = "Another server has taken the database, so nothing can be stored. Stop one of them, and restart the other."
REPLACED = (
    "The database is another one than before, a copy that took its place or one that was restored, and may lack what "
    "was stored last. Restart the server, which then goes on from what is there."
)
STOPPED = "The server has stopped. Nothing was changed."


@dataclass(frozen=True)
class History:
    """Of the database that a connection leads to. None: of a copy that only follows; empty: it may not be asked."""

    server: str | None
    timeline: str | None
    database: str | None

    @property
    def is_copy(self) -> bool:
        return self.timeline is None


@dataclass(frozen=True)
class _Holder:
    connection: psycopg.Connection[Any]
    history: History
    process: int  # the server's for the connection
    began_at: str  # the process


class ServingHold:
    """A server's hold on its database: `try_to_take`, `leave_mark`, `let_go`. One writer at a time, but any thread for
    `let_go` and `give_up`."""

    def __init__(self, connect: Callable[[], tuple[psycopg.Connection[Any], History]]) -> None:
        """connect: a new connection that commits each statement. Raises psycopg.Error."""
        self._connect = connect
        self._lock = threading.Lock()  # of what stands below
        self._holder: _Holder | None = None
        self._mark: str | None = None
        self._obstacle: str | None = None  # why nothing may be written until a restart
        self._has_stopped = False
        self._on_given_up: Callable[[], None] | None = None

    def try_to_take(self) -> bool:
        """Whether it was free. Raises psycopg.Error."""
        self._has_stopped = False
        holder = self._connected()
        try:
            is_taken = _take(holder)
        except BaseException:
            holder.connection.close()
            raise
        if is_taken:
            self._keep(holder)
        else:
            holder.connection.close()
        return is_taken

    def let_go(self) -> None:
        """What a server's threads still write afterwards is refused. Harmless when repeated, or never taken."""
        with self._lock:
            holder, self._holder = self._holder, None
            self._has_stopped = self._has_stopped or holder is not None
        if holder is not None:
            holder.connection.close()

    def give_up(self, why: str, kind: type[DatabaseDamagedError] = DatabaseDamagedError) -> DatabaseDamagedError:
        """To be raised: nothing is written until a restart, because what the queue has in memory may not be what is
        stored."""
        with self._lock:
            self._obstacle, act, self._on_given_up = why, self._on_given_up, None
        if act is not None:
            act()
        return kind(why)

    @property
    def obstacle(self) -> str | None:
        """Why nothing may be written until a restart, if so."""
        return self._obstacle

    def when_given_up(self, act: Callable[[], None]) -> None:
        """Calls it once, in the thread of the writer who notices, or at once when that was before."""
        with self._lock:
            if self._obstacle is None:
                self._on_given_up = act
                return
        act()

    def check(self, history: History) -> None:
        """Before a transaction begins on a connection with this history: the lock is held again if it was lost. Raises
        DatabaseDamagedError, StoreBusyError."""
        if self._has_stopped:
            raise StoreBusyError(STOPPED)
        if self._obstacle is not None:
            raise DatabaseDamagedError(self._obstacle)
        holder = self._holder
        if holder is None:
            return
        self._check_history(history, holder)
        try:
            if not _is_connected(holder.connection):
                self._take_again(holder)
        except psycopg.Error as error:
            raise StoreBusyError(UNREACHABLE) from error

    @property
    def proof(self) -> tuple[str, str | None]:
        """An expression that tells a transaction whether the database is still this server's, and its value then."""
        holder = self._holder
        if self._mark is not None:
            return f"({_READ_MARK})", self._mark
        if holder is None:
            return "NULL", None
        return f"(SELECT pid::text {_FIND_LOCK})", str(holder.process)

    def check_proof(self, found: str | None, expected: str | None) -> None:
        """Raises DatabaseInUseError at a server's start, DatabaseDamagedError later."""
        if found == expected:
            return
        if self._mark is None:
            raise DatabaseInUseError()
        raise self.give_up(TAKEN)

    def leave_mark(self, connection: Connection) -> Callable[[], None]:
        """In a writing transaction, whose end shuts out whoever served before. To be called once that is committed."""
        mark = json.dumps(uuid.uuid4().hex)
        connection.exec_driver_sql(_LEAVE_MARK, (mark,))

        def count_on_it() -> None:
            self._mark = mark

        return count_on_it

    # A hold that was lost

    def _take_again(self, lost: _Holder) -> None:
        """Raises as `check`, and psycopg.Error."""
        lost.connection.close()
        holder = self._connected()
        try:
            self._check_history(holder.history, lost)
            self._wait_to_take(holder, lost)
            self._keep(holder)
        except BaseException:
            holder.connection.close()
            raise
        log.warning("event=database_taken_again: the connection that holds it was lost")

    def _wait_to_take(self, holder: _Holder, lost: _Holder) -> None:
        """The database may have the lost connection for alive, with the lock: then it is ended."""
        pause = threading.Event()
        for _ in range(int(TAKE_AGAIN_S / LOOK_EVERY_S)):
            is_taken = _take(holder)
            if self._mark is not None and holder.connection.execute(_READ_MARK).fetchone() != (self._mark,):
                raise self.give_up(TAKEN)
            if is_taken:
                return
            if holder.connection.execute(_END_LOST, [lost.process, lost.began_at]).fetchone() is None:
                break  # somebody else has it who has left no mark, and may never do
            pause.wait(LOOK_EVERY_S)
        raise StoreBusyError(UNREACHABLE)

    def _check_history(self, found: History, holder: _Holder) -> None:
        if found.is_copy:
            raise StoreBusyError(UNREACHABLE)  # until it is promoted, or the other one is found
        if found != holder.history:
            raise self.give_up(REPLACED)

    def _connected(self) -> _Holder:
        connection, history = self._connect()
        try:
            connection.execute(NEVER_IDLE)
            process, began_at = connection.execute(SELF).fetchone() or (0, "")
        except BaseException:
            connection.close()
            raise
        return _Holder(connection, history, process, began_at)

    def _keep(self, holder: _Holder) -> None:
        with self._lock:
            if not self._has_stopped:
                self._holder = holder
                return
        raise StoreBusyError(STOPPED)


def history_of(connection: psycopg.Connection[Any]) -> History:
    """Ends the connection's transaction. Raises psycopg.Error when it is lost."""
    try:
        found = connection.execute(_HISTORY).fetchone() or ("", "", "")
        connection.commit()
    except (psycopg.ProgrammingError, psycopg.NotSupportedError):  # a server that keeps this from its users
        connection.rollback()
        found = ("", "", "")
    return History(*found)


def _take(holder: _Holder) -> bool:
    row = holder.connection.execute(_TAKE, [SERVING]).fetchone()
    return row is not None and bool(row[0])


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
