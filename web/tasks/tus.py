"""Resumable uploads at /api/uploads by tus 1.0 (https://tus.io/protocols/resumable-upload); see docs/api.md.

The PATCH that brings the last byte makes the upload a task. Repeating it, or asking with HEAD, tells the same task
again; for a file that was refused, the same error. A protocol of its own, so it is not in the OpenAPI document, which
cannot describe HEAD's and PATCH's offsets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from flask import Blueprint, Response, request
from ulid import ULID
from werkzeug.exceptions import MethodNotAllowed, UnsupportedMediaType

from errors import (
    AlreadyFinishedError,
    EmptyFileError,
    FileTooLargeError,
    IdempotencyMismatchError,
    OffsetMismatchError,
    ProtocolVersionError,
    TaskNotFoundError,
    UploadNotFoundError,
)
from optimizer.intake.task_form import TaskForm, read_idempotency_key, read_task_form
from optimizer.storage.part_file import CHECKSUM_ALGORITHMS, PartStatus, PartWriter
from optimizer.tasks.task import Task
from optimizer.views.task_view import Submission
from web.http.access import current_principal
from web.http.context import current_settings, current_system
from web.http.owner import owner_of
from web.http.task_access import current_tasks
from web.tasks import tus_headers
from web.tasks.tus_headers import UploadMetadata, read_checksum, read_metadata, read_number, write_metadata

log = logging.getLogger(__name__)

PREFIX = "/api/uploads"
LEAST_READ_BYTES, MOST_READ_BYTES = 1024, 256 * 1024
READ_S = 0.25  # that a read should take: what it still waits for is in no file yet, and would go with the server

tus = Blueprint("uploads", __name__, url_prefix=PREFIX)


def add_protocol_headers(response: Response) -> Response:
    """For every answer below PREFIX, errors too."""
    if request.path.startswith(PREFIX):
        response.headers["Tus-Resumable"] = tus_headers.VERSION
        if response.status_code == 412:
            response.headers["Tus-Version"] = tus_headers.VERSION
        elif response.status_code == 460:
            response.status = "460 Checksum Mismatch"
    return response


@tus.before_request
def _check_version() -> None:
    if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != tus_headers.VERSION:
        raise ProtocolVersionError()


@tus.route("", methods=["OPTIONS"])
@tus.route("/<upload_id>", methods=["OPTIONS"])
def tell_capabilities(upload_id: str = "") -> Response:
    """What this server's tus can do."""
    response = Response(status=204)
    response.headers["Tus-Version"] = tus_headers.VERSION
    response.headers["Tus-Extension"] = tus_headers.EXTENSIONS
    response.headers["Tus-Max-Size"] = str(current_settings().max_upload_bytes)
    response.headers["Tus-Checksum-Algorithm"] = ",".join(CHECKSUM_ALGORITHMS)
    return response


@tus.route("", methods=["POST"], provide_automatic_options=False)
def create_upload() -> Response:
    """A new upload, with its options; they are checked now, so that no byte is sent in vain. It may bring bytes."""
    length = read_number("Upload-Length", request.headers.get("Upload-Length"))
    metadata = read_metadata(request.headers.get("Upload-Metadata"))
    form = _read_acceptable_form(metadata)
    key = read_idempotency_key(request.headers.get("Idempotency-Key"))
    owner = owner_of(request)
    with current_system().keys.holding(owner, key) as earlier:
        if earlier is not None:
            return _replayed_task(earlier, length, form)
        known = None if key is None else current_system().parts.find_by_key(owner, key)
        if known is not None:
            return _replayed_upload(known, length, metadata, form)
        status = _create(length, metadata, form, owner, key)
    response = Response(status=201)
    response.headers["Location"] = f"uploads/{status.note.id}"  # relative, so that it is right behind any proxy
    if request.mimetype == tus_headers.CONTENT_TYPE:
        return _receive(response, status.note.id, 0)
    return _tell_status(response, status)


