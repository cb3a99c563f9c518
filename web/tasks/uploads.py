"""A form with a file becomes a task: that of POST /api/tasks, or of another project's API (web/adapters).

The file is written from the socket to its place in the data folder, without a copy in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any, NoReturn, cast

from flask import Request, request
from ulid import ULID

from errors import (
    BadRequestError,
    FileTooLargeError,
    IdempotencyInFlightError,
    IdempotencyMismatchError,
    InvalidOptionError,
    MissingFileError,
)
from optimizer.common.filenames import display_name
from optimizer.intake.link_fetch import LINK_FIELD
from optimizer.intake.task_form import FILE_FIELD, TaskForm, read_idempotency_key, read_task_form
from optimizer.storage.upload_file import ReplayedUpload
from optimizer.tasks.task import Task
from optimizer.views.task_view import Submission
from web.http.context import current_settings, current_system
from web.http.owner import owner_of
from web.http.system_port import UploadPort
from web.tasks.form_parser import FormParser
from web.tasks.links import EarlierFile, fetch_link, take_link

log = logging.getLogger(__name__)

QUERY_FIELDS = ("track",)
MAX_FIELDS_BYTES = 256_000  # everything in the body that is not the file
# Of one option's text. werkzeug applies it to its read buffer as well: 64 KiB just read, and a piece of a boundary.
MAX_FIELD_MEMORY_BYTES = 2 * 64 * 1024

MAX_PARTS = 64  # more than any API here has fields

Fields = list[tuple[str, str]]  # name and text of each field of a form that is not a file, as they were sent


def read_own_form(fields: Fields) -> TaskForm:
    """The options of POST /api/tasks: a form's, and those that the address may name as well."""
    system = current_system()
    in_address = [(name, text) for name in QUERY_FIELDS for text in request.args.getlist(name)]
    return read_task_form(
        [*fields, *in_address], system.settings, system.device_names(), system.admission.models, system.default_model()
    )


@dataclass(frozen=True)
class UploadForm:
    """How an API names its file, and what it makes of its other fields.

    through: what the file's bytes pass on their way to the upload; it has `write`, `seek` and `close` of a file.
    takes_links: whether an address may be sent in place of the file, where the administrator allows that.
    """

    file_field: str = FILE_FIELD
    read: Callable[[Fields], TaskForm] = read_own_form
    filename: str | None = None  # if the API has another name for the recording than the file's
    through: Callable[[Any], Any] | None = None
    takes_links: bool = False


class StreamingRequest(Request):
    """A request whose file is written to an upload of the system as it arrives.

    Only `receive_task` accepts a file. At any other address a file in a form is refused before its first byte.
    """

    upload: UploadPort | None = None
    accepts_file = False
    upload_form = UploadForm()
    is_replay = False  # its Idempotency-Key has made a task, so the file is only compared with that task's

    def make_form_data_parser(self) -> FormParser:
        return FormParser(
            self._get_file_stream,
            self.max_form_memory_size,
            self.max_content_length,
            self.parameter_storage_class,
            max_form_parts=self.max_form_parts,
            refuse_long_field=self._refuse_long_field,
        )

    def _refuse_long_field(self, name: str) -> None:
        if self.accepts_file and name == self.upload_form.file_field:
            raise MissingFileError(_text_no_file(name), field=name)

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if not self.accepts_file:
            raise BadRequestError("No file is expected here.")
        if self.upload is not None:
            raise InvalidOptionError("Send one file in a request.", field=self.upload_form.file_field)
        if not filename:
            raise MissingFileError("The file has no name, so none was chosen.", field=self.upload_form.file_field)
        upload = self._begin_upload(total_content_length or 0)
        self.upload = upload
        through = self.upload_form.through
        return cast(IO[bytes], upload if through is None else through(upload))

    def _begin_upload(self, announced_bytes: int) -> Any:
        if self.is_replay:
            return ReplayedUpload(str(ULID()), max_bytes=current_settings().max_upload_bytes)
        return current_system().begin_upload(announced_bytes, owner_of(self))


def receive_task(form: UploadForm | None = None) -> Submission:
    """Makes the request's file and options a task. If anything fails, or the client disappears, nothing is left.

    form: our own unless given; its `read` is called when the whole body is here, and may refuse it.

    The Idempotency-Key is known before the body: one in flight is refused, and for one that has made its task the file
    is hashed and not stored, even on a full disk.
    """
    own_request = cast(StreamingRequest, request)
    system = current_system()
    idempotency_key = read_idempotency_key(request.headers.get("Idempotency-Key"))
    form = form or UploadForm(takes_links=True)
    _accept_file(own_request, form)
    owner = owner_of(own_request)
    with system.keys.holding(owner, idempotency_key) as earlier:
        if idempotency_key is not None and system.parts.find_by_key(owner, idempotency_key) is not None:
            raise IdempotencyInFlightError("An upload with this Idempotency-Key is not finished yet.")
        if earlier is None:
            system.admission.admit(request.content_length or 0, owner)
        else:
            if not _may_be_link(form):
                _check_announced_length(earlier)
            own_request.is_replay = True
        is_kept = False
        try:
            submission = _submit(own_request, form, idempotency_key, earlier)
            is_kept = True
            return submission
        finally:
            if not is_kept and own_request.upload is not None:
                own_request.upload.discard()


