"""The data folder: the lock that makes it one server's, and each task's upload, samples and transcript. File names hold
the task's id and nothing that a user chose.

    DATA_DIR/
      incoming/<id>.part      an upload while it arrives
      incoming/<id>.json      of one that arrives in several requests: what it will be
      incoming/<id>.doubt     the upload may be a task's or not, which the next start knows
      media/<id>              the upload
      audio/<id>.pcm          its samples, 16 kHz mono s16le; can be made again
      transcripts/<id>.json   the result
      waveforms/<id>          how loud the recording is from moment to moment; can be made again
      lock                    held by the one server that may use the folder
      reserve                 space for deletes and cancels on a full disk

Every file gets its name only when it is complete and synced.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from errors import DataFolderInUseError, DataFolderUnusableError, DiskFullError, FileMissingError
from optimizer.common.atomic_files import PRIVATE_FILE, PRIVATE_FOLDER, write_all_durably
from optimizer.common.failpoints import failpoint
from optimizer.storage.disk_reserve import DiskReserve
from optimizer.storage.upload_file import DOUBT, Upload
from whisper_core.audio.waveform import Waveform
from whisper_core.common.durable_files import disk_errors, sync_folder
from whisper_core.text.transcript import Transcript

log = logging.getLogger(__name__)

PART_LIFETIME = timedelta(hours=24)
_FOLDERS = ("incoming", "media", "audio", "transcripts", "waveforms")
_TASK_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True)
class SweepReport:
    """What was removed, and what was only found, by task id."""

    removed: tuple[str, ...] = ()  # files, by their path below the root
    media_without_row: tuple[str, ...] = ()  # uploads of unknown tasks
    rows_without_media: tuple[str, ...] = ()  # tasks whose upload is gone
    transcripts_without_row: tuple[str, ...] = ()  # results of unknown tasks


class TaskFiles:
    """The constructor touches nothing; `acquire_lock` makes the folders. Any thread, but one at a time per task."""

    def __init__(self, root: Path, min_free_bytes: int = 0) -> None:
        """min_free_bytes: disk space that uploads and samples must leave free."""
        self.root = root
        self._min_free_bytes = min_free_bytes
        self._lock = DataLock(root / "lock")
        self.reserve = DiskReserve(root / "reserve", self.free_bytes, min_free_bytes)

    def make_folders(self) -> None:
        """Makes the folders, for this user only. Raises DataFolderUnusableError when one cannot be made or written, is
        a link or not a folder."""
        try:
            self._make_folders()
        except OSError as error:
            raise DataFolderUnusableError.from_os_error(error) from error

    def _make_folders(self) -> None:
        self.root.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        for name in _FOLDERS:
            folder = self.root / name
            with suppress(FileExistsError):
                folder.mkdir(mode=PRIVATE_FOLDER)
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise DataFolderUnusableError(
                    f"{name} in the data folder must be a folder of its own, not a link to another place."
                )
            if not os.access(folder, os.W_OK | os.X_OK):
                raise DataFolderUnusableError(f"{name} in the data folder cannot be written by this user.")
        sync_folder(self.root)

    def acquire_lock(self) -> None:
        """Makes this process the data folder's only server. Raises DataFolderInUseError, DataFolderUnusableError."""
        self.make_folders()
        self._lock.acquire()

    def release_lock(self) -> None:
        self._lock.release()

    def is_locked(self) -> bool:
        """Whether a server works on the folder now."""
        return self._lock.is_held_by_anybody()

    def begin_upload(self, task_id: str, *, expected_bytes: int = 0, max_bytes: int | None = None) -> Upload:
        """Where one upload is written. expected_bytes: what the client announced.

        Raises DiskFullError when that would leave too little free space.
        """
        failpoint("upload.begin")
        if not self.has_room(expected_bytes):
            raise DiskFullError()
        return Upload(
            task_id, self.part_path(task_id), self.media_path(task_id), max_bytes=max_bytes, has_room=self.has_room
        )

    def part_path(self, task_id: str) -> Path:
        return self.root / "incoming" / f"{_checked(task_id)}.part"

    def note_path(self, task_id: str) -> Path:
        return self.root / "incoming" / f"{_checked(task_id)}.json"

    def media_path(self, task_id: str) -> Path:
        return self.root / "media" / _checked(task_id)

    def audio_path(self, task_id: str) -> Path:
        return self.root / "audio" / f"{_checked(task_id)}.pcm"

    def transcript_path(self, task_id: str) -> Path:
        return self.root / "transcripts" / f"{_checked(task_id)}.json"

    def waveform_path(self, task_id: str) -> Path:
        return self.root / "waveforms" / _checked(task_id)

    def has_audio(self, task_id: str) -> bool:
        """Whether the task's samples exist."""
        return _is_plain_file(self.audio_path(task_id))

    def ids_with_audio(self) -> set[str]:
        """Of every task whose samples exist."""
        return {path.stem for path in (self.root / "audio").glob("*.pcm")}

    def find_media(self, task_id: str) -> Path:
        """The upload, for reading. Raises FileMissingError when it is gone, or is not the plain file that we wrote."""
        path = self.media_path(task_id)
        if not _is_plain_file(path):
            raise FileMissingError()
        return path

    def write_transcript(self, task_id: str, transcript: Transcript) -> str:
        """Writes the result durably and returns the file's sha256 in hex. Raises DiskFullError; FileNotFoundError when
        the task's files were deleted meanwhile."""
        written = self.write_transcripts({task_id: transcript})
        if task_id not in written:
            raise FileNotFoundError(self.transcript_path(task_id))
        return written[task_id]

    def write_transcripts(self, transcripts: Mapping[str, Transcript]) -> dict[str, str]:
        """Several results, by task id, of which each gets the file's sha256 in hex. A task whose files were deleted
        meanwhile is left out. Raises DiskFullError."""
        contents = {
            self.transcript_path(task_id): json.dumps(
                transcript.to_stored(), ensure_ascii=False, separators=(",", ":")
            ).encode()
            for task_id, transcript in transcripts.items()
        }
        written = write_all_durably(contents, steps="transcript")
        return {path.stem: hashlib.sha256(contents[path]).hexdigest() for path in written}

    def read_transcript(self, task_id: str, sha256: str | None = None) -> Transcript:
        """The result. sha256: the recorded checksum, which must match.

        Raises FileMissingError when it is gone, unreadable or altered; the log says which.
        """
        try:
            data = _read_no_follow(self.transcript_path(task_id))
            if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
                raise ValueError("its checksum is not the recorded one")
            return Transcript.from_dict(json.loads(data))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("task=%s event=transcript_unreadable reason=%s", task_id, type(error).__name__)
            raise FileMissingError() from error

    def write_waveform(self, task_id: str, waveform: Waveform) -> None:
        """Whole or not at all; it may be lost in a power cut, after which it is made again. Raises DiskFullError."""
        path = self.waveform_path(task_id)
        unfinished = path.with_name(path.name + ".tmp")
        with disk_errors():
            unfinished.write_bytes(waveform.to_bytes())
            unfinished.replace(path)

    def read_waveform(self, task_id: str) -> Waveform | None:
        """None when there is none, or none that can be used."""
        try:
            return Waveform.from_bytes(_read_no_follow(self.waveform_path(task_id)))
        except OSError:
            return None

    def delete_waveform(self, task_id: str) -> None:
        self.waveform_path(task_id).unlink(missing_ok=True)

    def delete(self, task_id: str) -> None:
        """Removes every file of the task. Harmless when there is none, and while one is being downloaded."""
        failpoint("files.before_delete")
        for path in self._all_paths(task_id):
            path.unlink(missing_ok=True)
            failpoint("files.deleting")
        failpoint("files.deleted")

    def delete_audio(self, task_id: str) -> None:
        """Removes the samples, a task's largest file, once they are not needed. Harmless when there are none."""
        self.audio_path(task_id).unlink(missing_ok=True)

    def delete_media(self, task_id: str) -> None:
        """Removes the recording and what was made of it. Harmless when there is none."""
        for path in (self.media_path(task_id), self.audio_path(task_id), self.waveform_path(task_id)):
            path.unlink(missing_ok=True)

    def delete_transcript(self, task_id: str) -> None:
        """Removes a result that came too late to count. Harmless when there is none."""
        self.transcript_path(task_id).unlink(missing_ok=True)

    def sweep(self, known_ids: Set[str], now: datetime, without_media: Set[str] = frozenset()) -> SweepReport:
        """Cleans up after a crash, before anything runs. known_ids: of every task in the store. now: wall time, UTC.
        without_media: ids of tasks whose recording was removed on purpose.

        Removes half-written files, uploads that stopped arriving 24 h ago, those that were in doubt and are no task's,
        and samples and waveforms of unknown tasks, which can be made again. Other uploads and transcripts of unknown
        tasks are only reported: they may be somebody's only copy.
        """
        removed = tuple(sorted(self._remove_leftovers(known_ids, now - PART_LIFETIME)))
        media = {path.name for path in (self.root / "media").iterdir()}
        transcripts = {path.stem for path in (self.root / "transcripts").iterdir()}
        return SweepReport(
            removed=removed,
            media_without_row=tuple(sorted(media - known_ids)),
            rows_without_media=tuple(sorted(known_ids - media - without_media)),
            transcripts_without_row=tuple(sorted(transcripts - known_ids)),
        )

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def room_bytes(self) -> int:
        """What may be written before the disk's floor is reached; negative below it."""
        return self.free_bytes() - self._min_free_bytes

    def has_room(self, nbytes: int) -> bool:
        """Whether so many more bytes leave the disk space free that uploads must leave."""
        return self.room_bytes() >= nbytes

    def _all_paths(self, task_id: str) -> Iterator[Path]:
        yield self.part_path(task_id)
        yield self.media_path(task_id)
        others = (self.audio_path, self.transcript_path, self.note_path, self.waveform_path)
        for path in (path_of(task_id) for path_of in others):
            yield path
            yield path.with_name(path.name + ".tmp")

    def _remove_leftovers(self, known_ids: Set[str], oldest_part: datetime) -> Iterator[str]:
        for path in self._leftovers(known_ids, oldest_part.timestamp()):
            path.unlink(missing_ok=True)
            name = str(path.relative_to(self.root))
            log.info("event=swept file=%s", name)
            yield name

    def _leftovers(self, known_ids: Set[str], oldest_part: float) -> Iterator[Path]:
        for folder in (self.root, *(self.root / name for name in _FOLDERS)):
            yield from folder.glob("*.tmp")
        for part in (self.root / "incoming").glob("*.part"):
            is_kept_elsewhere = part.with_suffix(".json").exists()  # by PartStore, which lets it expire
            if part.lstat().st_mtime < oldest_part and not is_kept_elsewhere:
                yield part
        for doubt in (self.root / "incoming").glob(f"*{DOUBT}"):
            if doubt.stem not in known_ids:
                yield self.media_path(doubt.stem)
            yield doubt
        for made in (*(self.root / "audio").glob("*.pcm"), *(self.root / "waveforms").glob("*")):
            if made.stem not in known_ids and made.suffix != ".tmp":
                yield made


class DataLock:
    """Makes this process the only server of its data folder.

    A flock on a file that holds the owner's process id as text. The kernel drops it with the process, however that
    ends. `release` leaves the file there, because removing it would race with the next owner.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Never waits. Raises DataFolderInUseError when any server has the lock, this one included, and
        DataFolderUnusableError when the file cannot be made."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # CLOEXEC: no child keeps the lock alive
        try:
            descriptor = os.open(self._path, flags, PRIVATE_FILE)
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ELOOP):
                name = self._path.name
                raise DataFolderUnusableError(f"{name} must be a file of its own, not a link or a folder.") from error
            raise DataFolderUnusableError.from_os_error(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise DataFolderInUseError(
                f"data dir in use by pid {owner}: stop that server first, or set another DATA_DIR."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def is_held_by_anybody(self) -> bool:
        """Looks and takes nothing."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _checked(task_id: str) -> str:
    """The id, when it is safe as a file name. Raises FileMissingError otherwise: such an id never had a file."""
    if not _TASK_ID.fullmatch(task_id):
        raise FileMissingError()
    return task_id


def _is_plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _read_no_follow(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return file.read()
