"""Uploads that arrive in several requests, over lost connections and restarts of the server.

`incoming/<id>.part` grows at its end until it has its length; `incoming/<id>.json` says the rest (see `part_note`). An
upload expires when no byte has come for a day. What became of it is told until then: its task, or why it was refused.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from errors import (
    BadRequestError,
    DiskFullError,
    FileTooLargeError,
    OffsetMismatchError,
    QueueFullError,
    TaskError,
    TranscriptionServerError,
    UploadBusyError,
    UploadNotFoundError,
)
from optimizer.common.atomic_files import create_private
from optimizer.common.clock import Clock
from optimizer.common.gate import Gate
from optimizer.common.machine import boot_id
from optimizer.storage.part_file import Checksum, PartFile, PartStatus, PartWriter, WholePart
from optimizer.storage.part_note import Outcome, PartNote, read_note, write_note
from optimizer.storage.task_files import PART_LIFETIME, TaskFiles
from whisper_core.common.durable_files import disk_errors, sync_folder

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 3600.0
MAX_PARTS = 10_000
MAX_PARTS_OF_OWNER = 100
MAX_ENDED = 1000  # of which it is still told what became of them


class PartStore:
    """Any thread. `recover` first, alone; `close` last."""

    def __init__(
        self,
        files: TaskFiles,
        clock: Clock,
        *,
        lifetime: timedelta = PART_LIFETIME,
        machine_boot: str | None = None,
    ) -> None:
        """machine_boot: in place of this start of the machine, for tests of power cuts."""
        self._files = files
        self._clock = clock
        self._lifetime_s = lifetime.total_seconds()
        self._boot_id = boot_id() if machine_boot is None else machine_boot
        self._gate = Gate()
        self._lock = threading.Lock()
        self._parts: dict[str, PartFile] = {}  # in the order in which they were made
        self._next_sweep = clock.monotonic() + SWEEP_EVERY_S

    def recover(self, known_ids: Set[str]) -> int:
        """Takes up what an earlier run left, and returns how many uploads can go on. known_ids: of every task."""
        folder = self._files.root / "incoming"
        for path in sorted(folder.glob("*.json")):
            note = read_note(path)
            part = None
            if note is not None and note.id in known_ids:
                self._give_to_its_task(note.id)
            elif note is not None:
                part = self._recovered(note)
            if part is None:
                path.unlink()
            else:
                self._parts[part.note.id] = part
        sync_folder(folder)
        self.sweep(now=True)
        return sum(part.note.outcome is None for part in self._parts.values())

    def close(self) -> None:
        """When this returns no file is changed here any more, whatever requests go on: the next process recovers them,
        and goes on with them. Waits for what is being written. Harmless when repeated."""
        self._gate.shut()

    def create(
        self, part_id: str, length: int, owner: str, details: Mapping[str, Any], key: str | None = None
    ) -> PartStatus:
        """A new upload without a byte. Raises QueueFullError when there are too many, DiskFullError, and, as everything
        that changes a file, ShuttingDownError once it is closed."""
        note = PartNote(
            part_id, length, owner, self._clock.now(), details=details, key=key, synced=0, boot_id=self._boot_id
        )
        path, note_path = self._files.part_path(part_id), self._files.note_path(part_id)
        part = PartFile(note, path, note_path, size=0, touched=self._clock.monotonic())
        with self._gate.required():
            with self._lock:
                self._require_place(owner)
                self._parts[part_id] = part
            try:
                with disk_errors():
                    os.close(create_private(path))
                    write_note(note_path, note)
            except BaseException:
                self._remove(part)
                raise
        return self._status(part)

    def status(self, part_id: str) -> PartStatus:
        """Raises UploadNotFoundError."""
        return self._status(self._part(part_id))

    def find_by_key(self, owner: str, key: str) -> PartStatus | None:
        """The upload that the owner has created with this Idempotency-Key, unless it has ended."""
        with self._lock:
            notes = [part.note for part in self._parts.values()]
            same = [note.id for note in notes if (note.owner, note.key, note.outcome) == (owner, key, None)]
            part = self._parts[same[0]] if same else None
        return None if part is None else self._status(part)

    @contextmanager
    def appending(self, part_id: str, offset: int, checksum: Checksum | None = None) -> Iterator[PartWriter]:
        """Where one request's bytes go. When the block raises, its body is taken to have been cut off.

        Raises UploadNotFoundError, UploadBusyError, OffsetMismatchError, what the upload was refused with, and what
        `PartWriter` raises. An upload that is sent more than was announced is removed.
        """
        part = self._part(part_id)
        writer = PartWriter(part, self._gate, self._clock, self._files.has_room, self._boot_id, checksum)
        writer.begin(offset)
        try:
            yield writer
        except BaseException as error:
            if isinstance(error, FileTooLargeError):
                self._forget(part)
            writer.release(is_body_whole=False)
            raise
        writer.release(is_body_whole=True)

    @contextmanager
    def completing(self, part_id: str) -> Iterator[WholePart]:
        """The upload, to be made a task of; the block says so with `became`, and then it is, whatever the block raises.

        When it raises what sending again cannot mend before, the bytes go and the reason is kept; otherwise all stays.
        Raises UploadNotFoundError, UploadBusyError, OffsetMismatchError, and what it was refused with before.
        """
        part, holder = self._part(part_id), object()
        is_made = False
        with part.lock:
            part.hold(holder, self._clock.monotonic())
            if not part.is_whole:
                part.holder = None
                raise OffsetMismatchError(f"{part.written} of {part.note.length} bytes are here.")
        try:
            whole = WholePart(part, self._gate, self._files.media_path(part_id), part.hash(self._clock).hexdigest())
            with whole:
                try:
                    yield whole
                finally:
                    is_made = whole.made is not None
                    if whole.made is None:
                        whole.discard()
                    else:
                        self._note_made(part, whole.made)
        except TranscriptionServerError as error:
            if _is_final(error) and not is_made:
                self._end(part, Outcome.refused(error))
            raise
        finally:
            with part.lock:
                if part.holder is holder:
                    part.holder = None

    def remove(self, part_id: str) -> None:
        """Its bytes are gone. Raises UploadNotFoundError, UploadBusyError while it is made a task."""
        part = self._part(part_id)
        with part.lock:
            if part.holder is not None and not isinstance(part.holder, PartWriter):
                raise UploadBusyError()
        with self._gate.required():
            self._remove(part)

    def sweep(self, *, now: bool = False) -> None:
        """Removes what has expired; looks once an hour, or now. An upload that is being written stays."""
        if not now and self._clock.monotonic() < self._next_sweep:
            return
        self._next_sweep = self._clock.monotonic() + SWEEP_EVERY_S
        with self._lock:
            parts = list(self._parts.values())
        ended = [part for part in parts if part.note.outcome is not None]
        too_many = set(map(id, ended[: max(0, len(ended) - MAX_ENDED)]))
        for part in parts:
            if part.holder is None and (id(part) in too_many or self._seconds_left(part) <= 0):
                log.info("upload=%s event=expired", part.note.id)
                self._forget(part)

    def _note_made(self, part: PartFile, task_id: str) -> None:
        """Its own task is the record of an upload; only when its key had made another one, a note stays."""
        if task_id == part.note.id:
            self._forget(part)
        else:
            self._end(part, Outcome(task_id=task_id))

    def _part(self, part_id: str) -> PartFile:
        with self._lock:
            part = self._parts.get(part_id)
        if part is None:
            raise UploadNotFoundError()
        return part

    def _status(self, part: PartFile) -> PartStatus:
        note, is_ended = part.note, part.note.outcome is not None
        left = timedelta(seconds=self._seconds_left(part))
        return PartStatus(note, note.length if is_ended else part.promised, self._clock.now() + left)

    def _seconds_left(self, part: PartFile) -> float:
        return self._lifetime_s - (self._clock.monotonic() - part.touched)

    def _require_place(self, owner: str) -> None:
        unfinished = [part.note.owner for part in self._parts.values() if part.note.outcome is None]
        if len(unfinished) >= MAX_PARTS or unfinished.count(owner) >= MAX_PARTS_OF_OWNER:
            raise QueueFullError("There are too many unfinished uploads. Finish or cancel some of them first.")

    def _end(self, part: PartFile, outcome: Outcome) -> None:
        with self._gate.entered() as is_open:
            if is_open:
                part.end(outcome)

    def _forget(self, part: PartFile) -> None:
        with self._gate.entered() as is_open:
            if is_open:
                self._remove(part)

    def _remove(self, part: PartFile) -> None:
        with self._lock:
            self._parts.pop(part.note.id, None)
        with part.lock:
            part.remove()

    def _give_to_its_task(self, part_id: str) -> None:
        """The crash came after its task was stored."""
        part, media = self._files.part_path(part_id), self._files.media_path(part_id)
        if media.exists():
            part.unlink(missing_ok=True)
        elif part.exists():
            os.replace(part, media)
            sync_folder(media.parent)

    def _recovered(self, note: PartNote) -> PartFile | None:
        """None when its bytes are gone."""
        path, note_path = self._files.part_path(note.id), self._files.note_path(note.id)
        touched = self._clock.monotonic() - self._age_s(note_path if note.outcome else path)
        if note.outcome is not None:
            return PartFile(note, path, note_path, size=note.length, touched=touched)
        media = self._files.media_path(note.id)
        was_published = not path.exists() and media.exists()  # the crash came before its task was stored
        if was_published:
            os.replace(media, path)
        try:
            size = path.lstat().st_size
            if not was_published:  # it was synced before it got that name
                size = note.trusted(size, self._boot_id)
                os.truncate(path, size)
        except FileNotFoundError:
            return None
        part = PartFile(note, path, note_path, size=size, touched=touched)
        if note.boot_id != self._boot_id:
            with suppress(OSError, DiskFullError):  # a full disk must not keep the server from starting
                part.save(replace(note, synced=size, boot_id=self._boot_id, checked=None))
        return part

    def _age_s(self, path: Path) -> float:
        """Since it was last written, by the wall clock."""
        try:
            return max(0.0, self._clock.now().timestamp() - path.lstat().st_mtime)
        except FileNotFoundError:
            return 0.0


def _is_final(error: TranscriptionServerError) -> bool:
    return isinstance(error, BadRequestError | TaskError) and not error.is_retryable