def _may_be_link(form: UploadForm) -> bool:
    is_short = request.content_length is not None and request.content_length <= MAX_FIELDS_BYTES
    return form.takes_links and current_settings().enable_links and is_short


def _check_announced_length(earlier: Task) -> None:
    """Raises IdempotencyMismatchError when by its length the body cannot hold the earlier task's file."""
    length = request.content_length
    if length is not None and not earlier.size_bytes < length <= earlier.size_bytes + MAX_FIELDS_BYTES:
        raise IdempotencyMismatchError()


def _accept_file(own_request: StreamingRequest, form: UploadForm) -> None:
    """Sets the limits of the body. Raises FileTooLargeError by the announced length, before any of it is read."""
    own_request.upload_form, file_field = form, form.file_field
    if request.mimetype != "multipart/form-data":
        raise MissingFileError(_no_file(file_field), field=file_field)
    settings = current_settings()
    limit = settings.max_upload_bytes + MAX_FIELDS_BYTES
    if request.content_length is not None and request.content_length > limit:
        raise FileTooLargeError(f"This server accepts files of up to {settings.max_upload_mb} MB.", field=file_field)
    own_request.accepts_file = True
    own_request.max_content_length = limit
    own_request.max_form_memory_size = MAX_FIELD_MEMORY_BYTES
    own_request.max_form_parts = MAX_PARTS


def _submit(
    own_request: StreamingRequest, form: UploadForm, idempotency_key: str | None, earlier: Task | None
) -> Submission:
    fields = _named(own_request.form.items(multi=True))  # reads the whole body
    link, others = take_link(fields) if form.takes_links else (None, fields)
    if link is not None:
        wanted = form.read(others)
        upload, filename = _fetch(own_request, link, wanted, earlier)
    else:
        upload, filename = _received_file(own_request, form, fields)
        wanted = form.read(fields)
    return current_system().submit(
        upload,
        filename=display_name(filename),
        options=wanted.options,
        priority=wanted.priority,
        device=wanted.device,
        idempotency_key=idempotency_key,
        owner=owner_of(own_request),
        callback_url=wanted.callback_url,
        batch=wanted.batch,
    )


def _received_file(own_request: StreamingRequest, form: UploadForm, fields: Fields) -> tuple[Any, str]:
    """The file that came with the form, and its name."""
    upload, file_field = own_request.upload, form.file_field
    if upload is None:
        _raise_missing_file(fields, file_field)
    if any(name != file_field for name in own_request.files):
        raise InvalidOptionError(f"Send the file in the form field `{file_field}`.", field=file_field)
    if file_field not in own_request.files:
        raise BadRequestError("The form ended before the file did.", field=file_field)
    return upload, form.filename or own_request.files[file_field].filename or ""


def _fetch(own_request: StreamingRequest, link: str, wanted: TaskForm, earlier: Task | None) -> tuple[Any, str]:
    """The file at the address, and its name; nothing is fetched for a task that the server would not take."""
    if own_request.upload is not None:
        raise InvalidOptionError("Send a file or an address, not both.", field=LINK_FIELD)
    if earlier is not None:
        return EarlierFile.of(earlier), earlier.filename
    refusal = current_system().admission.place(wanted.options, wanted.device).refusal
    if refusal is not None:
        raise refusal

    def begin(nbytes: int) -> UploadPort:
        own_request.upload = current_system().begin_upload(nbytes, owner_of(own_request))
        return own_request.upload

    filename = fetch_link(link, own_request, begin)
    return own_request.upload, filename


def _named(parts: Iterable[tuple[str | None, str]]) -> Fields:
    """The form's fields. werkzeug's parser passes None for a name that it cannot read: raises InvalidOptionError."""
    fields: Fields = []
    for name, text in parts:
        if name is None:
            raise InvalidOptionError("A part of the form has no name that can be read.")
        fields.append((name, text))
    return fields


def _raise_missing_file(fields: Fields, file_field: str) -> NoReturn:
    is_text = any(name == file_field for name, _ in fields)
    raise MissingFileError(_text_no_file(file_field) if is_text else _no_file(file_field), field=file_field)


def _text_no_file(file_field: str) -> str:
    return f"The field `{file_field}` holds text and no file: its part of the form has no `filename`."


def _no_file(file_field: str) -> str:
    return f"No file was sent. Send one file in the form field `{file_field}`."
