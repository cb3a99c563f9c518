"""Every error that the project raises on purpose, in one tree.

    TranscriptionServerError
    ├── BadRequestError                     the request cannot be used
    │   ├── MissingFileError
    │   ├── EmptyFileError
    │   ├── FileTooLargeError
    │   ├── UnsupportedMediaError
    │   ├── NoAudioStreamError
    │   ├── AudioTooLongError
    │   ├── InvalidOptionError
    │   │   ├── UnknownModelError
    │   │   └── TrackNotFoundError
    │   ├── IdempotencyMismatchError
    │   ├── IdempotencyInFlightError
    │   ├── ProtocolVersionError
    │   ├── OffsetMismatchError
    │   ├── ChecksumMismatchError
    │   ├── UploadBusyError
    │   ├── LinkNotAllowedError             nothing was fetched from the address that was sent in place of a file
    │   ├── LinkUnreachableError
    │   ├── LinkAnswerError
    │   ├── LinkTooSlowError
    │   ├── LinkIncompleteError
    │   └── ConflictError                   the task's state does not allow it
    │       ├── AlreadyFinishedError
    │       ├── TaskCancelledError
    │       ├── EditConflictError
    │       ├── TranscriptNotReadyError
    │       └── WaveformNotReadyError
    ├── NotFoundError
    │   ├── TaskNotFoundError
    │   ├── BatchNotFoundError
    │   ├── UploadNotFoundError
    │   ├── WebhookNotFoundError
    │   ├── ShareNotFoundError
    │   └── FileMissingError
    │       └── MediaRemovedError
    ├── NotAuthenticatedError               who asks has to log in, or to send a key
    ├── ForbiddenError                      who asks is known, and may not
    ├── UnavailableError                    nothing is wrong with the request; it can be sent again later
    │   ├── QueueFullError
    │   ├── QuotaExceededError
    │   ├── TooManyRequestsError
    │   ├── TooManyWaitingError
    │   ├── DiskFullError
    │   ├── StoreBusyError
    │   ├── ShuttingDownError
    │   ├── NoLeaderError
    │   └── FfmpegMissingError
    ├── TaskError                           why an attempt of a task ended without a transcript
    │   ├── DecodeTimeoutError
    │   ├── SourceMissingError
    │   ├── BadRecordError
    │   ├── WorkerDiedError
    │   ├── WorkerHungError
    │   ├── PoisonTaskError
    │   ├── OutOfMemoryError
    │   ├── ModelUnavailableError
    │   │   ├── WeightsDamagedError
    │   │   └── UnusableModelError
    │   ├── EngineError
    │   │   └── DeviceLostError
    │   └── SpeakersUnknownError            the text is there, and only who says what is not known
    └── StartError                          the server cannot start
        ├── InvalidSettingsError
        ├── DatabaseDamagedError
        │   └── CommitUncertainError        what was to be stored may be stored or not
        ├── DatabaseUnreachableError
        ├── DataFolderUnusableError
        ├── BackupError
        ├── DatabaseMoveError
        └── DataFolderInUseError
            └── DatabaseInUseError

A class has a code (what the API and the database call it), a public message, and whether trying again can help. Public
messages contain no path, no secret and no text from another program. What an error means over HTTP is written in
`web/http/errors.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

# What is wrong with the files of a model: runs_code: they are a program; layout: they are of another format, or at
# another place than such files have to be; network: they are no Whisper, or not the one that they say.
ModelFault = Literal["damaged", "runs_code", "layout", "name", "network", "vocabulary", "numbers"]


class TranscriptionServerError(Exception):
    """Base of the tree. `str(error)` is always safe to show to a user."""

    code = "internal"
    is_retryable = False
    default_message = "Something went wrong inside the server. Its log has the details."

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message or self.default_message)
        self.field = field

    @property
    def message(self) -> str:
        return str(self)


class BadRequestError(TranscriptionServerError):
    code = "bad_request"
    default_message = "The request cannot be used."


class MissingFileError(BadRequestError):
    code = "missing_file"
    default_message = "No file was sent. Send one file in the form field `file`."


class EmptyFileError(BadRequestError):
    code = "empty_file"
    default_message = "The file is empty."


class FileTooLargeError(BadRequestError):
    code = "too_large"
    default_message = "The file is larger than this server accepts."


class UnsupportedMediaError(BadRequestError):
    code = "unsupported_media"
    default_message = "This is not an audio or video file that can be read, or it is damaged."


class NoAudioStreamError(BadRequestError):
    code = "no_audio_stream"
    default_message = "The file has no sound in it."


class AudioTooLongError(BadRequestError):
    code = "too_long"
    default_message = "The recording is longer than this server accepts."


class InvalidOptionError(BadRequestError):
    code = "invalid_option"
    default_message = "An option has a value that is not allowed."


class UnknownModelError(InvalidOptionError):
    code = "unknown_model"
    default_message = "There is no model of that name."


class TrackNotFoundError(InvalidOptionError):
    code = "no_such_track"
    default_message = "The file has no such sound track."


class IdempotencyMismatchError(BadRequestError):
    code = "idempotency_mismatch"
    default_message = "This Idempotency-Key was used before with another file or other options."


class IdempotencyInFlightError(BadRequestError):
    code = "idempotency_in_flight"
    is_retryable = True
    default_message = "A request with this Idempotency-Key is still being received."


class ProtocolVersionError(BadRequestError):
    code = "tus_version"
    default_message = "Resumable uploads speak tus 1.0.0; say so with the header Tus-Resumable: 1.0.0."


class OffsetMismatchError(BadRequestError):
    code = "offset_mismatch"
    default_message = "The next byte of this upload has another offset; HEAD says which."


class ChecksumMismatchError(BadRequestError):
    code = "checksum_mismatch"
    is_retryable = True
    default_message = "What arrived does not have the checksum that was sent with it. Nothing of it was kept."


class UploadBusyError(BadRequestError):
    code = "upload_busy"
    is_retryable = True
    default_message = "Another request is at work on this upload."


class LinkNotAllowedError(BadRequestError):
    """Nothing is fetched from an address that was sent in place of a file. Like that of the next four, its message does
    not quote the address."""

    code = "link_not_allowed"
    default_message = "This address, or one that it leads to, is not in the internet, and others are not allowed here."


class LinkUnreachableError(BadRequestError):
    code = "link_unreachable"
    default_message = "There is no server at this address, or no secure connection to it."


class LinkAnswerError(BadRequestError):
    """The message may say what the other server answered with."""

    code = "link_refused"
    default_message = "The server at this address does not give the file."


class LinkTooSlowError(BadRequestError):
    code = "link_too_slow"
    default_message = "The server at this address is too slow, so fetching the file was given up."


class LinkIncompleteError(BadRequestError):
    code = "link_incomplete"
    default_message = "The connection to this address broke before the file was here."


class ConflictError(BadRequestError):
    """The task's state does not allow what was asked."""

    code = "conflict"
    default_message = "The task's state does not allow that."


