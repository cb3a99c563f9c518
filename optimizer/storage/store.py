"""TaskStore: the durable truth about every task. After a restart the queue's order is rebuilt from it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import DatabaseDamagedError, DataFolderUnusableError, DiskFullError, TranscriptionServerError
from optimizer.common.atomic_files import PRIVATE_FILE, PRIVATE_FOLDER
from optimizer.storage import aged_tasks, search_index
from optimizer.storage.collecting_writer import CollectingWriter
from optimizer.storage.database import CANNOT_WRITE, Database, check_sqlite_file, database_url
from optimizer.storage.edit_writer import EditWriter
from optimizer.storage.erasure import LogErasure
from optimizer.storage.migrate import Migrator
from optimizer.storage.repository import TaskReader, TaskWriter
from optimizer.storage.search_erasure import SearchErasure
from optimizer.storage.webhook_outbox import WebhookOutbox

log = logging.getLogger(__name__)

_IRREPLACEABLE_FOLDERS = ("media", "transcripts")


class TaskStore:
    """Transactions over the tasks. The constructor touches nothing; `open` once, then any thread.

    The caller must hold the data folder's lock: a second server's recovery would take this one's running tasks away.
    """

    def __init__(self, data_dir: Path, url: str = "", *, outbox: WebhookOutbox | None = None) -> None:
        """url: an SQLAlchemy address; empty for SQLite in `data_dir`. outbox: for who is told of tasks' ends; None:
        nobody is. Raises InvalidSettingsError."""
        address = database_url(url, data_dir)
        self._is_ours = not url  # in the data folder, where no links are followed
        self._data_dir = data_dir
        self._outbox = outbox
        self._database = Database(address)
        self._file = Path(str(address.database)) if self._database.is_sqlite else None
        self._search_erasure = SearchErasure(self._database)
        self._erasure = LogErasure(self._erase)
        self._is_beside_server = False

    def open(self) -> None:
        """Checks the whole database and brings its tables to this version.

        Raises DatabaseDamagedError, which says how to restore the file and leaves it as it was;
        DataFolderUnusableError, DiskFullError, StoreBusyError.
        """
        try:
            if self._file is not None:
                self._check_file(self._file)
            Migrator(self._database, self._file).run()
            with suppress(DiskFullError):  # a person must be able to delete tasks
                self._prepare_search()
                self._check_writable()
        except DatabaseDamagedError as error:
            self.close()
            if error.message == CANNOT_WRITE:
                raise DataFolderUnusableError(error.message) from error
            raise DatabaseDamagedError(f"{error.message} {self._advice()}") from error
        except OSError as error:
            self.close()
            raise DataFolderUnusableError.from_os_error(error) from error
        if self._database.log_watch is not None:
            self._database.log_watch.open()
        self.erase_deleted()  # what a killed server had not erased yet

    def open_beside_server(self) -> None:
        """For a command: a server may have the database open. Makes the tables where there are none, and changes
        nothing else. The data folder's lock is not needed.

        Raises DatabaseDamagedError, also for a database of another version; DataFolderUnusableError, StoreBusyError.
        """
        if self._database.log_watch is not None:
            self._database.log_watch.check_start()
        if self._file is not None and not (self._file.exists() and self._file.stat().st_size):
            self._check_file(self._file)
        Migrator(self._database, self._file).run_beside_server()
        self._is_beside_server = True

    def close(self) -> None:
        """Harmless when repeated."""
        self._erasure.stop()
        if self._database.log_watch is not None:
            self._database.log_watch.close()
        self._database.close()
        if self._is_beside_server and self._database.log_watch is not None:
            self._database.log_watch.forget()

    @property
    def database(self) -> Database:
        """For what else is kept there: the monitor's samples, the system's events, documents."""
        return self._database

    @contextmanager
    def reading(self) -> Iterator[TaskReader]:
        """One consistent view. Raises StoreBusyError, DatabaseDamagedError."""
        with self._database.reading() as connection:
            yield TaskReader(connection)

    @contextmanager
    def writing(self) -> Iterator[TaskWriter]:
        """The one writer at this moment: all of it is committed at the end, or nothing when the block raises.

        Raises StoreBusyError after 5 s behind another writer, DiskFullError, DatabaseDamagedError.
        """
        with self._database.writing() as connection:
            yield TaskWriter(connection, self._outbox)

    @contextmanager
    def editing(self) -> Iterator[EditWriter]:
        """`writing` for what people change in a transcript."""
        with self._database.writing() as connection:
            yield EditWriter(connection, self._outbox)

    @contextmanager
    def writing_together(self) -> Iterator[CollectingWriter]:
        """`writing` for the changes of several tasks: they are written at the end of the block."""
        with self._database.writing() as connection:
            rows = CollectingWriter(connection, self._outbox)
            yield rows
            rows.flush()

    def problem(self) -> str | None:
        """Why tasks cannot be stored at the moment, or None. May wait 5 s."""
        try:
            self._check_writable()
        except TranscriptionServerError as error:
            return error.message
        return None

    def ids(self) -> set[str]:
        """The ids of all tasks."""
        with self.reading() as rows:
            return rows.ids()

    def waiting_ids(self) -> set[str]:
        """The ids of the waiting tasks: before anything runs, of all that are not finished."""
        with self.reading() as rows:
            return rows.waiting_ids()

    def ids_without_media(self) -> set[str]:
        """The ids of the tasks whose recording was removed for its age."""
        with self._database.reading() as connection:
            return aged_tasks.ids_without_media(connection)

    def file_bytes(self) -> int | None:
        """What SQLite's files take; None for another database."""
        if self._file is None:
            return None
        files = (self._file.with_name(self._file.name + ending) for ending in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.exists())

    def erase_deleted(self) -> None:
        """Empties the search's index of what was removed from it, and SQLite's log, which may still hold deleted rows:
        now, or as soon as that is possible."""
        self._erasure.erase()

    @property
    def is_erasing(self) -> bool:
        """Whether the search's index or SQLite's log may still hold deleted rows."""
        return self._erasure.is_pending

    def _erase(self, wait_ms: int) -> bool:
        return self._search_erasure.erase() and self._database.truncate_wal(wait_ms)

    def _prepare_search(self) -> None:
        with self._database.writing() as connection:
            search_index.prepare(connection)

    def _check_writable(self) -> None:
        """Really writes: SQLite opens a file that it may only read without a word, and begins a transaction on it."""
        with self.writing() as rows:
            rows.touch()

    def _check_file(self, file: Path) -> None:
        if (self._is_ours and file.is_symlink()) or file.is_dir():
            raise DataFolderUnusableError(f"{file.name} must be a file of its own, not a link or a folder.")
        if self._database.log_watch is not None:
            self._database.log_watch.check_start()
        if file.exists() and file.stat().st_size:
            check_sqlite_file(file)
            return
        if any(self._folder_has_files(name) for name in _IRREPLACEABLE_FOLDERS):
            raise DatabaseDamagedError("The database is missing, but there are uploads or transcripts that it knew.")
        file.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        # SQLite gives its log the same mode as the database.
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE))
        log.info("event=database_created")

    def _folder_has_files(self, name: str) -> bool:
        folder = self._data_dir / name
        return folder.is_dir() and next(folder.iterdir(), None) is not None

    def _advice(self) -> str:
        if self._file is None:
            return "Nothing was changed."
        name = self._file.name
        backups = sorted(path.name for path in self._file.parent.glob(f"{name}.before-*") if path.suffix != ".tmp")
        restore = f"cp {backups[-1]} {name}" if backups else f"sqlite3 damaged.db .recover | sqlite3 {name}"
        return (
            f"{name} was left as it is. To restore it, go into the data folder, move {name}, {name}-wal and {name}-shm "
            f"aside (mv {name} damaged.db), then run: {restore}"
        )
