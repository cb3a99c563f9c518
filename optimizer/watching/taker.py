"""A recording of the watched folder becomes a task, as an upload does: through the same limits and the same line.

Its row is stored before its task, with the task's id. Whatever is killed in between, the next start sees by that id
whether there is a task, and takes the file again when there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event

from ulid import ULID

from automation_settings import parse_options
from config import Settings
from errors import (
    AudioTooLongError,
    DecodeTimeoutError,
    EmptyFileError,
    FileTooLargeError,
    InvalidOptionError,
    InvalidSettingsError,
    NoAudioStreamError,
    ShuttingDownError,
    TrackNotFoundError,
    UnsupportedMediaError,
)
from optimizer.common.failpoints import failpoint
from optimizer.common.filenames import display_name
from optimizer.intake.admission import Admission
from optimizer.intake.task_form import TaskForm, read_task_form
from optimizer.intake.task_intake import SubmissionRequest, TaskIntake
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from optimizer.watching.found_files import FoundFile
from optimizer.watching.tree import Tree, open_file
from optimizer.watching.watch_store import DoneFile, WatchedFile, WatchState, WatchStore, all_written, key_of

COPY_BYTES = 1 << 20
# What is wrong with the file itself, so that it would be refused again.
REFUSALS = (
    AudioTooLongError,
    DecodeTimeoutError,
    EmptyFileError,
    FileTooLargeError,
    NoAudioStreamError,
    TrackNotFoundError,
    UnsupportedMediaError,
)


@dataclass(frozen=True)
class Intake:
    """What uploads go through. device_names, default_model: see `read_task_form`."""

    admission: Admission
    files: TaskFiles
    tasks: TaskIntake
    device_names: Callable[[], list[str]]
    default_model: Callable[[], str]


class Taker:
    """One thread. stopping: breaks off a copy."""

    def __init__(self, settings: Settings, watched: Tree, intake: Intake, store: WatchStore, stopping: Event) -> None:
        self._settings = settings
        self._watched = watched
        self._intake = intake
        self._store = store
        self._stopping = stopping
        self._owner = settings.owner_of_watched

    def read_form(self) -> TaskForm:
        """Raises InvalidOptionError for WATCH_OPTIONS that cannot be."""
        return read_task_form(
            parse_options(self._settings.watch_options),
            self._settings,
            self._intake.device_names(),
            self._intake.admission.models,
            self._intake.default_model(),
        )

    def check_options(self) -> None:
        """Before the devices are known. Raises InvalidSettingsError for WATCH_OPTIONS that no task can have."""
        try:
            self.read_form()
        except InvalidOptionError as error:
            if error.field != "device":
                raise InvalidSettingsError(f"WATCH_OPTIONS: {error.field or 'an option'}: {error.message}") from error

    def admit(self, found: FoundFile) -> TaskForm:
        """The options of its task. Raises what says that it has to wait, and FileTooLargeError."""
        form = self.read_form()
        if found.size > self._settings.max_upload_bytes:
            raise FileTooLargeError(f"This server accepts files of up to {self._settings.max_upload_mb} MB.")
        self._intake.admission.admit(found.size, self._owner)
        placed = self._intake.admission.place(form.options, form.device)
        if placed.refusal is not None:
            raise placed.refusal
        return replace(form, options=placed.options, device=placed.device)

    def receive(self, found: FoundFile) -> Upload | None:
        """A copy of it; None when it has changed, or is gone. Raises OSError, DiskFullError, ShuttingDownError."""
        with self._watched.folder(found.folder) as folder:
            descriptor = open_file(folder, found.name)
        with open(descriptor, "rb", buffering=0) as source:
            upload = self._intake.files.begin_upload(str(ULID()), expected_bytes=found.size)
            is_whole = False
            try:
                while found.is_still(os.fstat(descriptor)) and (data := source.read(COPY_BYTES)):
                    if self._stopping.is_set():
                        raise ShuttingDownError()
                    upload.write(data)
                is_whole = upload.size == found.size and found.is_still(os.fstat(descriptor))
            finally:
                if not is_whole:
                    upload.discard()
        return upload if is_whole else None

    def record(self, found: FoundFile, upload: Upload) -> WatchedFile | DoneFile:
        """What is known of it from now on. A file of the same content as the one before it under this path is that one,
        with another time; its upload is discarded then."""
        content_key = key_of(found.path, upload.sha256)
        earlier = self._store.find(found.path)
        if earlier is not None and earlier.content_key == content_key:
            upload.discard()
            if isinstance(earlier, DoneFile):
                self._store.save_done(found, content_key, earlier.written)
                return earlier
            same = replace(earlier, found=found)
            self._store.save(same)
            return same
        written = {} if earlier is None else earlier.written
        if isinstance(earlier, WatchedFile):
            written = all_written(earlier)
        new = WatchedFile(found, content_key, upload.task_id, WatchState.TAKING, written=written)
        self._store.save(new)
        failpoint("watch.recorded")
        return new

    def refused(self, found: FoundFile) -> WatchedFile:
        """One of which not even a copy is made."""
        earlier = self._store.find(found.path)
        written = {} if earlier is None else earlier.written
        return WatchedFile(found, "", str(ULID()), WatchState.TAKING, written=written)

    def submit(self, watched: WatchedFile, upload: Upload, form: TaskForm) -> WatchedFile:
        """Its task is made. Raises one of REFUSALS, or what says that it has to wait; then nothing is left of it."""
        request = SubmissionRequest(
            display_name(watched.found.name),
            form.options,
            form.priority,
            form.device,
            owner=self._owner,
            callback_url=form.callback_url,
        )
        self._intake.tasks.accept(upload, request)
        failpoint("watch.submitted")
        waiting = replace(watched, state=WatchState.WAITING)
        self._store.save(waiting)
        return waiting
