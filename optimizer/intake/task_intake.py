"""From an upload to a task: the file is made durable and decoded to samples, then the task is stored and answered for.

Decoding is waited for briefly, so that most bad files are refused in the answer to their own upload and nothing of them
is kept. A recording that takes longer is accepted first and prepared afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass

from errors import (
    CANNOT_STORE,
    EmptyFileError,
    FfmpegMissingError,
    IdempotencyInFlightError,
    ShuttingDownError,
    TaskNotFoundError,
    TranscriptionServerError,
)
from optimizer.common.clock import Clock
from optimizer.intake.decode_pool import DecodePool
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from optimizer.tasks.task import ErrorInfo, NewTask, Priority, Task, TaskOptions
from whisper_core.audio.decode import DecodedAudio

log = logging.getLogger(__name__)

DECODE_WAIT_S = 2.0


@dataclass(frozen=True)
class SubmissionRequest:
    """What a person asked for with an upload."""

    filename: str
    options: TaskOptions
    priority: Priority
    device: str
    idempotency_key: str | None = None
    owner: str = ""


class TaskIntake:
    """Any thread."""

    def __init__(
        self,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        decode_pool: DecodePool,
        clock: Clock,
        *,
        max_attempts: int,
    ) -> None:
        self._queue = queue
        self._files = files
        self._decode_pool = decode_pool
        self._clock = clock
        self._max_attempts = max_attempts
        self._lock = threading.Lock()
        self._keys_in_flight: set[tuple[str, str]] = set()  # owner and key
        self._preparing: set[str] = set()  # ids

    def accept(
        self, upload: Upload, request: SubmissionRequest, refusal: TranscriptionServerError | None = None
    ) -> tuple[Task, bool]:
        """The task of a received upload, and whether an earlier request with the same key had made it already.

        refusal: raised in place of making a new task; the earlier one is returned all the same.
        Raises what is wrong with the file, QueueFullError, DiskFullError, StoreBusyError, IdempotencyMismatchError or
        IdempotencyInFlightError; then nothing of the upload is kept.
        """
        with self._key_in_flight(request):
            try:
                if upload.size == 0:
                    raise EmptyFileError()
                if refusal is not None:
                    return self._find_earlier(upload, request, refusal), True
                upload.commit()
                return self._decode_and_submit(upload, request)
            except BaseException:
                upload.discard()
                self._files.delete(upload.task_id)
                raise

    def prepare_waiting(self) -> None:
        """Prepares every task that still needs it: after a restart, after a retry, or once ffmpeg was found."""
        for task_id in self._queue.unprepared():
            self.prepare(task_id)

    def prepare(self, task_id: str) -> None:
        """Decodes the task's recording in the background, unless that is under way."""
        if self._begin_preparation(task_id):
            self._record_when_decoded(task_id, self._decode_pool.start_decode(task_id))

    def _find_earlier(self, upload: Upload, request: SubmissionRequest, refusal: TranscriptionServerError) -> Task:
        earlier = self._queue.find_earlier(self._new_task(upload, request, None))
        if earlier is None:
            raise refusal
        upload.discard()
        return earlier

    def _new_task(self, upload: Upload, request: SubmissionRequest, audio_seconds: float | None) -> NewTask:
        return NewTask(
            id=upload.task_id,
            filename=request.filename,
            options=request.options,
            priority=request.priority,
            requested_device=request.device,
            size_bytes=upload.size,
            sha256=upload.sha256,
            max_attempts=self._max_attempts,
            audio_seconds=audio_seconds,
            idempotency_key=request.idempotency_key,
            owner=request.owner,
        )

    def _decode_and_submit(self, upload: Upload, request: SubmissionRequest) -> tuple[Task, bool]:
        task_id = upload.task_id
        self._begin_preparation(task_id)
        future = self._decode_pool.start_decode(task_id)
        is_accepted = False
        try:
            decoded = _wait_briefly(future)
            new = self._new_task(upload, request, decoded.seconds if decoded else None)
            task, is_replay = self._queue.submit(new)
            is_accepted = not is_replay
        finally:
            if not is_accepted:
                # Only when the decode has ended, since it may still write samples.
                future.add_done_callback(lambda _: self._drop_upload(task_id))
        if is_accepted and decoded is None:
            self._record_when_decoded(task_id, future)
        else:
            self._end_preparation(task_id)
        return task, is_replay

    def _drop_upload(self, task_id: str) -> None:
        self._files.delete(task_id)
        self._end_preparation(task_id)

    def _record_when_decoded(self, task_id: str, future: Future[DecodedAudio]) -> None:
        future.add_done_callback(lambda done: self._record_decode(task_id, done))

    def _record_decode(self, task_id: str, future: Future[DecodedAudio]) -> None:
        """Runs on a decode thread, where nobody would see an exception: each one becomes the task's own error.

        Except those that are not the file's fault; after these, `prepare_waiting` tries again.
        """
        try:
            is_waiting = self._queue.mark_prepared(task_id, future.result().seconds) is not None
            if not is_waiting and self._queue.get(task_id).status.is_final:
                self._files.delete_audio(task_id)  # cancelled meanwhile
        except (FfmpegMissingError, ShuttingDownError, CancelledError):
            log.warning("task=%s event=preparation_postponed", task_id)
        except TaskNotFoundError:
            log.info("task=%s event=prepared_after_delete", task_id)
            self._files.delete(task_id)
        except CANNOT_STORE as error:
            log.error("task=%s event=preparation_postponed code=%s", task_id, error.code)
        except TranscriptionServerError as error:
            self._queue.fail_preparation(task_id, ErrorInfo(error.code, error.message, at=self._clock.now()))
        except OSError:
            log.exception("task=%s event=preparation_postponed", task_id)
        except Exception:
            log.exception("task=%s event=preparation_failed", task_id)
            error_class = TranscriptionServerError
            self._queue.fail_preparation(task_id, ErrorInfo(error_class.code, error_class.default_message))
        finally:
            self._end_preparation(task_id)

    def _begin_preparation(self, task_id: str) -> bool:
        """False when the task is being prepared already."""
        with self._lock:
            if task_id in self._preparing:
                return False
            self._preparing.add(task_id)
            return True

    def _end_preparation(self, task_id: str) -> None:
        with self._lock:
            self._preparing.discard(task_id)

    @contextmanager
    def _key_in_flight(self, request: SubmissionRequest) -> Iterator[None]:
        """Raises IdempotencyInFlightError while another request of the owner with this key is being accepted."""
        if request.idempotency_key is None:
            yield
            return
        key = (request.owner, request.idempotency_key)
        with self._lock:
            if key in self._keys_in_flight:
                raise IdempotencyInFlightError()
            self._keys_in_flight.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._keys_in_flight.discard(key)


def _wait_briefly(future: Future[DecodedAudio]) -> DecodedAudio | None:
    """The decoded recording; None when that takes longer or ffmpeg is missing. Raises what is wrong with the file."""
    try:
        return future.result(timeout=DECODE_WAIT_S)
    except (TimeoutError, FfmpegMissingError):
        return None
    except CancelledError:
        raise ShuttingDownError() from None