class AlreadyFinishedError(ConflictError):
    code = "already_finished"
    default_message = "The task is already finished."


class TaskCancelledError(ConflictError):
    """For a request that waited for the task's end."""

    code = "task_cancelled"
    default_message = "The task was cancelled or deleted before it was done."


class EditConflictError(ConflictError):
    """Somebody else changed the same. `present` is that as it is now, as JSON: for whoever has to choose."""

    code = "edit_conflict"
    default_message = "Somebody changed the same meanwhile. Nothing was changed now."

    def __init__(self, present: Mapping[str, Any]) -> None:
        super().__init__()
        self.present = present


class TranscriptNotReadyError(ConflictError):
    code = "transcript_not_ready"
    default_message = "The task is not finished, so only the json format has something to show."


class WaveformNotReadyError(ConflictError):
    code = "waveform_not_ready"
    is_retryable = True
    default_message = "The recording is still being read. Ask again in a moment."


class NotFoundError(TranscriptionServerError):
    code = "not_found"
    default_message = "There is nothing at this address."


class TaskNotFoundError(NotFoundError):
    code = "task_not_found"
    default_message = "There is no task of that id."


class BatchNotFoundError(NotFoundError):
    code = "batch_not_found"
    default_message = "There is no batch of that id."


class UploadNotFoundError(NotFoundError):
    code = "upload_not_found"
    default_message = "There is no such upload. It was cancelled, or nothing came for too long."