@tus.route("/<upload_id>", methods=["HEAD"], provide_automatic_options=False)
def tell_offset(upload_id: str) -> Response:
    """How much of the upload is here."""
    response = Response(status=200)
    status = _find(upload_id)
    if status is None:
        return _tell_task(response, _task_made_of(upload_id))
    if status.note.details:
        response.headers["Upload-Metadata"] = write_metadata(
            status.note.details["filename"], status.note.details["fields"]
        )
    return _tell_status(response, status)


@tus.route("/<upload_id>", methods=["PATCH"], provide_automatic_options=False)
def append_bytes(upload_id: str) -> Response:
    """More bytes of the upload. With the last one it becomes a task."""
    if request.mimetype != tus_headers.CONTENT_TYPE:
        raise UnsupportedMediaType()
    offset = read_number("Upload-Offset", request.headers.get("Upload-Offset"))
    response = Response(status=204)
    status = _find(upload_id)
    if status is None:
        task = _task_made_of(upload_id)
        _check_end(offset, task.size_bytes)
        return _tell_task(response, task)
    if status.task_id is not None:
        _check_end(offset, status.note.length)
        return _tell_status(response, status)
    return _receive(response, upload_id, offset)


@tus.route("/<upload_id>", methods=["DELETE"], provide_automatic_options=False)
def delete_upload(upload_id: str) -> Response:
    """Give the upload up: what has arrived of it is gone."""
    if _find(upload_id) is None:
        _task_made_of(upload_id)
        raise AlreadyFinishedError("The upload has become a task. Delete that task.")
    current_system().parts.remove(upload_id)
    return Response(status=204)


@tus.route("/<upload_id>", methods=["POST"], provide_automatic_options=False)
def do_as_another_method(upload_id: str) -> Response:
    """For clients that cannot send PATCH or DELETE."""
    methods: dict[str, Callable[[str], Response]] = {
        "PATCH": append_bytes, "DELETE": delete_upload, "HEAD": tell_offset
    }  # fmt: skip
    wanted = request.headers.get("X-HTTP-Method-Override", "")
    if wanted not in methods:
        raise MethodNotAllowed(["HEAD", "PATCH", "DELETE", "OPTIONS"])
    return methods[wanted](upload_id)


def _read_form(metadata: UploadMetadata) -> TaskForm:
    system = current_system()
    return read_task_form(
        metadata.fields.items(), system.settings, system.device_names(), system.admission.models, system.default_model()
    )


def _read_acceptable_form(metadata: UploadMetadata) -> TaskForm:
    """Raises also why the server takes no such task, before any byte is sent."""
    form = _read_form(metadata)
    refusal = current_system().admission.place(form.options, form.device).refusal
    if refusal is not None:
        raise refusal
    return form


def _create(length: int, metadata: UploadMetadata, form: TaskForm, owner: str, key: str | None) -> PartStatus:
    settings, system = current_settings(), current_system()
    if length == 0:
        raise EmptyFileError()
    if length > settings.max_upload_bytes:
        raise FileTooLargeError(f"This server accepts files of up to {settings.max_upload_mb} MB.")
    system.admission.admit(length, owner)
    # The model by name: the server's default may be another one when the last byte comes.
    details = {"filename": metadata.filename, "fields": {**metadata.fields, "model": form.options.model}}
    return system.parts.create(str(ULID()), length, owner, details, key)


def _receive(response: Response, upload_id: str, offset: int) -> Response:
    """Takes the request's body, and makes the upload a task when that was the rest of it."""
    parts = current_system().parts
    checksum = read_checksum(request.headers.get("Upload-Checksum"))
    with parts.appending(upload_id, offset, checksum) as writer:
        status = parts.status(upload_id)
        left = status.note.length - offset
        if (request.content_length or 0) > left:
            raise FileTooLargeError("More bytes were sent than the upload was announced with.")
        request.max_content_length = left + MOST_READ_BYTES  # of a body without a length; the writer counts
        _copy_body(writer)
    status = parts.status(upload_id)
    if not status.is_whole:
        return _tell_status(response, status)
    submission = _make_task(upload_id)
    if submission.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    if submission.duplicate_of is not None:
        response.headers["Duplicate-Of"] = submission.duplicate_of
    return _tell_task(response, submission.task.task, length=status.note.length)


