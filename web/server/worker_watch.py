"""How long the master waits for a sign of life of its worker: long while it starts or stops, short in between."""

from __future__ import annotations

import mmap

BOOT_TIMEOUT_S = 120
HANG_TIMEOUT_S = 15  # noticed within 2 s after that; a machine that swaps may well stand still for some seconds


class WorkerWatch:
    """Made in the master before the fork: it is in memory that both processes share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def begin(self) -> None:
        """In the worker, which listens from here on."""
        self._memory[0] = 1

    def end(self) -> None:
        """In the worker before it stops the system, and in the master when the worker has ended."""
        self._memory[0] = 0

    @property
    def timeout_s(self) -> int:
        return HANG_TIMEOUT_S if self._memory[0] else BOOT_TIMEOUT_S