class WebhookNotFoundError(NotFoundError):
    code = "webhook_not_found"
    default_message = "There is no webhook of that id."


class ShareNotFoundError(NotFoundError):
    code = "share_not_found"
    default_message = "This link does not lead anywhere. It has expired, was revoked, or is not complete."


class FileMissingError(NotFoundError):
    code = "file_missing"
    default_message = "The file of this task is no longer there."


class MediaRemovedError(FileMissingError):
    code = "media_removed"
    default_message = "The recording of this task was removed, because recordings are kept for a limited time here."


class NotAuthenticatedError(TranscriptionServerError):
    code = "not_authenticated"
    default_message = "Log in, or send a key: Authorization: Bearer KEY."


class ForbiddenError(TranscriptionServerError):
    code = "forbidden"
    default_message = "Only the account admin may do that."


class UnavailableError(TranscriptionServerError):
    """Nothing is wrong with the request; the server cannot serve it now."""

    code = "unavailable"
    is_retryable = True
    retry_after_s = 5
    default_message = "The server cannot do that at the moment. Try again shortly."


class QueueFullError(UnavailableError):
    code = "queue_full"
    retry_after_s = 60
    default_message = "The queue is full. Try again when some tasks are done."


class QuotaExceededError(UnavailableError):
    code = "quota_exceeded"
    retry_after_s = 60
    default_message = "You have as much here as one account may have. Delete something, or wait until tasks are done."


class TooManyRequestsError(UnavailableError):
    code = "rate_limited"
    default_message = "Too many requests. Try again shortly."

    def __init__(self, retry_after_s: int = UnavailableError.retry_after_s) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class TooManyWaitingError(UnavailableError):
    code = "too_many_waiting"
    default_message = (
        "As many requests wait for their transcript as this server lets wait. Try again when some are done."
    )


class DiskFullError(UnavailableError):
    code = "disk_full"
    retry_after_s = 60
    default_message = "The server's disk is full. Nothing of this file was kept."


class StoreBusyError(UnavailableError):
    code = "store_busy"
    default_message = "The database is busy. Nothing was changed; try again shortly."


class ShuttingDownError(UnavailableError):
    code = "shutting_down"
    default_message = "The server is stopping. Try again in a minute."


class NoLeaderError(UnavailableError):
    """With LEADER_ELECTION: no process has the queue at the moment."""

    code = "no_leader"
    default_message = "The server is being restarted. Try again in a moment."


class FfmpegMissingError(UnavailableError):
    code = "ffmpeg_missing"
    default_message = "ffmpeg was not found, so files cannot be read. Install it or set FFMPEG_BINARY."


class TaskError(TranscriptionServerError):
    """Why an attempt of a task ended without a transcript; stored with the task as {code, message}."""

    code = "task_failed"
    is_retryable = True
    default_message = "The task could not be finished."


class DecodeTimeoutError(TaskError):
    code = "decode_timeout"
    is_retryable = False
    default_message = "Reading the file took too long, so it was given up."


class SourceMissingError(TaskError):
    code = "source_missing"
    is_retryable = False
    default_message = "The uploaded file is no longer there."


class BadRecordError(TaskError):
    code = "bad_record"
    is_retryable = False
    default_message = "The task's record in the database cannot be read."


class WorkerDiedError(TaskError):
    code = "worker_died"
    default_message = "The device's worker process ended while the task was running."


class WorkerHungError(TaskError):
    code = "engine_timeout"
    default_message = "The device's worker process stopped answering while the task was running."


