"""A backup of a data folder as one tar file, made beside a running server, and the way back.

    tasks.db                a copy of the database, as of one moment
    media/<id>              the uploads of the tasks in it, unless they were left out
    transcripts/<id>.json   their transcripts
    manifest.json           last: what the backup is, and the SHA-256 of every other member

The database is copied first. Files are never changed, only added and removed, so those that its rows name are as they
were then; a task that is deleted meanwhile is taken out of the copy. Its row is removed after its files, so a row whose
files are missing is looked at until it is gone, too, or nobody seems to be deleting it.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import sqlite3
import tarfile
import time
from collections.abc import Iterator, Mapping, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from errors import BackupError
from optimizer.common.atomic_files import create_private
from optimizer.common.failpoints import failpoint
from optimizer.storage import fts5_index
from optimizer.storage.schema import TABLES_OF_A_TASK
from optimizer.storage.sqlite import copy_sqlite_file
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.watched_files import DONE
from optimizer.tasks.task import TaskStatus
from whisper_core.common.durable_files import disk_errors, replace_durably, sync_folder

log = logging.getLogger(__name__)

FORMAT = 1
DATABASE, MANIFEST = "tasks.db", "manifest.json"
_MEMBER = re.compile(r"tasks\.db|manifest\.json|media/[0-9A-Za-z_-]{1,64}|transcripts/[0-9A-Za-z_-]{1,64}\.json")
_CHUNK = 1 << 20
_LOOK_EVERY_S = 0.05
_FORGET_WATCHED = f"UPDATE watched_files SET state = '{DONE}', task_id = NULL, details = NULL WHERE task_id = ?"  # noqa: S608
_MOST_LOOKS = 100  # 5 s, for a deletion to come from a task's files to its row; else its process died in between


@dataclass(frozen=True)
class BackupReport:
    tasks: int
    recordings: int
    transcripts: int
    has_media: bool


# Making one


def write_backup(files: TaskFiles, database: Path, target: Path, *, with_media: bool, version: str) -> BackupReport:
    """database: SQLite's file. Raises BackupError when `target` exists or cannot be written, DatabaseDamagedError,
    StoreBusyError, DiskFullError. Then nothing is left of it."""
    if target.exists():
        raise BackupError(f"{target.name} is there already.")
    copy, unfinished = (target.with_name(f"{target.name}.{ending}.tmp") for ending in ("db", "tar"))
    try:
        with disk_errors():
            os.close(create_private(copy))
            copy_sqlite_file(database, copy)
            with open(create_private(unfinished), "wb") as output:
                report = _write_tar(output, files, database, copy, with_media=with_media, version=version)
            failpoint("backup.before_rename")
            replace_durably(unfinished, target)
        return report
    except OSError as error:
        raise BackupError(f"The backup cannot be written: {error.strerror}.") from error
    finally:
        for path in (copy, copy.with_name(copy.name + "-journal"), unfinished):
            path.unlink(missing_ok=True)


def _write_tar(
    output: IO[bytes], files: TaskFiles, database: Path, copy: Path, *, with_media: bool, version: str
) -> BackupReport:
    sums: dict[str, str] = {}
    incomplete: set[str] = set()
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        with closing(sqlite3.connect(copy)) as rows:
            states = rows.execute("SELECT id, status, media_removed_at IS NULL FROM tasks").fetchall()
        for task_id, status, has_media in states:
            is_whole = not (with_media and has_media) or _add(tar, f"media/{task_id}", files.media_path(task_id), sums)
            if status == TaskStatus.COMPLETED.value:
                is_whole &= _add(tar, f"transcripts/{task_id}.json", files.transcript_path(task_id), sums)
            if not is_whole:
                incomplete.add(task_id)
        num_tasks = _settle(copy, _ids_after_deletions(database, incomplete))
        _add(tar, DATABASE, copy, sums)
        manifest = {"format": FORMAT, "version": version, "has_media": with_media, "sha256": sums}
        data = json.dumps(manifest, indent=1).encode()
        tar.addfile(_entry(MANIFEST, len(data)), io.BytesIO(data))
    return BackupReport(
        num_tasks,
        sum(name.startswith("media/") for name in sums),
        sum(name.startswith("transcripts/") for name in sums),
        with_media,
    )


def _settle(copy: Path, ids_now: set[str]) -> int:
    """Takes out what was deleted since the copy was made, and gives running tasks back. Returns how many are left.

    The search's index, which may have words of what was deleted, is left out then: the server makes it anew."""
    with closing(sqlite3.connect(copy)) as rows:
        rows.execute("PRAGMA secure_delete = ON")
        gone = [(task_id,) for (task_id,) in rows.execute("SELECT id FROM tasks") if task_id not in ids_now]
        for table in TABLES_OF_A_TASK:
            rows.executemany(f"DELETE FROM {table} WHERE task_id = ?", gone)  # noqa: S608 - names of our own
        rows.executemany(_FORGET_WATCHED, gone)
        rows.executemany("DELETE FROM tasks WHERE id = ?", gone)
        if gone or rows.execute("SELECT max(count) > 0 FROM search_removals").fetchone() == (1,):
            fts5_index.leave_out(rows)
        rows.execute(
            "UPDATE tasks SET status = 'pending', lease_token = NULL, lease_owner = NULL, uncharged = uncharged + 1 "
            "WHERE status = 'processing'"
        )
        rows.commit()
        (left,) = rows.execute("SELECT count(*) FROM tasks").fetchone()
    return int(left)


