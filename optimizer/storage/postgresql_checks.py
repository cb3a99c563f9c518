"""Whether a PostgreSQL server can be used, asked at a server's start and by each command."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, Engine, text

from errors import InvalidSettingsError
from optimizer.storage.postgresql_errors import POOLED

log = logging.getLogger(__name__)

OLDEST_VERSION = 13  # the first with pg_xact_status for whole transaction numbers
_SESSION = text("SELECT pg_backend_pid()")
_ASKED = 4


def check_server(connection: Connection, place: str) -> None:
    """place: as `place_of`. Raises InvalidSettingsError."""
    major = int((connection.dialect.server_version_info or (0,))[0])
    if major < OLDEST_VERSION:
        raise InvalidSettingsError(
            f"DATABASE_URL: the server {place} is PostgreSQL {major}. It must be {OLDEST_VERSION} or newer."
        )
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise InvalidSettingsError(
            f"DATABASE_URL: the database has the encoding {encoding}. Make one with UTF8: "
            "createdb --encoding=UTF8 --template=template0 NAME"
        )
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        raise InvalidSettingsError(f"DATABASE_URL: the server {place} is a copy that can only be read.")
    if connection.scalar(text("SHOW fsync")) == "off":
        log.warning("event=database_not_durable: fsync is off on the database server, a power cut loses tasks")


def check_sessions(connection: Connection, engine: Engine, place: str) -> None:
    """Whether each connection has a session of its own for as long as it lasts, as the lock needs by which one server
    at a time has the database. Behind a pooler that lends them, a second server would be let in.

    connection: one that commits each statement. Raises InvalidSettingsError.

    Such a pooler lends the session that was given back last, or the next one in turn. So this asks several times, and
    once more while a transaction of another connection keeps one.
    """
    sessions = {connection.scalar(_SESSION) for _ in range(_ASKED)}
    with engine.connect() as other, other.begin():
        lent = other.scalar(_SESSION)
        sessions.add(connection.scalar(_SESSION))
    if len(sessions) > 1 or lent in sessions:
        raise InvalidSettingsError(POOLED.format(place=place))
