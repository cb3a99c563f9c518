"""TaskStore: the durable truth about every task. After a restart the queue's order is rebuilt from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import DatabaseDamagedError, DataFolderUnusableError, DiskFullError, TranscriptionServerError
from optimizer.storage import aged_tasks, search_index
from optimizer.storage.collecting_writer import CollectingWriter
from optimizer.storage.database import Database, database_url
from optimizer.storage.dialect import UNWRITABLE
from optimizer.storage.edit_writer import EditWriter
from optimizer.storage.erasure import LogErasure
from optimizer.storage.migrate import Migrator
from optimizer.storage.repository import TaskReader, TaskWriter
from optimizer.storage.search_erasure import SearchErasure
from optimizer.storage.webhook_outbox import WebhookOutbox


class TaskStore:
    """Transactions over the tasks. The constructor touches nothing; `open` once, then any thread.

    The caller must hold the data folder's lock: a second server's recovery would take this one's running tasks away.
    """

    def __init__(self, data_dir: Path, url: str = "", *, outbox: WebhookOutbox | None = None) -> None:
        """url: an SQLAlchemy address; empty for SQLite in `data_dir`. outbox: for who is told of tasks' ends; None:
        nobody is. Raises InvalidSettingsError."""
        self._data_dir = data_dir
        self._outbox = outbox
        self._database = Database(database_url(url, data_dir), is_ours=not url)
        self._search_erasure = SearchErasure(self._database)
        self._erasure = LogErasure(self._erase)
        self._is_beside_server = False

    def open(self) -> None:
        """Checks the whole database and brings its tables to this version.

        Raises DatabaseDamagedError, which says how to restore the file and leaves it as it was;
        DataFolderUnusableError, DiskFullError, StoreBusyError.
        """
        dialect = self._database.dialect
        try:
            dialect.check_start(self._data_dir)
            Migrator(self._database).run()
            self._database.take_over()
            with suppress(DiskFullError):  # a person must be able to delete tasks
                self._prepare_search()
                self._check_writable()
        except DatabaseDamagedError as error:
            self.close()
            if error.message in UNWRITABLE:
                raise DataFolderUnusableError(error.message) from error
            raise DatabaseDamagedError(f"{error.message} {dialect.advice()}") from error
        except OSError as error:
            self.close()
            raise DataFolderUnusableError.from_os_error(error) from error
        dialect.begin_serving()
        self.erase_deleted()  # what a killed server had not erased yet

    def open_beside_server(self) -> None:
        """For a command: a server may have the database open. Makes the tables where there are none, and changes
        nothing else. The data folder's lock is not needed.

        Raises DatabaseDamagedError, also for a database of another version; DataFolderUnusableError, StoreBusyError.
        """
        self._database.dialect.check_command(self._data_dir)
        Migrator(self._database).run_beside_server()
        self._is_beside_server = True

    def close(self) -> None:
        """Harmless when repeated."""
        self._erasure.stop()
        self._database.dialect.end_serving()
        self._database.close()
        if self._is_beside_server:
            self._database.dialect.forget_command()

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
        database = self._database.dialect.file
        if database is None:
            return None
        files = (database.with_name(database.name + ending) for ending in ("", "-wal", "-shm"))
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
        return self._search_erasure.erase() and self._database.empty_log(wait_ms)

    def _prepare_search(self) -> None:
        with self._database.writing() as connection:
            search_index.prepare(connection)

    def _check_writable(self) -> None:
        """Really writes: SQLite opens a file that it may only read without a word, and begins a transaction on it."""
        with self.writing() as rows:
            rows.touch()
