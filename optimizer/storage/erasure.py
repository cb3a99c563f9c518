"""Makes deleted rows disappear from SQLite's log, too: it is written into the database and emptied.

That is not possible while somebody reads an older state of the database, a backup for example. Then it is tried again
until it has been done, at the latest when the server stops or starts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from errors import TranscriptionServerError

log = logging.getLogger(__name__)

FIRST_WAIT_MS = 100  # for ordinary reads, which take a few milliseconds
RETRY_WAIT_MS = 20  # writers wait as long
RETRY_EVERY_S = 0.5


class LogErasure:
    """Any thread. It has a thread of its own only while a reader prevents it."""

    def __init__(self, truncate: Callable[[int], bool]) -> None:
        """truncate: waits so many milliseconds for readers at most, and returns whether the log is empty now."""
        self._truncate = truncate
        self._lock = threading.Lock()
        self._requests = 0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def erase(self) -> None:
        """At once, or in the background as soon as it is possible. Deletes are committed by now. Never raises."""
        with self._lock:
            self._requests += 1
            if self._thread is not None:
                return
        if self._try(FIRST_WAIT_MS):
            return
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                log.info("event=erasure_waits: somebody reads an older state of the database")
                self._thread = threading.Thread(target=self._run, name="erasure")
                self._thread.start()

    @property
    def is_pending(self) -> bool:
        """Whether the log may still hold what was deleted."""
        with self._lock:
            return self._thread is not None

    def stop(self) -> None:
        """Gives up; closing the database does the rest."""
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(RETRY_EVERY_S):
            with self._lock:
                requests = self._requests
            is_erased = self._try(RETRY_WAIT_MS)
            with self._lock:
                if is_erased and requests == self._requests:  # nothing was deleted since it began
                    self._thread = None
                    log.info("event=erased")
                    return

    def _try(self, wait_ms: int) -> bool:
        try:
            return self._truncate(wait_ms)
        except TranscriptionServerError as error:
            log.warning("event=erasure_failed code=%s", error.code)
            return False
