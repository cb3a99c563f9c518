"""Private files that are there completely or not at all, with a failpoint at every step that a crash may interrupt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
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
    """Leaves all of `data` in `path`, or what was there before. Raises DiskFullError; FileNotFoundError when somebody
    removed the file while it was written. steps: as in `publish`."""
    if not write_all_durably({path: data}, steps=steps):
        raise FileNotFoundError(path)


def write_all_durably(contents: Mapping[Path, bytes], *, steps: str) -> set[Path]:
    """`write_durably` for several files of one folder, which reach the disk together: many times the same small wait
    becomes one. Returns those that are there, without any that somebody removed while it was written.

    Raises DiskFullError. steps: as in `publish`.
    """
    temporaries = {path: path.with_name(path.name + ".tmp") for path in contents}
    for temporary in temporaries.values():
        temporary.unlink(missing_ok=True)
    failpoint(f"{steps}.before_write")
    try:
        with disk_errors():
            _write_synced({temporary: contents[path] for path, temporary in temporaries.items()}, steps)
            published = {path for path, temporary in temporaries.items() if _rename(temporary, path, steps)}
            failpoint(f"{steps}.before_folder_sync")
            for folder in {path.parent for path in published}:
                sync_folder(folder)
    except (OSError, DiskFullError):
        for temporary in temporaries.values():
            with suppress(OSError):  # another error is on its way up, and the start-up sweep removes what stays
                temporary.unlink(missing_ok=True)
        raise
    failpoint(f"{steps}.written")
    return published


def _write_synced(contents: Mapping[Path, bytes], steps: str) -> None:
    """The disk is told of all files before the first one is waited for, so that one flush takes them all."""
    with ExitStack() as stack:
        descriptors = []
        for path, data in contents.items():
            descriptor = create_private(path)
            stack.callback(os.close, descriptor)
            write_all(descriptor, data)
            descriptors.append(descriptor)
        if len(descriptors) > 1 and hasattr(os, "posix_fadvise"):  # not on macOS
            for descriptor in descriptors:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # begins to write, without waiting
        for descriptor in descriptors:
            failpoint(f"{steps}.before_sync")
            os.fsync(descriptor)


def _rename(temporary: Path, final: Path, steps: str) -> bool:
    """False when somebody removed the file."""
    failpoint(f"{steps}.before_rename")
    try:
        os.replace(temporary, final)
    except FileNotFoundError:
        return False
    return True
