"""From an upload to a task: the file is made durable and decoded to samples, then the task is stored and answered for.

Decoding is waited for briefly, so that most bad files are refused in the answer to their own upload and nothing of them
is kept. A recording that takes longer is accepted first and prepared afterwards (see `preparer`), and so are all of
many that come at the same time: ffmpeg's start alone takes longer than everything else about a small upload.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from errors import (
    CommitUncertainError,
    EmptyFileError,
    FfmpegMissingError,
    ShuttingDownError,
    TranscriptionServerError,
    UploadBusyError,
)
from optimizer.intake.preparer import Preparer
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import ReceivedFile
from optimizer.tasks.batches import Batch
from optimizer.tasks.task import NewTask, Priority, Task, TaskOptions
from whisper_core.audio.decode import DecodedAudio

DECODE_WAIT_S = 2.0
MOST_WAITED_FOR = 3  # short decodes in line, about as many as are done within a fraction of that


@dataclass(frozen=True)
class SubmissionRequest:
    """What a person asked for with an upload."""

    filename: str
    options: TaskOptions
    priority: Priority
    device: str
    idempotency_key: str | None = None
    owner: str = ""
    callback_url: str | None = None
    batch: Batch | None = None


class TaskIntake:
    """Any thread."""

    def __init__(
        self,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        preparer: Preparer,
        *,
        max_attempts: int,
    ) -> None:
        self._queue = queue
        self._files = files
        self._preparer = preparer
        self._max_attempts = max_attempts

    def accept(
        self, upload: ReceivedFile, request: SubmissionRequest, refusal: TranscriptionServerError | None = None
    ) -> tuple[Task, bool]:
        """The task of a received upload, and whether an earlier request with the same key had made it already.

        refusal: raised in place of making a new task; the earlier one is returned all the same. The caller holds the
        key (see `IdempotencyKeys`), so that no other request makes a task of it meanwhile.
        Raises what is wrong with the file, QueueFullError, DiskFullError, StoreBusyError, IdempotencyMismatchError or
        UploadBusyError; then the upload was discarded. Raises CommitUncertainError, and then it was left in doubt.
        """
        try:
            if upload.size == 0:
                raise EmptyFileError()
            earlier = self._queue.find_earlier(self._new_task(upload, request, None))
            if earlier is None:
                if refusal is not None:
                    raise refusal
                upload.commit()
                return self._decode_and_submit(upload, request)
        except CommitUncertainError:
            upload.leave_in_doubt()
            raise
        except BaseException:
            upload.discard()
            raise
        upload.discard()
        return earlier, True

    def _new_task(self, upload: ReceivedFile, request: SubmissionRequest, decoded: DecodedAudio | None) -> NewTask:
        return NewTask(
            id=upload.task_id,
            filename=request.filename,
            options=request.options,
            priority=request.priority,
            requested_device=request.device,
            size_bytes=upload.size,
            sha256=upload.sha256,
            max_attempts=self._max_attempts,
            audio_seconds=decoded.seconds if decoded else None,
            is_truncated=decoded is not None and decoded.is_truncated,
            declared_seconds=decoded.declared_s if decoded else None,
            tracks=decoded.tracks if decoded else (),
            late_seconds=(decoded.late_s or None) if decoded else None,
            idempotency_key=request.idempotency_key,
            owner=request.owner,
            callback_url=request.callback_url,
            batch_id=request.batch.id if request.batch else None,
            batch_name=request.batch.name if request.batch else None,
        )

    def _decode_and_submit(self, upload: ReceivedFile, request: SubmissionRequest) -> tuple[Task, bool]:
        task_id = upload.task_id
        if self._preparer.is_preparing(task_id):  # an earlier try of a resumable upload is still being read
            raise UploadBusyError()
        is_worth_waiting = self._preparer.num_waiting() < MOST_WAITED_FOR
        future = self._preparer.measure_upload(task_id, request.owner, upload.size, request.options.track)
        is_accepted = False
        try:
            decoded = _wait_briefly(future) if is_worth_waiting else None
            new = self._new_task(upload, request, decoded)
            task, is_replay = self._queue.submit(new, has_samples=decoded is None or decoded.is_kept)
            is_accepted = not is_replay
        finally:
            if not is_accepted:
                # Only when the decode has ended, since it may still write samples.
                future.add_done_callback(lambda _: self._drop_samples(task_id))
        if is_replay:
            upload.discard()
        elif decoded is None:
            self._preparer.record_when_decoded(task_id, future)
        else:
            self._preparer.end(task_id)
        return task, is_replay

    def _drop_samples(self, task_id: str) -> None:
        self._files.delete_audio(task_id)
        self._files.delete_waveform(task_id)
        self._preparer.end(task_id)


def _wait_briefly(future: Future[DecodedAudio]) -> DecodedAudio | None:
    """The decoded recording; None when that takes longer or ffmpeg is missing. Raises what is wrong with the file."""
    try:
        return future.result(timeout=DECODE_WAIT_S)
    except (TimeoutError, FfmpegMissingError):
        return None
    except CancelledError:
        raise ShuttingDownError() from None
