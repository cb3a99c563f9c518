"""An upload while it arrives: written once, hashed and counted on the way, and kept only when `commit` returns."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from errors import DiskFullError, FileTooLargeError, UnavailableError
from optimizer.common.atomic_files import PRIVATE_FILE, create_private, publish, write_all
from optimizer.common.failpoints import failpoint
from whisper_core.common.durable_files import disk_errors

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

DOUBT = ".doubt"  # ends the name of the note that an upload was left in doubt
SPACE_CHECK_BYTES = 16 * 1024 * 1024  # how much is written between two checks of the free space


class ReceivedFile(Protocol):
    """A file that has arrived, on its way to be a task's."""

    @property
    def task_id(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def commit(self) -> None:
        """Makes it the task's media file, durably. Raises DiskFullError."""

    def discard(self) -> None:
        """There will be no such task. Harmless when repeated."""

    def leave_in_doubt(self) -> None:
        """Nobody knows whether there is such a task, and the next start will. Until then nobody removes the file, also
        not by a later `discard`."""


class Upload(io.RawIOBase):
    """A binary stream that werkzeug's form parser can write into (its `stream_factory`), then seek and read.

    Writes always go to the end, whatever was read before. Unbuffered, because the parser writes 64 KB at a time. One
    thread at a time. Closing it without `commit` discards it, and so does dropping the last reference to it.
    """

    def __init__(
        self, task_id: str, part: Path, final: Path, *, max_bytes: int | None, has_room: Callable[[int], bool]
    ) -> None:
        """part: created here, private. has_room: whether that many more bytes leave enough free space."""
        super().__init__()
        self.task_id = task_id
        self.size = 0
        self._part = part
        self._final = final
        self._max_bytes = max_bytes
        self._has_room = has_room
        self._hash = hashlib.sha256()
        self._position = 0
        self._is_committed = False
        self._is_handed_over = False
        self._own_paths = [part]  # where this object has put the file, and so may remove it from
        self._descriptor = -1
        with disk_errors():
            self._descriptor = create_private(part)

    @property
    def sha256(self) -> str:
        """Hex digest of everything written so far."""
        return self._hash.hexdigest()

    def write(self, data: ReadableBuffer, /) -> int:
        """Writes all of `data`. Raises FileTooLargeError or DiskFullError, and then the upload is discarded."""
        view = memoryview(data).cast("B")
        try:
            self._refuse_when_full(view.nbytes)
            failpoint("upload.write")
            with disk_errors():
                write_all(self._open_descriptor(), view)
        except (DiskFullError, FileTooLargeError):
            self.discard()
            raise
        self._hash.update(view)
        self.size += view.nbytes
        return view.nbytes

    def commit(self) -> None:
        """Makes it the task's media file, durably. Raises DiskFullError, and then nothing is kept."""
        descriptor = self._open_descriptor()
        try:
            with disk_errors():
                failpoint("upload.before_sync")
                os.fsync(descriptor)
                self._own_paths.append(self._final)
                publish(self._part, self._final, steps="upload")
        except DiskFullError:
            self.discard()
            raise
        self._is_committed = True
        failpoint("upload.committed")

    def hand_over(self) -> None:
        """Closes it, and the file stays where it is, also at a later `discard`: a task has been made of it, or may have
        been."""
        self._is_handed_over = True
        self._close_descriptor()
        super().close()

    def leave_in_doubt(self) -> None:
        """By a note, which lets `TaskFiles.sweep` remove the file where there is no such task. Where the note cannot be
        written the file stays, and is reported there."""
        with suppress(OSError):
            self._part.with_suffix(DOUBT).touch(PRIVATE_FILE)
        self.hand_over()

    def discard(self) -> None:
        """Closes it and removes the file, committed or not, unless it was handed over. Harmless when repeated.

        What another process has moved to the task's place stays there: only that one knows whether it is a task's.
        """
        self._close_descriptor()
        for path in () if self._is_handed_over else self._own_paths:
            with suppress(FileNotFoundError):
                path.unlink()
        self._is_committed = False
        super().close()

    def close(self) -> None:
        if self.closed:
            return
        if self._is_committed:
            self._close_descriptor()
            super().close()
        elif self._descriptor >= 0:
            self.discard()
        else:
            super().close()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        count = os.preadv(self._open_descriptor(), [view], self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError("negative seek position")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return not self._is_committed

    def seekable(self) -> bool:
        return True

    def _refuse_when_full(self, nbytes: int) -> None:
        if self._is_committed:
            raise ValueError("a committed upload takes no more bytes")
        if self._max_bytes is not None and self.size + nbytes > self._max_bytes:
            raise FileTooLargeError()
        is_check_due = self.size // SPACE_CHECK_BYTES != (self.size + nbytes) // SPACE_CHECK_BYTES
        if is_check_due and not self._has_room(nbytes):
            raise DiskFullError()

    def _open_descriptor(self) -> int:
        if self._descriptor < 0:
            raise ValueError("the upload is closed")
        return self._descriptor

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class ReplayedUpload(io.RawIOBase):
    """What is sent again with an Idempotency-Key that has made its task: hashed to see that it is the same, and not
    kept, so that neither a full queue nor a full disk can refuse it."""

    def __init__(self, task_id: str, *, max_bytes: int | None) -> None:
        super().__init__()
        self.task_id = task_id
        self.size = 0
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: ReadableBuffer, /) -> int:
        """Raises FileTooLargeError."""
        view = memoryview(data).cast("B")
        if self._max_bytes is not None and self.size + view.nbytes > self._max_bytes:
            raise FileTooLargeError()
        self._hash.update(view)
        self.size += view.nbytes
        return view.nbytes

    def commit(self) -> None:
        raise UnavailableError("The task of this Idempotency-Key was deleted a moment ago. Send the file again.")

    def discard(self) -> None:
        return

    def leave_in_doubt(self) -> None:
        return

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """For werkzeug, which rewinds every file that it has received."""
        return offset

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
