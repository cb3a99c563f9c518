"""When the worker process has ended: start another one, or end the server, and with which exit code."""

from __future__ import annotations

import logging
import mmap
import struct
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

UNHEALTHY_EXIT_CODE = 70  # EX_SOFTWARE: a service manager should start the server again
MAX_DEATHS, DEATHS_WINDOW_S = 5, 60.0


class RestartPolicy:
    """Made in the master before the fork, so that both processes see a failed start."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._start_failure = _SharedExitCode()
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)

    def record_failed_start(self, exit_code: int) -> None:
        """In the worker. A second try would fail in the same way, so the master ends with this code."""
        self._start_failure.set(exit_code)

    @property
    def has_failed_start(self) -> bool:
        return self._start_failure.is_set

    def exit_code_after_death(self) -> int | None:
        """In the master, each time a worker has ended: the code to end with, or None to start another worker."""
        if self._start_failure.is_set:
            return self._start_failure.get()
        now = self._monotonic()
        self._deaths.append(now)
        if len(self._deaths) == MAX_DEATHS and now - self._deaths[0] < DEATHS_WINDOW_S:
            log.error("event=given_up reason='the server process ended %d times in a minute'", MAX_DEATHS)
            return UNHEALTHY_EXIT_CODE
        return None


class _SharedExitCode:
    """An exit code in memory that the master and its forked worker share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, struct.calcsize("?i"))

    @property
    def is_set(self) -> bool:
        return bool(struct.unpack_from("?i", self._memory)[0])

    def set(self, code: int) -> None:
        struct.pack_into("?i", self._memory, 0, True, code)

    def get(self) -> int:
        return int(struct.unpack_from("?i", self._memory)[1])
