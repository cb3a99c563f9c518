"""Notices that SQLite's log (`tasks.db-wal`) was removed by hand while it held what the database did not have yet.

SQLite itself takes a database without its log for a complete one, and forgets what was committed last. So a note beside
the database says, after every commit, how large the log was and when the database's file last changed. It is
removed when the server stops; after a crash, a log that is gone although the file is unchanged was removed by
somebody. The note is not synced, because a power cut takes no log away.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from errors import DatabaseDamagedError, DataFolderUnusableError
from optimizer.common.atomic_files import PRIVATE_FILE

log = logging.getLogger(__name__)

_NOTE_BYTES = 64
_DESCRIPTORS = Path("/proc/self/fd")


class LogWatch:
    """`check_start`, then `open`; `check` and `note` by one writer at a time."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._log = database.with_name(database.name + "-wal")
        self._note = database.with_name(database.name + "-log-note")
        self._descriptor = -1
        self._inode: int | None = None
        self._is_removed = False

    def check_start(self) -> None:
        """Before anything opens the database. Raises DataFolderUnusableError."""
        try:
            log_bytes, changed_at = map(int, self._note.read_text().split())
            is_unchanged = self._database.stat().st_mtime_ns == changed_at
        except (OSError, ValueError):
            return
        if log_bytes > 0 and is_unchanged and not self._log.exists():
            raise DataFolderUnusableError(
                f"{self._log.name} is missing, though the server was killed and had not written it into "
                f"{self._database.name} yet: the changes before that would be lost. Put it back, or restore a backup "
                f"(python main.py restore). To go on without these changes, remove {self._note.name}."
            )

    def open(self) -> None:
        """Begins the note."""
        with suppress(OSError):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._note, flags, PRIVATE_FILE)
        self.note()

    def check(self) -> None:
        """Before every write. Raises DatabaseDamagedError once the log was removed under this process."""
        if self._descriptor < 0:
            return
        inode = self._inode_of_log()
        if self._inode is not None and inode != self._inode and self._holds_removed_log():
            self._is_removed = True
        self._inode = inode
        if self._is_removed:
            raise DatabaseDamagedError(
                f"{self._log.name} was removed while the server runs, so nothing can be stored. Restart the server."
            )

    def note(self) -> None:
        """After every commit and whenever the log was emptied."""
        if self._descriptor < 0:
            return
        with suppress(OSError):
            text = f"{self._log.stat().st_size} {self._database.stat().st_mtime_ns}"
            os.pwrite(self._descriptor, text.ljust(_NOTE_BYTES).encode(), 0)

    def close(self) -> None:
        """The server stops in order: what is in the log goes into the database now. Harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            if not self._is_removed:
                self._note.unlink(missing_ok=True)

    def forget(self) -> None:
        """The last connection of a command has closed: if the log is gone now, SQLite has written it back, and no
        server has the database open."""
        if not self._log.exists():
            self._note.unlink(missing_ok=True)

    def _inode_of_log(self) -> int | None:
        try:
            return self._log.stat().st_ino
        except OSError:
            return None

    def _holds_removed_log(self) -> bool:
        """Whether a connection of this process still has a log open that is not there any more. SQLite removes it by
        itself when the last connection closes, and then none has."""
        removed = f"{self._log.resolve()} (deleted)"
        for descriptor in _DESCRIPTORS.iterdir() if _DESCRIPTORS.is_dir() else ():
            with suppress(OSError):
                if str(descriptor.readlink()) == removed:
                    return True
        return False
