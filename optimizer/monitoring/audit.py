"""Who did what, and when: logins, keys, cancelled and deleted tasks, links, limits. Only where there are accounts.

Written at once and in a table of its own: `event_log` keeps its events in memory for a while and numbers them there,
while these are also written by commands, in another process.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from errors import CANNOT_STORE
from optimizer.common.clock import Clock
from optimizer.monitoring.event_log import SystemEvent
from optimizer.storage.database import Database
from optimizer.storage.mapping import Row
from optimizer.storage.schema import audit_events

log = logging.getLogger(__name__)

MAX_KEPT = 50_000

SENTENCES = {
    "login": "{by} logged in.",
    "login_failed": "A login was refused.",
    "logout": "{by} logged out.",
    "key_created": "A key for {account} was made.",
    "key_revoked": "A key of {account} was revoked.",
    "task_cancelled": "{by} cancelled a task.",
    "tasks_cancelled": "{by} cancelled {count} tasks.",
    "task_deleted": "{by} deleted a task.",
    "task_expired": "A task was deleted {days} days after its end, as KEEP_TEXT_DAYS says.",
    "media_expired": "A recording was removed {days} days after its task's end, as KEEP_MEDIA_DAYS says.",
    "share_added": "{by} made a link to a transcript.",
    "share_removed": "{by} revoked a link to a transcript.",
    "webhook_added": "{by} added a webhook.",
    "webhook_removed": "{by} removed a webhook.",
    "limits_changed": "{by} changed the limits.",
    "model_fetched": "{by} had a model fetched.",
}


class AuditTrail:
    """Any thread, any process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def record(self, action: str, by: str, **data: Any) -> None:
        """One more entry. What was done is done, so a database that cannot be written is only logged."""
        log.info("event=audit action=%s by=%s", action, by or "nobody")
        try:
            with self._database.writing() as connection:
                self.add(connection, action, by, **data)
        except CANNOT_STORE as error:
            log.error("event=audit_not_written action=%s code=%s", action, error.code)

    def add(self, connection: Connection, action: str, by: str, **data: Any) -> None:
        """One more entry, in the caller's transaction. by: an account's name, or "" for somebody unknown."""
        document = json.dumps({**data, "by": by}, ensure_ascii=False)
        row = {"at": self._clock.now().timestamp(), "action": action, "data": document}
        (number,) = connection.execute(insert(audit_events).values(row)).inserted_primary_key or (0,)
        connection.execute(delete(audit_events).where(audit_events.c.id <= number - MAX_KEPT))

    def entries(self, limit: int = 100, before: int | None = None) -> list[SystemEvent]:
        """The newest first, as events of the kind `audit`. Raises StoreBusyError, DatabaseDamagedError."""
        query = select(audit_events).order_by(audit_events.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit_events.c.id < before)
        with self._database.reading() as connection:
            return [_event(row) for row in connection.execute(query)]


def _event(row: Row) -> SystemEvent:
    data = {**json.loads(row.data), "action": row.action}
    sentence = SENTENCES.get(row.action, row.action)
    text = sentence.format_map({"account": "", **data, "by": data.get("by") or "Somebody"})
    return SystemEvent(row.id, row.at, "audit", text, data)
