"""The keys that open the server at this moment: those of API_KEYS, and the stored ones that are not revoked.

The stored ones are read again every CACHE_LASTS_S, so a key that a command makes or revokes counts that soon.
"""

from __future__ import annotations

import hmac
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass

from errors import CANNOT_STORE
from optimizer.accounts.key_store import KeyStore
from optimizer.accounts.keys import ApiKey, digest_of
from optimizer.common.clock import Clock

log = logging.getLogger(__name__)

CACHE_LASTS_S = 2.0


@dataclass(frozen=True)
class LiveKey:
    id: str
    name: str  # of the account
    sha256: str
    stored: ApiKey | None = None  # None for one of API_KEYS


class LiveKeys:
    """Any thread. Before `open` only API_KEYS count."""

    def __init__(self, named: list[tuple[str, str]], store: KeyStore, clock: Clock) -> None:
        """named: the names and keys of API_KEYS."""
        digests = [(name, digest_of(key)) for name, key in named]
        self._named = {digest: LiveKey(f"env-{digest[:8]}", name, digest) for name, digest in digests}
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._is_open = False
        self._read_at = float("-inf")
        self._by_digest = dict(self._named)
        self._ids = frozenset(key.id for key in self._named.values())
        self._are_any = bool(named)

    def open(self) -> None:
        """From now on the stored keys count too. Raises StoreBusyError, DatabaseDamagedError."""
        with self._lock:
            self._is_open = True
            self._read()

    def find(self, text: str) -> LiveKey | None:
        """The key whose text this is."""
        digest = digest_of(text)
        found = self._current().get(digest)
        if found is None or not hmac.compare_digest(found.sha256, digest):
            return None
        if found.stored is not None:
            with suppress(*CANNOT_STORE):
                self._store.note_use(found.stored)
        return found

    def is_live(self, key_id: str) -> bool:
        self._current()
        return key_id in self._ids

    def names(self) -> set[str]:
        """The accounts that have a key."""
        return {key.name for key in self._current().values()}

    def are_any(self) -> bool:
        """Whether there is a key, or was one: revoking the last one must not open the server to everybody."""
        self._current()
        return self._are_any

    def _current(self) -> dict[str, LiveKey]:
        with self._lock:
            if self._is_open and self._clock.monotonic() - self._read_at >= CACHE_LASTS_S:
                try:
                    self._read()
                except CANNOT_STORE as error:  # what was read last still holds; no task can be read either
                    log.warning("event=keys_not_read code=%s", error.code)
            return self._by_digest

    def _read(self) -> None:
        stored = self._store.all()
        live = {key.sha256: LiveKey(key.id, key.name, key.sha256, key) for key in stored if not key.is_revoked}
        self._by_digest = {**live, **self._named}
        self._ids = frozenset(key.id for key in self._by_digest.values())
        self._are_any = self._are_any or bool(stored)
        self._read_at = self._clock.monotonic()