def _copy_body(writer: PartWriter) -> None:
    """In small pieces from a slow client and in large ones from a fast client: a read returns when it has all it asked
    for."""
    size, began = LEAST_READ_BYTES, time.monotonic()
    while piece := request.stream.read(size):
        writer.write(piece)
        now = time.monotonic()
        size = min(2 * size, MOST_READ_BYTES) if now - began < READ_S else max(size // 2, LEAST_READ_BYTES)
        began = now


def _make_task(upload_id: str) -> Submission:
    system = current_system()
    with system.parts.completing(upload_id) as whole, system.keys.holding(whole.owner, whole.key):
        metadata = UploadMetadata(**whole.details)
        form = _read_form(metadata)
        submission = system.submit(
            whole,
            filename=metadata.filename,
            options=form.options,
            priority=form.priority,
            device=form.device,
            idempotency_key=whole.key,
            owner=whole.owner,
            callback_url=form.callback_url,
            batch=form.batch,
        )
        whole.became(submission.task.task.id)
    return submission


def _check_end(offset: int, length: int) -> None:
    """Of an upload that is a task already. Raises OffsetMismatchError."""
    if offset != length:
        raise OffsetMismatchError()


def _find(upload_id: str) -> PartStatus | None:
    """None when there is no such upload, or no longer, or it is somebody else's.

    Without accounts whoever knows its id may go on with it: a script's address, by which owners are told apart there,
    may change on the way.
    """
    with suppress(UploadNotFoundError):
        status = current_system().parts.status(upload_id)
        if current_principal().sees in (None, status.note.owner):
            return status
    return None


def _task_made_of(upload_id: str) -> Task:
    """Raises UploadNotFoundError."""
    try:
        return current_tasks().task(upload_id).task
    except TaskNotFoundError:
        raise UploadNotFoundError() from None


def _tell_status(response: Response, status: PartStatus) -> Response:
    response.headers["Upload-Offset"] = str(status.offset)
    response.headers["Upload-Length"] = str(status.note.length)
    response.headers["Upload-Expires"] = tus_headers.expires(status.expires_at)
    if status.task_id is not None:
        response.headers["Task-Id"] = status.task_id
    return response


def _tell_task(response: Response, task: Task, *, length: int | None = None) -> Response:
    size = task.size_bytes if length is None else length
    response.headers["Upload-Offset"] = response.headers["Upload-Length"] = str(size)
    response.headers["Task-Id"] = task.id
    return response


def _replayed_task(task: Task, length: int, form: TaskForm) -> Response:
    """The key has made this task already. Its bytes cannot be compared, because none are sent; all else is."""
    placed = current_system().admission.place(form.options, form.device)
    if (task.size_bytes, task.options) != (length, placed.options):
        raise IdempotencyMismatchError()
    response = Response(status=200)
    response.headers["Location"] = f"uploads/{task.id}"
    response.headers["Idempotent-Replayed"] = "true"
    return _tell_task(response, task)


def _replayed_upload(status: PartStatus, length: int, metadata: UploadMetadata, form: TaskForm) -> Response:
    """The key has made this upload already: its sender goes on with it."""
    fields = {**metadata.fields, "model": form.options.model}
    if (status.note.length, status.note.details["fields"]) != (length, fields):
        raise IdempotencyMismatchError()
    response = Response(status=200)
    response.headers["Location"] = f"uploads/{status.note.id}"
    response.headers["Idempotent-Replayed"] = "true"
    return _tell_status(response, status)