def _ids_after_deletions(database: Path, incomplete: Set[str]) -> set[str]:
    """The tasks there are once nobody is deleting one of the `incomplete`."""
    for _ in range(_MOST_LOOKS):
        if not incomplete & _ids_now(database):
            break
        time.sleep(_LOOK_EVERY_S)
    return _ids_now(database)


def _ids_now(database: Path) -> set[str]:
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as rows:
        return {task_id for (task_id,) in rows.execute("SELECT id FROM tasks")}


def _add(tar: tarfile.TarFile, name: str, path: Path, sums: dict[str, str]) -> bool:
    """False when the file is gone: its task is being deleted, or `doctor` reports it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as source:
        hashing = _HashingReader(source)
        tar.addfile(_entry(name, os.fstat(source.fileno()).st_size), hashing)
        sums[name] = hashing.digest.hexdigest()
    return True


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


class _HashingReader(io.RawIOBase):
    """Passes bytes through and hashes them on the way."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


# The way back


def restore_backup(files: TaskFiles, database: Path, source: Path) -> BackupReport:
    """Into an empty data folder whose lock the caller holds. Raises BackupError, and then the folder is empty again;
    DiskFullError."""
    _require_empty(files, database)
    manifest = _verified_manifest(source)
    written: list[Path] = []
    try:
        with disk_errors():
            _extract(source, manifest, files, database, written)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BackupError(f"The backup cannot be restored: {error.strerror}.") from error
        raise
    with closing(sqlite3.connect(database)) as rows:
        (num_tasks,) = rows.execute("SELECT count(*) FROM tasks").fetchone()
    names = manifest["sha256"]
    return BackupReport(
        int(num_tasks),
        sum(name.startswith("media/") for name in names),
        sum(name.startswith("transcripts/") for name in names),
        bool(manifest["has_media"]),
    )


def _require_empty(files: TaskFiles, database: Path) -> None:
    folders = [files.root / name for name in ("incoming", "media", "audio", "transcripts", "waveforms")]
    if database.exists() or any(next(folder.iterdir(), None) is not None for folder in folders):
        raise BackupError("The data folder is not empty: set another DATA_DIR, or move what is in it aside first.")


def _verified_manifest(source: Path) -> dict[str, Any]:
    """Reads all of the backup once, before anything is written."""
    found: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    with _opened(source) as tar:
        for entry, content in _members(tar):
            if entry.name == MANIFEST:
                manifest = json.loads(content.read())
            else:
                found[entry.name] = _digest(content)
    if manifest is None or manifest.get("format") != FORMAT:
        raise BackupError("This is no backup of this program, or it is cut off.")
    expected: Mapping[str, str] = manifest["sha256"]
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong or DATABASE not in expected:
        raise BackupError(f"The backup is damaged: {len(wrong)} files have a wrong checksum, such as {wrong[:1]}.")
    return manifest


def _extract(source: Path, manifest: Mapping[str, Any], files: TaskFiles, database: Path, written: list[Path]) -> None:
    """The database last and under its name only when everything else is there."""
    unfinished = database.with_name(database.name + ".tmp")
    with _opened(source) as tar:
        for entry, content in _members(tar):
            if entry.name == MANIFEST:
                continue
            path = unfinished if entry.name == DATABASE else files.root / entry.name
            written.append(path)
            failpoint("restore.before_file")
            if _copy(content, path) != manifest["sha256"][entry.name]:
                raise BackupError("The backup changed while it was read.")
    for folder in ("media", "transcripts"):
        sync_folder(files.root / folder)
    written.append(database)
    failpoint("restore.before_rename")
    replace_durably(unfinished, database)


def _copy(content: IO[bytes], path: Path) -> str:
    """Returns the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with open(create_private(path), "wb") as file:
        while data := content.read(_CHUNK):
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with open(source, "rb") as file, tarfile.open(fileobj=file, mode="r|") as tar:
            yield tar
    except (tarfile.TarError, ValueError, KeyError, EOFError) as error:
        raise BackupError("This is no backup of this program, or it is cut off.") from error


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Only plain files with a name that `write_backup` gives."""
    for entry in tar:
        content = tar.extractfile(entry) if entry.isreg() else None
        if content is None or not _MEMBER.fullmatch(entry.name):
            raise BackupError("The backup has a member that is none of ours.")
        yield entry, content


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while data := content.read(_CHUNK):
        digest.update(data)
    return digest.hexdigest()
