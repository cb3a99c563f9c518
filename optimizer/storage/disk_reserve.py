"""Disk space kept for what must work when the disk is full: a small file that is removed when it is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from optimizer.common.atomic_files import create_private

log = logging.getLogger(__name__)

RESERVED_BYTES = 4_000_000  # the changes of some hundred tasks in the database and its log


class DiskReserve:
    """Any thread."""

    def __init__(self, path: Path, free_bytes: Callable[[], int], min_free_bytes: int) -> None:
        """min_free_bytes: what the reserve itself must leave free, as uploads must."""
        self._path = path
        self._free_bytes = free_bytes
        self._min_free_bytes = max(min_free_bytes, RESERVED_BYTES)

    def fill(self) -> None:
        """Takes the space, unless it is taken already or too little would be left. Never raises."""
        try:
            if self._path.exists() or self._free_bytes() - RESERVED_BYTES < self._min_free_bytes:
                return
            descriptor = create_private(self._path)
            try:
                os.posix_fallocate(descriptor, 0, RESERVED_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("event=no_reserve reason=%r", error.strerror)
            self.release()

    def release(self) -> bool:
        """Gives the space back. Returns whether there was any."""
        with suppress(OSError):
            self._path.unlink()
            return True
        return False
