"""One unfinished upload: the file that grows at its end, and who may write to it."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from errors import (
    ChecksumMismatchError,
    DiskFullError,
    FileTooLargeError,
    OffsetMismatchError,
    UploadBusyError,
    UploadNotFoundError,
)
from optimizer.common.atomic_files import publish, write_all
from optimizer.common.clock import Clock
from optimizer.common.failpoints import failpoint
from optimizer.common.gate import Gate
from optimizer.storage.part_note import Outcome, PartNote, write_note
from optimizer.storage.upload_file import SPACE_CHECK_BYTES
from whisper_core.common.durable_files import disk_errors

if TYPE_CHECKING:
    from hashlib import _Hash

log = logging.getLogger(__name__)

SYNC_BYTES = 64 * 1024 * 1024  # a power cut takes at most so much of what was written
HASH_BLOCK_BYTES = 1024 * 1024
GIVES_WAY_AFTER_S = 5.0  # a request that got no byte for so long makes way for the next: its client is likely gone
CHECKSUM_ALGORITHMS = ("sha1", "sha256")


@dataclass(frozen=True)
class Checksum:
    """Of the bytes of one request."""

    algorithm: str  # one of CHECKSUM_ALGORITHMS
    digest: bytes

    def new_hash(self) -> _Hash:
        return hashlib.new(self.algorithm, usedforsecurity=False)

    @classmethod
    def parse(cls, header: str) -> Checksum | None:
        """From `sha1 <base64>`; None when it is not that."""
        algorithm, _, encoded = header.strip().partition(" ")
        if algorithm not in CHECKSUM_ALGORITHMS:
            return None
        try:
            digest = base64.b64decode(encoded.strip(), validate=True)
        except ValueError:
            return None
        return cls(algorithm, digest) if len(digest) == hashlib.new(algorithm).digest_size else None


@dataclass(frozen=True)
class PartStatus:
    """An upload at one moment. offset: how many bytes are there to stay, after a kill of the server too."""

    note: PartNote
    offset: int
    expires_at: datetime

    @property
    def is_whole(self) -> bool:
        return self.offset == self.note.length

    @property
    def task_id(self) -> str | None:
        """The task that its key had made before; None when it is unfinished, or was refused."""
        return None if self.note.outcome is None else self.note.outcome.task_id


class PartFile:
    """The state of one upload in this process. Everything but `promised` is read and changed under `lock`."""

    def __init__(self, note: PartNote, path: Path, note_path: Path, *, size: int, touched: float) -> None:
        """touched: monotonic time at which a byte came last."""
        self.note = note
        self.path = path
        self.lock = threading.RLock()
        self.written = size  # bytes of the file that count
        self.promised = size  # of these, what no checksum can take back any more
        self.touched = touched
        self.holder: object | None = None  # the request that writes, or that makes it a task
        self.is_removed = False
        self._note_path = note_path
        self._hash: _Hash | None = hashlib.sha256() if size == 0 else None

    @property
    def is_whole(self) -> bool:
        return self.written == self.note.length

    def hold(self, holder: object, now: float) -> None:
        """Raises UploadBusyError while another request is at work, UploadNotFoundError, or what it was refused with."""
        self.require_open()
        if isinstance(self.holder, PartWriter) and now - self.touched >= GIVES_WAY_AFTER_S:
            log.info("upload=%s event=taken_over", self.note.id)
            self.holder.release(is_body_whole=False)
        if self.holder is not None:
            raise UploadBusyError()
        self.holder = holder
        self.touched = now

    def require_open(self) -> None:
        if self.is_removed:
            raise UploadNotFoundError()
        if self.note.outcome is not None:
            self.note.outcome.raise_refusal()

    def hash(self, clock: Clock) -> _Hash:
        """Of all that is written. After a restart the file is read again; call it as the holder, without the lock."""
        if self._hash is None:
            rebuilt = hashlib.sha256()
            with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                while rest := self.written - file.tell():
                    block = file.read(min(rest, HASH_BLOCK_BYTES))
                    if not block:
                        raise UploadNotFoundError()
                    rebuilt.update(block)
                    self.touched = clock.monotonic()
            self._hash = rebuilt
        return self._hash

    def roll_back(self, descriptor: int, size: int, known_hash: _Hash | None) -> None:
        """Forgets everything behind `size`. known_hash: of what stays, if it is known."""
        os.ftruncate(descriptor, size)
        self.written = self.promised = size
        self._hash = known_hash

    def sync(self, descriptor: int, boot_id: str) -> None:
        """Makes what is written survive a power cut. After a failure only what was synced before still counts."""
        try:
            with disk_errors():
                failpoint("part.before_sync")
                os.fsync(descriptor)
        except (OSError, DiskFullError):
            self.roll_back(descriptor, self.note.synced, None)
            raise
        self.save(replace(self.note, synced=self.written, boot_id=boot_id, checked=None))

    def save(self, note: PartNote) -> None:
        """Raises DiskFullError; then the older note stays."""
        write_note(self._note_path, note)
        self.note = note

    def end(self, outcome: Outcome) -> None:
        """No byte of it is needed any more; what became of it is kept until it expires."""
        self.path.unlink(missing_ok=True)
        self.save(self.note.ended(outcome))

    def remove(self) -> None:
        self.is_removed = True
        self.holder = None
        for path in (self.path, self._note_path):
            path.unlink(missing_ok=True)


class PartWriter:
    """One request's bytes on their way to the end of a part. One thread; `release` from any."""

    def __init__(
        self,
        part: PartFile,
        gate: Gate,
        clock: Clock,
        has_room: Callable[[int], bool],
        boot_id: str,
        checksum: Checksum | None,
    ) -> None:
        """gate: see `PartStore.close`."""
        self._part = part
        self._gate = gate
        self._clock = clock
        self._has_room = has_room
        self._boot_id = boot_id
        self._checksum = checksum
        self._piece = checksum.new_hash() if checksum else None
        self._start = part.written
        self._hash_before: _Hash | None = None
        self._descriptor = -1

    def begin(self, offset: int) -> None:
        """Takes the part. Raises UploadBusyError, OffsetMismatchError, ShuttingDownError, and what `PartFile.hold`
        raises."""
        part = self._part
        with self._gate.required(), part.lock:
            part.hold(self, self._clock.monotonic())
            try:
                if offset != part.written:
                    raise OffsetMismatchError(f"{part.written} bytes are here, so the next one has that offset.")
                self._start = part.written
                self._note_what_is_checked()
                flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(part.path, flags)
                os.ftruncate(self._descriptor, part.written)  # what a failed write may have left behind it
            except BaseException:
                part.holder = None
                self._close()
                raise
        try:
            known = part.hash(self._clock)
            self._hash_before = known.copy() if self._checksum else None
        except BaseException:
            self.release(is_body_whole=False)
            raise

    def write(self, data: bytes) -> None:
        """Raises FileTooLargeError, DiskFullError; UploadBusyError once a later request has taken over,
        UploadNotFoundError once the upload was removed, and ShuttingDownError once the store is closed."""
        part = self._part
        with self._gate.required(), part.lock:
            if part.holder is not self:
                raise UploadNotFoundError() if part.is_removed else UploadBusyError()
            if part.written + len(data) > part.note.length:
                raise FileTooLargeError("More bytes were sent than the upload was announced with.")
            self._check_room(len(data))
            try:
                with disk_errors():
                    failpoint("part.write")
                    write_all(self._descriptor, data)
            except (OSError, DiskFullError):
                with suppress(OSError):  # the next writer tries it again
                    os.ftruncate(self._descriptor, part.written)
                raise
            part.hash(self._clock).update(data)
            part.written += len(data)
            part.touched = self._clock.monotonic()
            if self._piece is not None:
                self._piece.update(data)
                return
            part.promised = part.written
            if part.written - part.note.synced >= SYNC_BYTES:
                part.sync(self._descriptor, self._boot_id)

    def release(self, *, is_body_whole: bool) -> None:
        """Lets the next request write. What arrived stays, except bytes that no longer can be checked; of those the
        next start takes care once the store is closed.

        Raises ChecksumMismatchError, or DiskFullError when they cannot be made durable. Harmless when repeated.
        """
        part = self._part
        with self._gate.entered() as is_open, part.lock:
            is_holder = part.holder is self
            try:
                if is_holder and is_open:
                    self._settle(is_body_whole)
            finally:
                if is_holder:
                    part.holder = None
                self._close()

    def _note_what_is_checked(self) -> None:
        """A kill must not let bytes count that no checksum has confirmed."""
        part = self._part
        checked = part.written if self._checksum else None
        if part.note.checked != checked:
            part.save(replace(part.note, checked=checked))

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _settle(self, is_body_whole: bool) -> None:
        part, is_right = self._part, True
        if self._checksum is not None and self._piece is not None:
            is_right = is_body_whole and self._piece.digest() == self._checksum.digest
            if not is_right:
                part.roll_back(self._descriptor, self._start, self._hash_before)
        part.promised = part.written
        if part.written > part.note.synced and not part.is_whole:  # a whole one is synced when it gets its place
            part.sync(self._descriptor, self._boot_id)
        elif is_right and part.note.checked is not None:
            part.save(replace(part.note, checked=None))  # or a kill would take back what has been confirmed
        if is_body_whole and not is_right:
            raise ChecksumMismatchError()

    def _check_room(self, nbytes: int) -> None:
        written = self._part.written
        is_check_due = written == self._start or written // SPACE_CHECK_BYTES != (written + nbytes) // SPACE_CHECK_BYTES
        if is_check_due and not self._has_room(nbytes):
            raise DiskFullError("The server's disk is full. What has arrived of this file is kept.")


