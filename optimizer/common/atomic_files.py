"""Files that are there completely or not at all, also after a power cut: write, fsync, rename, fsync the folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import DiskFullError
from optimizer.common.failpoints import failpoint

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raises DiskFullError for the system's ways to say that no more bytes fit; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise DiskFullError() from error
        raise


def create_private(path: Path) -> int:
    """A descriptor of a new file that only this user can read. Raises FileExistsError, also for a link in its place."""
    return os.open(path, _NEW_FILE, PRIVATE_FILE)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """`os.write` may take a part only."""
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Makes the folder's entries, so a rename inside it, survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: Path, final: Path, *, steps: str) -> None:
    """Gives a synced file its final name, replacing what was there. steps: the failpoints' first word."""
    failpoint(f"{steps}.before_rename")
    os.replace(temporary, final)
    failpoint(f"{steps}.before_folder_sync")
    sync_folder(final.parent)


def write_durably(path: Path, data: bytes, *, steps: str) -> None:
    """All of `data` under `path`, or what was there before. Raises DiskFullError. steps: the failpoints' first word."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    failpoint(f"{steps}.before_write")
    try:
        with disk_errors():
            _write_synced(temporary, data, steps)
            publish(temporary, path, steps=steps)
    except (OSError, DiskFullError):
        _remove_quietly(temporary)
        raise
    failpoint(f"{steps}.written")


def _write_synced(path: Path, data: bytes, steps: str) -> None:
    descriptor = create_private(path)
    try:
        write_all(descriptor, data)
        failpoint(f"{steps}.before_sync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_quietly(path: Path) -> None:
    """While another error is on its way up; the start-up sweep takes what stays."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
