"""What each connection to PostgreSQL is set to, whatever its server's settings say."""

from __future__ import annotations

from typing import Any

from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, text

from optimizer.storage.dialect import BUSY_TIMEOUT_MS
from optimizer.storage.postgresql_hold import History, history_of

_HISTORY = "history"  # under a connection's `info`
# A server that another machine's crash left alone must notice it, too: it holds that machine's locks until then. Nobody
# waits for a table longer than for a writer, as behind VACUUM FULL.
_SET_UP = f"""
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
    SET lock_timeout = {BUSY_TIMEOUT_MS};
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
_NO_LIMIT = text("SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN (:statements, :transactions)")
_LIMITS = {"statements": "statement_timeout", "transactions": "transaction_timeout"}


class _Text(StrDumperUnknown):
    """PostgreSQL's texts have no NUL. One that a model or a person wrote is shown as what cannot be shown."""

    def dump(self, obj: str) -> Any:
        return super().dump(without_nul(obj))


def without_nul(value: str) -> str:
    """As PostgreSQL keeps it."""
    return value.replace("\0", "\ufffd") if "\0" in value else value


def set_up(connection: Any, record: Any) -> None:
    """A new WatchedConnection, with its place in the pool. Raises psycopg.Error."""
    connection.adapters.register_dumper(str, _Text)
    connection.execute(_SET_UP)
    connection.learn_process()
    connection.commit()
    record.info[_HISTORY] = history_of(connection)


def history_in(info: dict[Any, Any]) -> History:
    """A connection's, of its `info`."""
    found: History = info[_HISTORY]
    return found


def lift_limits(connection: Connection) -> None:
    """Until the transaction's end no statement takes too long for the database's settings."""
    connection.execute(_NO_LIMIT, _LIMITS)
