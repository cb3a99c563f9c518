"""Recordings on their way to another machine: read here, written there, and believed when they are the same."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

CHUNK_BYTES = 32_000_000  # of one object in Ray's store: 17 minutes of sound
HEAD_BYTES = 1_000_000  # that are compared, of a file in a shared folder

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def chunks_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes. Raises OSError."""
    with path.open("rb") as file:
        offset = 0
        while data := file.read(CHUNK_BYTES):
            yield offset, data
            offset += len(data)


def fingerprint(path: Path) -> tuple[int, str]:
    """Its size and a hash of its beginning. Raises OSError."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_size, hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()


class SoundFolder:
    """The recordings of one device's tasks on its node. Nobody but this user can read it.

    Every start of a device has its own: the end of the one before, which may be noticed late, must not take its
    successor's recordings along, nor those of another server that uses the same node. A lock says that it is in use,
    and goes with the process, so what a killed one left is found and removed here. Raises OSError.
    """

    def __init__(self, device: str) -> None:
        above = Path(tempfile.gettempdir()) / f"transcription-{os.getuid()}"
        above.mkdir(mode=0o700, exist_ok=True)
        found = above.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077 or above.is_symlink():
            raise PermissionError(f"{above} belongs to somebody else, or others may use it")
        with _locked(above):  # a folder that has just been made has no lock for a moment
            _remove_abandoned(above)
            self._folder = Path(tempfile.mkdtemp(prefix=f"{device.replace(':', '_')}-", dir=above))
            self._lock = ExitStack()
            self._lock.enter_context(_locked(self._folder))

    def path(self, attempt_id: str) -> Path:
        """Raises ValueError for what is no attempt's id."""
        if not _NAME.fullmatch(attempt_id):
            raise ValueError("no attempt has such an id")
        return self._folder / f"{attempt_id}.pcm"

    def write(self, attempt_id: str, offset: int, data: bytes) -> None:
        """The same bytes may come twice."""
        descriptor = os.open(self.path(attempt_id), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.seek(offset)
            file.write(data)

    def remove(self, attempt_id: str) -> None:
        self.path(attempt_id).unlink(missing_ok=True)

    def close(self) -> None:
        """Everything goes. May be called again."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def _remove_abandoned(above: Path) -> None:
    for folder in above.iterdir():
        with suppress(OSError), _locked(folder, is_waiting=False):  # BlockingIOError: it is in use
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, *, is_waiting: bool = True) -> Iterator[None]:
    """Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if is_waiting else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
