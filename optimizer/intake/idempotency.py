"""Idempotency keys while their requests are under way. Which task a finished key has made stands in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from errors import IdempotencyInFlightError
from optimizer.tasks.task import Task


class IdempotencyKeys:
    """A key is its owner's: another one's is another key. Any thread."""

    def __init__(self, find_task: Callable[[str, str], Task | None]) -> None:
        """find_task: the task that an owner's key has made."""
        self._find_task = find_task
        self._held: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, owner: str, key: str | None) -> Iterator[Task | None]:
        """Keeps the key for one request from its first byte to its answer; gives the task that it has made already.

        Raises IdempotencyInFlightError while another request holds it, StoreBusyError.
        """
        if key is None:
            yield None
            return
        with self._lock:
            if (owner, key) in self._held:
                raise IdempotencyInFlightError()
            self._held.add((owner, key))
        try:
            yield self._find_task(owner, key)
        finally:
            with self._lock:
                self._held.discard((owner, key))
