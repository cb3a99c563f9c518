"""Who is logged in on the page: kept in the database, so that a restart logs nobody out and a logout is final."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from optimizer.accounts.keys import digest_of, new_token
from optimizer.common.clock import Clock
from optimizer.storage.database import Database
from optimizer.storage.schema import sessions

LASTS_S = 30 * 86400


@dataclass(frozen=True)
class Session:
    id: str
    name: str  # of the account
    key_id: str  # of the key that opened it, and with which it ends


class Sessions:
    """Any thread. Methods raise StoreBusyError, DiskFullError, DatabaseDamagedError."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, name: str, key_id: str) -> str:
        """The token of a new session, which only the browser keeps. Forgets the sessions that are over."""
        token, now = new_token(), self._clock.now().timestamp()
        row = {"id": digest_of(token), "name": name, "key_id": key_id, "ends_at": now + LASTS_S}
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.ends_at <= now))
            connection.execute(insert(sessions).values(row))
        return token

    def find(self, token: str) -> Session | None:
        (session,) = self._going_on({digest_of(token)}) or (None,)
        return session

    def going_on(self, session_ids: Collection[str]) -> set[str]:
        """Those of these that have not ended."""
        return {session.id for session in self._going_on(session_ids)} if session_ids else set()

    def _going_on(self, session_ids: Collection[str]) -> list[Session]:
        now = self._clock.now().timestamp()
        query = select(sessions).where(sessions.c.id.in_(session_ids), sessions.c.ends_at > now)
        with self._database.reading() as connection:
            return [Session(row.id, row.name, row.key_id) for row in connection.execute(query)]

    def end(self, session_id: str) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.id == session_id))
