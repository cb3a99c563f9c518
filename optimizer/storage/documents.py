"""What was learned from measurements, kept across restarts: small JSON documents by name.

Nothing here is needed for correctness: what is missing or cannot be read is learned again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Protocol

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


class Persistable(Protocol):
    def dump(self) -> Any: ...

    def load(self, dumped: Any, /) -> None:
        """Raises TypeError, ValueError or AttributeError when it is given anything that `dump` did not return."""


class Persistence:
    """`load` once before the first `save`; one thread at a time."""

    def __init__(self, document_store: DocumentStore, parts: Mapping[str, Persistable]) -> None:
        """parts: by the name of their document."""
        self._document_store = document_store
        self._parts = parts
        self._saved: dict[str, Any] = {}

    def load(self) -> None:
        """What earlier runs measured. Raises StoreBusyError, DatabaseDamagedError."""
        for name, part in self._parts.items():
            documents = self._document_store.read(name)
            if name not in documents:
                continue
            try:
                part.load(documents[name])
            except (AttributeError, TypeError, ValueError):
                log.warning("event=%s_unreadable: they are measured again", name)

    def save(self) -> None:
        """Writes what has changed since the last time. Raises StoreBusyError, DiskFullError, DatabaseDamagedError."""
        dumped = {name: part.dump() for name, part in self._parts.items()}
        changed = {name: value for name, value in dumped.items() if value != self._saved.get(name)}
        self._document_store.write(changed)
        self._saved.update(changed)