class WholePart(io.FileIO):
    """An upload of which every byte is there, for `TaskIntake` to make a task of. Until that has worked, `discard` only
    puts it back, so that a full queue or disk costs nobody their upload."""

    def __init__(self, part: PartFile, gate: Gate, final: Path, sha256: str) -> None:
        """gate: see `PartStore.close`."""
        super().__init__(part.path, "rb", opener=_open_plain)
        self.task_id = part.note.id
        self.size = part.written
        self.sha256 = sha256
        self.details = part.note.details
        self.key = part.note.key
        self.owner = part.note.owner
        self.made: str | None = None
        self._gate = gate
        self._part_path = part.path
        self._final = final

    def commit(self) -> None:
        """Makes it the task's media file, durably. Raises DiskFullError, and ShuttingDownError once the store is
        closed."""
        with disk_errors(), self._gate.required():
            failpoint("upload.before_sync")
            os.fsync(self.fileno())
            publish(self._part_path, self._final, steps="upload")
        failpoint("upload.committed")

    def discard(self) -> None:
        """Takes it back from the task that was not made; once the store is closed the next start does. Harmless when
        repeated."""
        with self._gate.entered() as is_open:
            if is_open:
                self._take_back()

    def _take_back(self) -> None:
        if not self._part_path.exists() and self._final.exists():
            os.replace(self._final, self._part_path)

    def leave_in_doubt(self) -> None:
        """It has a note, by which the next start gives it to its task, or goes on with it (see `PartStore.recover`)."""

    def became(self, task_id: str) -> None:
        """It is this task now, or another one that its key had made before."""
        self.made = task_id


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
