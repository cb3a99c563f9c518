"""What a process may do to shared files until it makes way for the next one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from errors import ShuttingDownError


class Gate:
    """Any thread. Any number pass at a time; once `shut` has returned nobody is inside, and nobody will be."""

    def __init__(self) -> None:
        self._is_shut = False
        self._num_inside = 0
        self._changed = threading.Condition()  # of the two above

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Whether it is open; if so, `shut` waits for the end of the block."""
        with self._changed:
            is_open = not self._is_shut
            self._num_inside += is_open
        try:
            yield is_open
        finally:
            with self._changed:
                self._num_inside -= is_open
                self._changed.notify_all()

    @contextmanager
    def required(self) -> Iterator[None]:
        """As `entered`. Raises ShuttingDownError when it is shut."""
        with self.entered() as is_open:
            if not is_open:
                raise ShuttingDownError()
            yield

    def shut(self) -> None:
        """Waits for those inside, however long they take: whoever comes next may touch what they touch. Harmless when
        repeated."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: self._num_inside == 0)
