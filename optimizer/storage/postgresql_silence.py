"""Connections to PostgreSQL on which nobody waits for ever.

The kernel notices that the other machine is gone (`CONNECTION_OPTIONS`). It does not notice one that is there and says
nothing: a firewall that swallows what is sent, a pooler or a database server that stands still, and a statement that
takes long looks the same. So whoever has waited for SILENT_S asks on a new connection whether the database is still at
work on it, and gives the connection up where it is not, or where nobody answers there either.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from optimizer.common.clock import SystemClock
from optimizer.storage.postgresql_errors import was_refused

SILENT_S = 10.0  # without a byte, until it is asked about, and again
ASK_LIMIT_S = 5  # for a new connection, and for what it is asked first
SELF = "SELECT pid, extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
# One that waits for its client has answered, or was asked nothing. Where `track_activities` is off nobody knows.
_IS_AT_WORK = """
    SELECT state = 'disabled' OR (state <> 'idle' AND state NOT LIKE 'idle in%%'
                                  AND wait_event_type IS DISTINCT FROM 'Client')
    FROM pg_stat_activity WHERE pid = %s AND extract(epoch FROM backend_start)::text = %s
"""
_CLOCK = SystemClock()
_T = TypeVar("_T")


class WatchedConnection(psycopg.Connection[Any]):
    """One of psycopg's of which every wait ends: 20 s after the last byte at most, unless the database says that it is
    at work. Then psycopg.OperationalError is raised, and the connection is closed. Before `learn_process` the database
    cannot be asked, and the wait ends after ASK_LIMIT_S."""

    _process: tuple[int, str] | None = None  # the server's for this connection, and when it began

    def learn_process(self) -> None:
        """From then on a statement may take as long as it needs. Leaves a transaction open unless it commits at once.
        Raises psycopg.Error."""
        self._process = self.execute(SELF).fetchone()

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **named: Any) -> _T:
        """For all that psycopg waits for. Raises psycopg.OperationalError."""
        return super().wait(self._watched(gen), *args, **named)

    def _watched(self, gen: Generator[Any, Any, _T]) -> Generator[Any, Any, _T]:
        try:
            wanted = next(gen)
            heard_at = _CLOCK.monotonic()
            while True:
                ready = yield wanted
                now = _CLOCK.monotonic()
                if ready:
                    heard_at = now
                elif now - heard_at >= (ASK_LIMIT_S if self._process is None else SILENT_S):
                    self._require_work()
                    heard_at = _CLOCK.monotonic()
                wanted = gen.send(ready)
        except StopIteration as end:
            result: _T = end.value
            return result

    def _require_work(self) -> None:
        if self._process is None or not self._is_at_work(self._process):
            self.pgconn.finish()
            raise psycopg.OperationalError("the connection is silent, and nothing is done for it any more")

    def _is_at_work(self, process: tuple[int, str]) -> bool:
        try:
            with WatchedConnection.connect(self._address(), autocommit=True) as other:
                row = other.execute(_IS_AT_WORK, process).fetchone()
        except psycopg.Error as error:
            return was_refused(error)  # such as by a full house: it is there, and may be at work
        return row is not None and bool(row[0])

    def _address(self) -> str:
        """The server that this one leads to, of however many."""
        info = self.info
        place: dict[str, Any] = {"host": info.host, "hostaddr": info.hostaddr, "port": info.port}
        given = {name: value for name, value in place.items() if value}
        return make_conninfo(info.dsn, **given, password=info.password, connect_timeout=ASK_LIMIT_S)
