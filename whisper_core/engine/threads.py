"""How many of torch's threads a piece of work gets: encoder and decoder share the cores while both are at work.

On two cores the pair, one thread each, does more than either does with two threads in turn: the encoder is bound by
arithmetic and the decoder by memory, small products gain little from a second thread, and OpenMP threads that have to
wait for a core spin until they get it (docs/engine-notes.md).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ThreadBudget:
    """cores: what the engine may use in all. Any thread."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._lock = threading.Lock()
        self._at_work = 0

    @contextmanager
    def share(self, at_most: int | None = None) -> Iterator[None]:
        """All cores when nobody else is at work at the beginning, else half of them; no more than `at_most`. Sets
        torch's number for the calling thread only."""
        with self._lock:
            self._at_work += 1
            threads = self._cores if self._at_work == 1 else max(1, self._cores // 2)
        threads = min(threads, at_most or threads)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
