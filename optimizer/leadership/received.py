"""A file that a web process has written into the data folder, as the leader makes a task of it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from errors import DiskFullError, FileMissingError, UnavailableError
from optimizer.common.atomic_files import publish
from optimizer.common.failpoints import failpoint
from optimizer.leadership.messages import SentFile
from optimizer.storage.task_files import TaskFiles
from whisper_core.common.durable_files import disk_errors


def received_file(sent: SentFile, files: TaskFiles) -> ReceivedPart | HashedFile:
    """See `optimizer.storage.upload_file.ReceivedFile`. Raises FileMissingError for an id that cannot be a task's."""
    if not sent.is_stored:
        return HashedFile(sent.task_id, sent.size, sent.sha256)
    return ReceivedPart(sent, files.part_path(sent.task_id), files.media_path(sent.task_id))


class ReceivedPart:
    """The web process has closed it or will not write to it any more."""

    def __init__(self, sent: SentFile, part: Path, final: Path) -> None:
        self.task_id, self.size, self.sha256 = sent.task_id, sent.size, sent.sha256
        self._part = part
        self._final = final

    def commit(self) -> None:
        """Makes it the task's media file, durably. It may be that already: an earlier leader ended before it stored the
        task. Raises DiskFullError, and FileMissingError when the file is not there, or not as long as was said."""
        try:
            path = self._part if self._part.exists() else self._final
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise FileMissingError() from error
        try:
            if os.fstat(descriptor).st_size != self.size:
                raise FileMissingError()
            with disk_errors():
                failpoint("upload.before_sync")
                os.fsync(descriptor)
                if path is self._part:
                    publish(self._part, self._final, steps="upload")
        except DiskFullError:
            self.discard()
            raise
        finally:
            os.close(descriptor)
        failpoint("upload.committed")

    def discard(self) -> None:
        for path in (self._part, self._final):
            with suppress(FileNotFoundError):
                path.unlink()


class HashedFile:
    """Stands for a file that was sent again with a key that has made its task; see `ReplayedUpload`."""

    def __init__(self, task_id: str, size: int, sha256: str) -> None:
        self.task_id, self.size, self.sha256 = task_id, size, sha256

    def commit(self) -> None:
        raise UnavailableError("The task of this Idempotency-Key was deleted a moment ago. Send the file again.")

    def discard(self) -> None:
        return
