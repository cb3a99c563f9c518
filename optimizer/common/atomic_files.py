"""Private files that are there completely or not at all, with a failpoint at every step that a crash may interrupt."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from errors import DiskFullError
from optimizer.common.failpoints import failpoint
from whisper_core.common.durable_files import disk_errors, sync_folder

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create_private(path: Path) -> int:
    """A descriptor of a new file that only this user can read. Raises FileExistsError, also for a link in its place."""
    return os.open(path, _NEW_FILE, PRIVATE_FILE)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes every byte; `os.write` may write only a part."""
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def publish(temporary: Path, final: Path, *, steps: str) -> None:
    """Gives a synced file its final name, replacing what was there. steps: the first word of the failpoints' names."""
    failpoint(f"{steps}.before_rename")
    os.replace(temporary, final)
    failpoint(f"{steps}.before_folder_sync")
    sync_folder(final.parent)


def write_durably(path: Path, data: bytes, *, steps: str) -> None:
    """Leaves all of `data` in `path`, or what was there before. Raises DiskFullError. steps: as in `publish`."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    failpoint(f"{steps}.before_write")
    try:
        with disk_errors():
            _write_synced(temporary, data, steps)
            publish(temporary, path, steps=steps)
    except (OSError, DiskFullError):
        with suppress(OSError):  # another error is on its way up, and the start-up sweep removes what stays
            temporary.unlink(missing_ok=True)
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
