"""Recordings on their way to another machine: read here, written there, and believed when they are the same."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
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
    """The recordings of one device's tasks on its node; emptied when it is made, in case an earlier one was killed.

    Nobody but this user can read it. Raises OSError.
    """

    def __init__(self, device: str) -> None:
        above = Path(tempfile.gettempdir()) / f"transcription-{os.getuid()}"
        above.mkdir(mode=0o700, exist_ok=True)
        found = above.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077 or above.is_symlink():
            raise PermissionError(f"{above} belongs to somebody else, or others may use it")
        self._folder = above / device.replace(":", "_")
        self.clear()
        self._folder.mkdir(mode=0o700)

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

    def clear(self) -> None:
        """Everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
