"""Files below one folder, reached without following a link that somebody put there.

Each folder on the way is opened by its name in the one before, so that nobody who can write there leads the server to
other places by exchanging a folder for a link.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a pipe without a writer
# What file systems without hard links say, and a kernel that protects them
_NO_LINKS = frozenset(
    {errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}
)


class Tree:
    """Any thread. Methods raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def folder(self, path: PurePosixPath, *, is_made: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the root. is_made: made when it is missing; the root never is."""
        descriptor = os.open(self.root, _FOLDER)
        try:
            for name in path.parts:
                inner = _open_inside(descriptor, name, is_made=is_made)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def open_file(folder: int, name: str) -> int:
    """A descriptor for reading. Raises FileNotFoundError for what is no plain file."""
    descriptor = os.open(name, _FILE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return descriptor


def exists(folder: int, name: str) -> bool:
    """Whether anything is called so, also a link that leads nowhere."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def sha256_of(folder: int, name: str) -> str | None:
    """In hex; None when there is no plain file of that name."""
    try:
        with open(open_file(folder, name), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return None
        raise


def rename_new(source: int, name: str, target: int, new_name: str) -> bool:
    """Renames a file and never replaces another. False when there is one of that name. Harmless when repeated.

    Where the file system has no hard links, a file that appears between a look and the rename is replaced.
    """
    try:
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError:
        if not _is_same_file(source, name, target, new_name):
            return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if exists(target, new_name):
            return False
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
        return True
    os.unlink(name, dir_fd=source)
    return True


def _is_same_file(source: int, name: str, target: int, new_name: str) -> bool:
    one = os.stat(name, dir_fd=source, follow_symlinks=False)
    other = os.stat(new_name, dir_fd=target, follow_symlinks=False)
    return os.path.samestat(one, other)


def _open_inside(folder: int, name: str, *, is_made: bool) -> int:
    if is_made and not exists(folder, name):
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
            os.fsync(folder)
            _allow_as(folder, name)
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)


def _allow_as(folder: int, name: str) -> None:
    """Lets those into a new folder who may enter the one that it is in, whatever the umask says."""
    made = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    try:
        permissions = os.fstat(folder).st_mode & 0o777
        with suppress(PermissionError):  # a file system without permissions, or a service that may not set the group's
            os.fchmod(made, permissions | os.fstat(made).st_mode & 0o7000)
    finally:
        os.close(made)
