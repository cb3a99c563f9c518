"""What was learned from measurements, kept across restarts: small JSON documents by name.

Nothing here is needed for correctness: what is missing or cannot be read is learned again.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from sqlalchemy import delete, insert, select

from optimizer.common.clock import Clock
from optimizer.storage.database import Database
from optimizer.storage.schema import learned

log = logging.getLogger(__name__)


class DocumentStore:
    """Any thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def read(self, prefix: str) -> dict[str, Any]:
        """Every document whose name begins with `prefix`. Raises StoreBusyError, DatabaseDamagedError."""
        query = select(learned.c.name, learned.c.value).where(learned.c.name.startswith(prefix, autoescape=True))
        documents = {}
        with self._database.reading() as connection:
            for name, text in connection.execute(query):
                try:
                    documents[name] = json.loads(text)
                except ValueError:
                    log.warning("event=unreadable_document name=%s", name)
        return documents

    def write(self, documents: dict[str, Any]) -> None:
        """Replaces these, in one transaction. Raises StoreBusyError, DiskFullError, DatabaseDamagedError."""
        if not documents:
            return
        at = self._clock.now().isoformat(timespec="seconds")
        rows = [{"name": name, "value": json.dumps(value), "updated_at": at} for name, value in documents.items()]
        with self._database.writing() as connection:
            connection.execute(delete(learned).where(learned.c.name.in_(documents)))
            connection.execute(insert(learned), rows)