class PoisonTaskError(TaskError):
    code = "poison"
    is_retryable = False
    default_message = "The task stopped the server or its worker three times, so it is not tried again."


class OutOfMemoryError(TaskError):
    code = "out_of_memory"
    default_message = "The device ran out of memory."


class ModelUnavailableError(TaskError):
    """There are no weights for the model. The message says which file to put where."""

    code = "model_unavailable"
    default_message = "The model's weights are not here and could not be fetched."


class WeightsDamagedError(ModelUnavailableError):
    code = "weights_damaged"
    default_message = "The model's weights do not have the right checksum, so they were not loaded."


class UnusableModelError(ModelUnavailableError):
    """A model that somebody brought. `reason` follows "it cannot be used, because" and may quote the files' names;
    `fault` is its kind, which the page has words for in both languages."""

    code = "model_unusable"
    default_message = "The model that was brought to this server cannot be used."

    reason: str = ""
    fault: ModelFault = "damaged"

    @classmethod
    def because(cls, fault: ModelFault, reason: str) -> UnusableModelError:
        error = cls(f"The model cannot be used: {reason}.")
        error.fault, error.reason = fault, reason
        return error


class EngineError(TaskError):
    code = "engine_error"
    default_message = "The transcription itself failed."


class DeviceLostError(EngineError):
    """No later call in the worker process can succeed (a sticky CUDA error), so the worker ends and is restarted."""

    code = "device_lost"
    default_message = "The device failed while the task was running. Its worker is being restarted."


class SpeakersUnknownError(TaskError):
    """The text is there all the same, so a task is completed with it."""

    code = "speakers_unknown"
    is_retryable = False
    default_message = "It is not known who speaks."


class StartError(TranscriptionServerError):
    """The server cannot start. `exit_code` is what the process ends with."""

    code = "start_failed"
    exit_code = 1


class InvalidSettingsError(StartError):
    """The message lists every bad setting, its value (unless it is secret) and what is allowed."""

    code = "invalid_settings"
    exit_code = 2


class DatabaseDamagedError(StartError):
    code = "database_damaged"
    exit_code = 3


class CommitUncertainError(DatabaseDamagedError):
    """Of a commit whose answer was lost, and of which the database does not tell what became. Whoever has put a file
    where the stored rows need it must leave it there."""

    code = "commit_uncertain"
    default_message = "Whether it was stored is not known. The next start of the server reads it."


class DatabaseUnreachableError(StartError):
    """The database's server does not answer. It may not have started yet, so a service manager should try again."""

    code = "database_unreachable"


class DataFolderUnusableError(StartError):
    """The message says what is wrong with the data folder, and what to do."""

    code = "data_folder_unusable"
    exit_code = 3

    @classmethod
    def from_os_error(cls, error: OSError) -> DataFolderUnusableError:
        """What the system refused, without a path."""
        why = (error.strerror or "unknown error").lower()
        return cls(f"The data folder cannot be used ({why}). Check DATA_DIR, and that this user may write there.")


class BackupError(StartError):
    """A backup that cannot be made or restored. The message says why."""

    code = "backup_failed"


class DatabaseMoveError(StartError):
    """A database that cannot be copied into another one. The message says why."""

    code = "move_failed"


class DataFolderInUseError(StartError):
    code = "data_folder_in_use"
    exit_code = 4


class DatabaseInUseError(DataFolderInUseError):
    code = "database_in_use"
    default_message = "Another server uses this database. Only one may: stop that one first."


# What storing may raise in a running server: nothing was stored, and trying again may help. DatabaseDamagedError also
# stands for a database that cannot be opened, for lack of file descriptors or permissions.
CANNOT_STORE = (UnavailableError, DatabaseDamagedError)


def error_class_of(code: str) -> type[TranscriptionServerError]:
    """The class with this code; TaskError for a code that this version does not know."""
    classes: list[type[TranscriptionServerError]] = [TranscriptionServerError]
    while classes:
        candidate = classes.pop()
        if candidate.code == code:
            return candidate
        classes.extend(candidate.__subclasses__())
    return TaskError
