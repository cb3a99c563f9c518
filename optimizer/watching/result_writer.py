"""Writes the transcripts of a watched recording: whole or not at all, and never over a file of somebody else's.

The names, with the SHA-256 of what they get, are stored before anything is written. After a crash that tells a file of
ours from anybody else's that has appeared under the same name meanwhile.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from errors import UnavailableError
from optimizer.common.atomic_files import write_all
from optimizer.common.failpoints import failpoint
from optimizer.common.filenames import without_media_ending
from optimizer.watching.found_files import FoundFile
from optimizer.watching.tree import Tree, exists, rename_new, sha256_of
from optimizer.watching.watch_store import WatchedFile, WatchStore, WrittenFile, all_written, key_of
from whisper_core.common.durable_files import disk_errors

ERROR_NOTE = "error.txt"
MAX_NAME_BYTES = 255
NOTE_NAMES = 3  # under which a note of ours is looked for
MOST_TRIES = 5  # each for a name that was free a moment ago
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOR_EVERYBODY = 0o666  # as far as the umask lets them
_OURS = 0o600


class ResultWriter:
    """One thread. output: where the folders of the watched one are repeated. A transcript may be read by those who may
    read its recording."""

    def __init__(self, watched: Tree, output: Tree, store: WatchStore) -> None:
        self._watched = watched
        self._output = output
        self._store = store

    def write(self, watched: WatchedFile, texts: Mapping[str, bytes]) -> WatchedFile:
        """texts: by the endings of their files, such as `srt`. Harmless when repeated.

        Returns it with the names that they have got. Raises OSError, DiskFullError and what the store raises.
        """
        permissions = self._permissions_of(watched.found)
        with disk_errors(), self._output.folder(watched.found.folder, is_made=True) as folder:
            for _ in range(MOST_TRIES):
                watched = replace(watched, names=_names(folder, watched, texts), written=all_written(watched))
                self._store.save(watched)
                failpoint("watch.named")
                if all(_publish(folder, watched, ending, text, permissions) for ending, text in texts.items()):
                    os.fsync(folder)
                    failpoint("watch.published")
                    return watched
        raise UnavailableError("Other programs take every name for the transcripts.")

    def _permissions_of(self, found: FoundFile) -> int | None:
        """None when it is gone."""
        with suppress(FileNotFoundError), self._watched.folder(found.folder) as folder:
            return os.stat(found.name, dir_fd=folder, follow_symlinks=False).st_mode & _FOR_EVERYBODY | _OURS
        return None

    def remove_note(self, watched: WatchedFile) -> None:
        """What was said of a failure that is over; what somebody has changed stays. Raises OSError."""
        earlier = all_written(watched)
        with suppress(FileNotFoundError), self._output.folder(watched.found.folder) as folder:
            for name in itertools.islice(_candidates(watched.found.name, ERROR_NOTE), NOTE_NAMES):
                ours = earlier.get(key_of(name))
                if ours is not None and ours == sha256_of(folder, name):
                    _remove(folder, name)


def _names(folder: int, watched: WatchedFile, texts: Mapping[str, bytes]) -> dict[str, WrittenFile]:
    names = {}
    for ending, text in texts.items():
        chosen = _kept_name(folder, watched, ending) or _free_name(folder, watched, ending)
        names[ending] = WrittenFile(chosen, hashlib.sha256(text).hexdigest())
    return names


def _kept_name(folder: int, watched: WatchedFile, ending: str) -> str | None:
    """The one that was stored at an earlier try, unless somebody else has it now."""
    stored = watched.names.get(ending)
    if stored is None:
        return None
    there = sha256_of(folder, stored.name)
    is_ours = there == stored.sha256 or (there is None and not exists(folder, stored.name))
    return stored.name if is_ours else None


def _free_name(folder: int, watched: WatchedFile, ending: str) -> str:
    """One that nothing has, or that was written for an earlier recording of this path and not changed since."""
    return next(
        name
        for name in _candidates(watched.found.name, ending)
        if not exists(folder, name) or _is_replaced(folder, watched, name)
    )


def _is_replaced(folder: int, watched: WatchedFile, name: str) -> bool:
    earlier = watched.written.get(key_of(name))
    return earlier is not None and earlier == sha256_of(folder, name)


def _candidates(filename: str, ending: str) -> Iterator[str]:
    """`interview.srt`, `interview.mp3.srt`, `interview.mp3 (2).srt` …"""
    yield _fitting(without_media_ending(filename), f".{ending}")
    yield _fitting(filename, f".{ending}")
    for number in itertools.count(2):
        yield _fitting(filename, f" ({number}).{ending}")


def _fitting(stem: str, tail: str) -> str:
    """At most as long as a file's name can be. Names need not be UTF-8."""
    room = MAX_NAME_BYTES - len(tail)
    kept = os.fsencode(stem)[:room]
    with suppress(UnicodeEncodeError):
        return stem.encode()[:room].decode(errors="ignore") + tail
    return os.fsdecode(kept) + tail


def _publish(folder: int, watched: WatchedFile, ending: str, text: bytes, permissions: int | None) -> bool:
    """Gives the text its name. False when somebody was faster."""
    chosen = watched.names[ending]
    temporary = f".{watched.task_id}.{ending}.tmp"
    there = sha256_of(folder, chosen.name)
    if there == chosen.sha256:
        _remove(folder, temporary)
        return True
    _write_synced(folder, temporary, text, permissions)
    failpoint("watch.before_publish")
    try:
        if there is None:
            return rename_new(folder, temporary, folder, chosen.name)
        if not _is_replaced(folder, watched, chosen.name):
            return False
        os.replace(temporary, chosen.name, src_dir_fd=folder, dst_dir_fd=folder)
        return True
    finally:
        _remove(folder, temporary)


def _write_synced(folder: int, name: str, text: bytes, permissions: int | None) -> None:
    _remove(folder, name)
    descriptor = os.open(name, _NEW_FILE, _FOR_EVERYBODY, dir_fd=folder)
    try:
        if permissions is not None:
            with suppress(PermissionError):  # a file system without permissions
                os.fchmod(descriptor, permissions)
        write_all(descriptor, text)
        os.fsync(descriptor)
    except OSError:
        _remove(folder, name)
        raise
    finally:
        os.close(descriptor)


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
