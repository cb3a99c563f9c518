"""A file that a web process has written into the data folder, as the leader makes a task of it.

Neither can lose it for the other: the leader never removes an offered file, and the web process never touches media/.
A leader that makes no task of it puts it back to where it was written, and the web process, which learns the last word
of the last leader, removes it there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from errors import DiskFullError, FileMissingError, TaskNotFoundError, TranscriptionServerError, UnavailableError
from optimizer.common.atomic_files import publish
from optimizer.common.failpoints import failpoint
from optimizer.common.gate import Gate
from optimizer.leadership.messages import SentFile
from optimizer.storage.task_files import TaskFiles
from optimizer.views.task_view import Submission
from whisper_core.common.durable_files import disk_errors


def submit_received(system: Any, sent: SentFile, files: TaskFiles, named: dict[str, Any], gate: Gate) -> Submission:
    """What the leader's system makes of it: the same task again when it, or a leader before it, has made one.

    gate: once it is shut the next leader is offered the file and may be at work on it, so it is left where it is.
    Raises what `OptimizedWhisperSystem.submit` raises, and FileMissingError.
    """
    if not sent.is_stored:
        hashed: Submission = system.submit(HashedFile(sent.task_id, sent.size, sent.sha256), **named)
        return hashed

    def may_be_a_task() -> bool:
        try:
            system.task(sent.task_id)
        except TaskNotFoundError:
            return False
        except TranscriptionServerError:  # such as a database that does not answer
            return True
        return True

    try:
        return Submission(system.task(sent.task_id), is_replay=False)
    except TaskNotFoundError:
        pass
    part = ReceivedPart(sent, files, may_be_a_task, gate)
    try:
        made: Submission = system.submit(part, **named)
    except BaseException:
        part.discard()  # it may have its place since an earlier leader, and this one's system have refused it unseen
        raise
    return made


class ReceivedPart:
    """See `optimizer.storage.upload_file.ReceivedFile`. The web process will not write to it any more."""

    def __init__(self, sent: SentFile, files: TaskFiles, may_be_a_task: Callable[[], bool], gate: Gate) -> None:
        """Raises FileMissingError for an id that cannot be a task's."""
        self.task_id, self.size, self.sha256 = sent.task_id, sent.size, sent.sha256
        self._part = files.part_path(sent.task_id)
        self._final = files.media_path(sent.task_id)
        self._may_be_a_task = may_be_a_task
        self._gate = gate
        self._is_in_doubt = False

    def commit(self) -> None:
        """Makes it the task's media file, durably. It may be that already: an earlier leader ended before it stored the
        task. Raises DiskFullError, ShuttingDownError, and FileMissingError when the file is not there or is not of the
        length that was said."""
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
                    with self._gate.required():
                        publish(self._part, self._final, steps="upload")
        except DiskFullError:
            self.discard()
            raise
        finally:
            os.close(descriptor)
        failpoint("upload.committed")

    def discard(self) -> None:
        """Puts it back, unless it is a task's for all that is known. Removes nothing."""
        if self._is_in_doubt or not self._final.exists() or self._may_be_a_task():
            return
        with self._gate.entered() as is_open:
            if is_open:
                os.replace(self._final, self._part)

    def leave_in_doubt(self) -> None:
        """To the next leader, who is offered it again and finds its task if there is one: to ask now might be too
        early."""
        self._is_in_doubt = True


class HashedFile:
    """Stands for a file that was sent again with a key that has made its task; see `ReplayedUpload`."""

    def __init__(self, task_id: str, size: int, sha256: str) -> None:
        self.task_id, self.size, self.sha256 = task_id, size, sha256

    def commit(self) -> None:
        raise UnavailableError("The task of this Idempotency-Key was deleted a moment ago. Send the file again.")

    def discard(self) -> None:
        return

    def leave_in_doubt(self) -> None:
        return
