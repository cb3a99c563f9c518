"""Keeps trying to store something until the disk and the database take it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from errors import CANNOT_STORE

log = logging.getLogger(__name__)

Stored = TypeVar("Stored")

PAUSES_S = (0.1, 0.5, 2.0, 5.0)


class StorageRetry:
    """Any thread. What could not be stored when the server stops is done again after the restart."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._problem: str | None = None

    def until_stored(self, store: Callable[[], Stored]) -> Stored | None:
        """What `store` returns once it succeeds; None when the server stops first."""
        tries = 0
        while True:
            try:
                stored = store()
            except CANNOT_STORE as error:
                self._problem = error.message
                pause_s = PAUSES_S[min(tries, len(PAUSES_S) - 1)]
                log.error("event=storing_waits code=%s retry_in_s=%.1f", error.code, pause_s)
                if self._stopping.wait(pause_s):
                    return None
                tries += 1
            else:
                self._problem = None
                return stored

    def problem(self) -> str | None:
        """Why results cannot be stored at the moment, or None."""
        return self._problem

    def stop(self) -> None:
        """Every `until_stored` gives up at its next pause."""
        self._stopping.set()
