"""Measurements that are wanted again after a restart, kept as documents in the database."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from optimizer.storage.documents import DocumentStore

log = logging.getLogger(__name__)


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
