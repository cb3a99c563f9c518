"""Files that are there completely or not at all, also after a power cut: write, fsync, rename, fsync the folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import DiskFullError

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def replace_durably(written: Path, final: Path) -> None:
    """Syncs a closed file and gives it its final name, replacing what was there."""
    with open(written, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(written, final)
    sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """Makes the folder's entries, such as a rename in it, survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raises DiskFullError for each of the system's ways to say that no more bytes fit. Other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise DiskFullError() from error
        raise
