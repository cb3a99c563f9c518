"""The keys in the database. Commands and a running server may use it side by side."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update

from optimizer.accounts.keys import ApiKey, digest_of, new_key
from optimizer.common.clock import Clock
from optimizer.monitoring.audit import AuditTrail
from optimizer.storage.database import Database
from optimizer.storage.mapping import Row
from optimizer.storage.schema import api_keys

COMMAND_LINE = "command line"  # who makes and revokes keys, in the audit trail
USE_NOTED_EVERY = timedelta(hours=1)


class KeyStore:
    """Any thread, any process. Methods raise StoreBusyError, DiskFullError, DatabaseDamagedError."""

    def __init__(self, database: Database, clock: Clock, audit: AuditTrail) -> None:
        self._database = database
        self._clock = clock
        self._audit = audit

    def add(self, name: str) -> tuple[ApiKey, str]:
        """A new key of this account, and its text, which nobody can be shown again."""
        text = new_key()
        key = ApiKey(secrets.token_hex(4), name, digest_of(text), self._clock.now())
        row = {"id": key.id, "name": name, "sha256": key.sha256, "created_at": _written(key.created_at)}
        with self._database.writing() as connection:
            connection.execute(insert(api_keys).values(row))
            self._audit.add(connection, "key_created", COMMAND_LINE, key=key.id, account=name)
        return key, text

    def all(self) -> list[ApiKey]:
        """The oldest first, revoked ones too."""
        with self._database.reading() as connection:
            return [_key(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.created_at))]

    def revoke(self, key_id: str) -> ApiKey | None:
        """The key, which opens nothing any more; None when there is none of that id. Harmless when repeated."""
        with self._database.writing() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).first()
            if row is None:
                return None
            if row.revoked_at is None:
                at = _written(self._clock.now())
                connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=at))
                self._audit.add(connection, "key_revoked", COMMAND_LINE, key=key_id, account=row.name)
        return _key(row)

    def note_use(self, key: ApiKey) -> None:
        """Writes down that the key was used, at most once an hour."""
        now = self._clock.now()
        if key.last_used_at is not None and now - key.last_used_at < USE_NOTED_EVERY:
            return
        hour = now.replace(minute=0, second=0, microsecond=0)
        with self._database.writing() as connection:
            connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(last_used_at=_written(hour)))


def _key(row: Row) -> ApiKey:
    return ApiKey(
        row.id, row.name, row.sha256, datetime.fromisoformat(row.created_at),
        _read(row.last_used_at), _read(row.revoked_at),
    )  # fmt: skip


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
