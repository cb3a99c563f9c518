"""The database: how it is opened, what its errors become, and that what is deleted is gone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import event

from errors import DatabaseDamagedError, DataFolderUnusableError, DiskFullError, StoreBusyError, TaskNotFoundError
from optimizer.common.clock import SystemClock
from optimizer.storage import database, sqlite
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import Priority, TaskFilter, TaskOptions, TaskStatus
from tests.databases import Databases
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, at_once, new_task, running_queue, window
from tests.optimizer.storage.helpers import opened

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

# Setting up


@pytest.mark.sqlite
def test_every_connection_is_durable_and_forgets_what_is_deleted(queue: Queue) -> None:
    with queue.store.reading() as rows:
        values = {
            name: rows._connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys", "secure_delete")
        }
    assert values == {
        "journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1, "secure_delete": 1,
    }  # fmt: skip


@pytest.mark.sqlite
def test_database_files_are_for_this_user_only(queue: Queue, tmp_path: Path) -> None:
    queue.submit("a")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("tasks.db*")}
    assert modes == dict.fromkeys(("tasks.db", "tasks.db-wal", "tasks.db-shm", "tasks.db-log-note"), 0o600)


@pytest.mark.sqlite
def test_opening_the_store_does_not_import_alembic(tmp_path: Path) -> None:
    """It takes longer than the rest of the start, and a start must answer within a second."""
    code = (
        "import sys, pathlib; from optimizer.storage.store import TaskStore; s = TaskStore(pathlib.Path(sys.argv[1]));"
        "s.open(); s.close(); s = TaskStore(pathlib.Path(sys.argv[1])); s.open(); sys.exit('alembic' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=root, timeout=60)
    assert done.returncode == 0


@pytest.mark.sqlite
def test_a_name_that_percent_and_question_marks_cannot_break(tmp_path: Path) -> None:
    folder = tmp_path / "50% of?my#data"
    folder.mkdir()
    opened(folder).close()
    opened(folder).close()
    assert (folder / "tasks.db").is_file()


# Errors while running


def test_a_writer_that_waits_too_long_is_told_that_the_store_is_busy(
    tmp_path: Path, each_database: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr(sqlite, "_PRAGMAS", ("busy_timeout = 50", *sqlite._PRAGMAS[1:]))
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
        with each_database.locked(tmp_path):
            with pytest.raises(StoreBusyError):
                queue.manager.claim("a", "cpu", 1)
            assert queue.manager.get("a").status is TaskStatus.PENDING
            assert queue.store.problem() == StoreBusyError.default_message
        assert queue.store.problem() is None
        queue.claim("a")


@pytest.mark.sqlite
def test_a_full_disk_rolls_back_and_later_writes_succeed(tmp_path: Path) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
        task = queue.claim("a")
        pages = {"limit": 40}

        @event.listens_for(queue.store._database._engine, "checkout")
        def limit(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages['limit']}")

        with pytest.raises(DiskFullError):
            queue.complete(task, text="long " * 100_000)
        assert queue.manager.get("a") == task

        pages["limit"] = 100_000
        assert queue.complete(task, text="long " * 100_000) is not None


@pytest.mark.sqlite
def test_a_database_that_cannot_be_written_is_an_error_of_the_start(tmp_path: Path) -> None:
    opened(tmp_path).close()
    connection = sqlite3.connect(f"file:{tmp_path / 'tasks.db'}?mode=ro", uri=True)
    with closing(connection), pytest.raises(sqlite3.OperationalError) as refused:
        connection.execute("DELETE FROM tasks")
    assert isinstance(sqlite.translate(refused.value), DatabaseDamagedError)


def test_no_transaction_stays_open_after_an_error(queue: Queue, tmp_path: Path, each_database: Databases) -> None:
    queue.submit("a")
    with pytest.raises(RuntimeError), queue.store.writing():
        raise RuntimeError
    with pytest.raises(TaskNotFoundError), queue.store.reading() as rows:
        rows.get("no such task")
    each_database.execute(tmp_path, "UPDATE tasks SET filename = 'renamed'")
    queue.store.erase_deleted()
    if not each_database.is_postgresql:
        assert (tmp_path / "tasks.db-wal").stat().st_size == 0


def test_a_reader_keeps_its_view_while_a_writer_commits(queue: Queue) -> None:
    queue.submit("a")
    with queue.store.reading() as rows:
        assert rows.get("a").status is TaskStatus.PENDING
        writer = threading.Thread(target=queue.claim, args=("a",))
        writer.start()
        writer.join(timeout=10)
        assert rows.get("a").status is TaskStatus.PENDING
    assert queue.manager.get("a").status is TaskStatus.PROCESSING


def test_many_writers_behind_another_process_are_told_within_one_time_out(
    tmp_path: Path, each_database: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for this process's writers and the wait for the database's lock do not add up."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1000)
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 1000)
    monkeypatch.setattr(sqlite, "_PRAGMAS", ("busy_timeout = 1000", *sqlite._PRAGMAS[1:]))
    waited: list[float] = []

    def write(queue: Queue, task_id: str) -> None:
        began_at = SystemClock().monotonic()
        try:
            queue.submit(task_id)
        except StoreBusyError:
            waited.append(SystemClock().monotonic() - began_at)

    with running_queue(tmp_path, FakeClock()) as queue:
        with each_database.locked(tmp_path):
            at_once(*(partial(write, queue, f"t{number}") for number in range(20)))
        assert len(waited) == 20
        assert max(waited) < 1.8, "twice the time-out would be 2 s"
        queue.submit("later")


@pytest.mark.sqlite
def test_a_database_that_may_only_be_read_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite opens it without a word, and begins a write transaction on it."""
    opened(tmp_path).close()
    connect = sqlite3.connect

    def read_only(path: str, **more: object) -> sqlite3.Connection:
        return connect(f"file:{path}?mode=ro", uri=True, **more)  # type: ignore[call-overload]

    with closing(read_only(str(tmp_path / "tasks.db"))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    store = TaskStore(tmp_path)
    monkeypatch.setattr(store.database._engine.dialect, "connect", lambda path, **more: read_only(path))
    with pytest.raises(DataFolderUnusableError, match="cannot be written"):
        store.open()


# Deleting


@pytest.mark.sqlite
def test_nothing_of_a_deleted_task_stays_in_the_database_files(tmp_path: Path) -> None:
    marker = "Zanzibar-4711"
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("keep")
        queue.submit("a", filename=f"{marker}.mp3", options=TaskOptions(model="base", initial_prompt=marker))
        queue.submit("b", filename=f"{marker}.mp3")
        task = queue.claim("a")
        for index in range(3):
            queue.manager.save_window("a", task.lease_token or "", window(index, text=f" {marker} " * 500))
        queue.complete(queue.claim("b"), text=marker * 1000)
        assert any(marker.encode() in path.read_bytes() for path in tmp_path.glob("tasks.db*"))

        queue.manager.delete("a")
        queue.manager.delete("b")

        for path in tmp_path.glob("tasks.db*"):
            assert marker.encode() not in path.read_bytes()
            assert marker.lower().encode() not in path.read_bytes()


def marked(tmp_path: Path, marker: str) -> list[str]:
    """The database's files that hold the marker, in whatever case."""
    files = tmp_path.glob("tasks.db*")
    return sorted(path.name for path in files if marker.lower().encode() in path.read_bytes().lower())


@pytest.mark.sqlite
def test_while_others_read_a_deleted_task_is_gone_at_once(tmp_path: Path) -> None:
    """Their reads are short; one at a bad moment used to leave the name in the log in one of ten deletes."""
    marker = "Zanzibar-4711"
    with running_queue(tmp_path, FakeClock()) as queue:
        is_over = threading.Event()

        def read() -> None:
            while not is_over.is_set():
                queue.manager.page(TaskFilter())

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        try:
            for number in range(20):
                queue.submit(f"t{number}", filename=f"{marker}.mp3")
                queue.manager.delete(f"t{number}")
                assert wait_for(lambda: not queue.store.is_erasing)
                assert marked(tmp_path, marker) == [], number
        finally:
            is_over.set()
            for reader in readers:
                reader.join()


@pytest.mark.sqlite
def test_while_somebody_reads_an_older_state_the_log_is_emptied_as_soon_as_that_ends(tmp_path: Path) -> None:
    marker = "Zanzibar-4711"
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a", filename=f"{marker}.mp3")
        with closing(sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM tasks").fetchone()
            queue.manager.delete("a")
            assert queue.store.is_erasing
            assert marked(tmp_path, marker) != []
            other.execute("ROLLBACK")
        assert wait_for(lambda: not queue.store.is_erasing)
        assert marked(tmp_path, marker) == []


@pytest.mark.sqlite
def test_what_a_killed_server_had_not_erased_is_erased_by_the_next_start(tmp_path: Path) -> None:
    marker = "Zanzibar-4711"
    killed, later = tmp_path / "killed", tmp_path / "later"
    killed.mkdir()
    later.mkdir()
    with running_queue(killed, FakeClock()) as queue:
        queue.submit("a", filename=f"{marker}.mp3")
        with closing(sqlite3.connect(killed / "tasks.db", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM tasks").fetchone()
            queue.manager.delete("a")
            for name in ("tasks.db", "tasks.db-wal"):
                (later / name).write_bytes((killed / name).read_bytes())
    assert marked(later, marker) != []
    with running_queue(later, FakeClock()):
        assert marked(later, marker) == []


def wait_for(is_true: Callable[[], bool]) -> bool:
    """Looks again and again, for 20 s at most."""
    pause = threading.Event()
    return any(is_true() or pause.wait(0.02) for _ in range(1000))


def test_a_deleted_tasks_place_is_not_given_out_again(queue: Queue) -> None:
    queue.submit("a")
    second = queue.submit("b", priority=Priority.HIGH)
    queue.manager.delete("b")
    assert queue.manager.submit(new_task("c"))[0].seq > second.seq
