"""`python main.py migrate-to`: every row is in the other database, or none; SQLite's file stays as it was."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from cli.program import run
from config import Settings
from optimizer.common import failpoints
from optimizer.storage import moving
from optimizer.storage.schema import metadata, task_events
from optimizer.storage.search_filler import SearchFiller
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.databases import Databases, used
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue, window
from tests.optimizer.storage.helpers import edit
from tests.optimizer.storage.released_schemas import SCHEMAS, STATES, load
from tests.optimizer.storage.test_search import complete
from tests.postgresql_server import PASSWORD, PostgresqlServer

RELEASED = sorted(path.stem for path in SCHEMAS.glob("*.sql"))


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    settings = make_settings()
    TaskFiles(settings.data_dir).make_folders()
    return settings


@pytest.fixture
def target(postgresql: PostgresqlServer) -> Iterator[str]:
    """The name of a database with nothing in it."""
    name = postgresql.new_database()
    yield name
    postgresql.drop(name)


@pytest.fixture
def command(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Gives its exit code and what it printed."""

    def migrate_to(url: str) -> tuple[int, str]:
        code = run(["migrate-to", url], serve=lambda: 99, load=lambda: settings)
        printed = capsys.readouterr()
        assert PASSWORD not in printed.out + printed.err
        return code, printed.out + printed.err

    return migrate_to


def fill(data_dir: Path) -> None:
    """Tasks in four states, words, edits, tags, and what other parts of the server keep."""
    with running_queue(data_dir, FakeClock()) as queue:
        complete(queue, "done", "The quick brown fox.", " 转写服务", owner="alice", filename="Ärzte_1.wav")
        complete(queue, "nul", "before\0after")
        queue.submit("waits", filename="b.mp3", idempotency_key="k")
        queue.submit("gone")
        queue.manager.delete("gone")
        queue.submit("ran")
        queue.manager.save_window("ran", queue.claim("ran").lease_token or "", window(0))
    edit(data_dir, "INSERT INTO transcript_edits VALUES ('done', 1, 'alice', '2026-11-29T12:00:00', 'shift', '{}')")
    edit(data_dir, "INSERT INTO edited_transcripts VALUES ('done', 1, '{}', 14)")
    edit(data_dir, "INSERT INTO task_tags VALUES ('done', 'radio', 'Radio')")
    edit(data_dir, "INSERT INTO samples VALUES (0.1, 30.0, '{}')")
    edit(data_dir, "INSERT INTO learned VALUES ('speeds', '{\"base\": 1e-3}', '')")
    edit(data_dir, "INSERT INTO audit_events VALUES (41, 1.5, 'login', '{}')")
    edit(data_dir, "INSERT INTO webhooks VALUES ('w', '', 'https://a.example', 'task.completed', 's', '', NULL)")


def tables_of(data_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(data_dir / "tasks.db")) as rows:
        return {
            table.name: rows.execute(f"SELECT * FROM {table.name} ORDER BY 1, 2").fetchall()  # noqa: S608
            for table in metadata.sorted_tables
        }


def copied(postgresql: PostgresqlServer, name: str) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for table in metadata.sorted_tables:
        columns = ", ".join(column.name for column in table.columns)
        found[table.name] = postgresql.execute(f"SELECT {columns} FROM {table.name} ORDER BY 1, 2", database=name)  # noqa: S608
    return found


@contextmanager
def queue_on(postgresql: PostgresqlServer, name: str, data_dir: Path) -> Iterator[Queue]:
    """The queue of a server that was started with DATABASE_URL."""
    databases = Databases(postgresql)
    databases.use(data_dir, name)
    with pytest.MonkeyPatch.context() as patch, used(databases, patch), running_queue(data_dir, FakeClock()) as queue:
        yield queue


def test_every_row_is_there_afterwards_and_the_queue_goes_on(
    settings: Settings, command: Callable[..., tuple[int, str]], postgresql: PostgresqlServer, target: str
) -> None:
    fill(settings.data_dir)
    before, digest = tables_of(settings.data_dir), sha256(settings.data_dir / "tasks.db")

    code, printed = command(postgresql.url(target))

    assert (code, "Copied 4 tasks" in printed) == (0, True)
    assert sha256(settings.data_dir / "tasks.db") == digest
    after = copied(postgresql, target)
    del before["search_removals"], after["search_removals"]
    before["task_texts"] = [
        (task_id, words, 1, sentences and sentences.replace("\0", "\ufffd"))
        for task_id, words, _, sentences in before["task_texts"]
    ]
    assert after == before
    assert all(before[name] for name in ("windows", "task_events", "transcript_edits", "samples", "learned"))

    with queue_on(postgresql, target, settings.data_dir) as queue:
        assert queue.report.interrupted == ("ran",)
        assert queue.manager.windows("ran") == [window(0)]
        assert queue.manager.counts()[TaskStatus.COMPLETED] == 2
        assert queue.submit("next").seq == 6
        assert [task.id for task in queue.manager.page(TaskFilter(query='"quick brown"')).tasks] == ["done"]
        SearchFiller(queue.store.database, TaskFiles(settings.data_dir)).fill()
        assert [task.id for task in queue.manager.page(TaskFilter(query="转写 ärzte")).tasks] == ["done"]
        with queue.store.database.writing() as connection:
            row = {"task_id": "done", "at": "", "code": "", "data": "{}"}
            (number,) = connection.execute(insert(task_events).values(row)).inserted_primary_key or (0,)
        assert number > max(row[0] for row in before["task_events"])


@pytest.mark.parametrize("revision", RELEASED)
def test_a_released_database_moves_once_a_start_has_brought_it_up_to_date(
    settings: Settings,
    command: Callable[..., tuple[int, str]],
    postgresql: PostgresqlServer,
    target: str,
    revision: str,
) -> None:
    load(revision, settings.data_dir)
    code, printed = command(postgresql.url(target))
    assert (code, f"The database is at version {revision}" in printed) == (3, True)
    with closing(TaskStore(settings.data_dir)) as store:
        store.open()
    assert command(postgresql.url(target))[0] == 0
    with queue_on(postgresql, target, settings.data_dir) as queue:
        assert queue.store.ids() == set(STATES)
        assert queue.report.bad_records == ()


def test_what_stands_in_the_way_is_told_and_nothing_is_copied(
    settings: Settings, command: Callable[..., tuple[int, str]], postgresql: PostgresqlServer, target: str
) -> None:
    code, printed = command(postgresql.url(target))
    assert (code, "There is no tasks.db" in printed) == (3, True)
    fill(settings.data_dir)

    assert "Name a PostgreSQL database" in command("sqlite:///other.db")[1]
    assert "the user or the password is wrong" in command(postgresql.url(target, password="wrong"))[1]
    assert "is not empty" in command(postgresql.url("with_tables"))[1]
    files = TaskFiles(settings.data_dir)
    files.acquire_lock()
    assert command(postgresql.url(target))[0] == 4
    files.release_lock()

    edit(settings.data_dir, "INSERT INTO windows VALUES ('no such task', 0, '[]', '{}')")
    code, printed = command(postgresql.url(target))
    assert (code, "windows has rows that PostgreSQL does not take" in printed) == (1, True)
    assert postgresql.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", database=target) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tasks SET note = CAST(x'ff61' AS TEXT) WHERE id = 'waits'",
        "UPDATE tasks SET note = x'ff' WHERE id = 'waits'",
    ],
)
def test_what_sqlite_keeps_as_a_text_and_is_none_is_told(
    settings: Settings,
    command: Callable[..., tuple[int, str]],
    postgresql: PostgresqlServer,
    target: str,
    statement: str,
) -> None:
    fill(settings.data_dir)
    edit(settings.data_dir, statement)
    code, printed = command(postgresql.url(target))
    assert (code, "tasks has rows that cannot be read as text" in printed) == (1, True)


def test_odd_numbers_and_keys_are_copied(
    settings: Settings, command: Callable[..., tuple[int, str]], postgresql: PostgresqlServer, target: str
) -> None:
    """No number is below 1, and a NUL becomes what is sorted elsewhere."""
    fill(settings.data_dir)
    edit(settings.data_dir, "DELETE FROM audit_events")
    edit(settings.data_dir, "INSERT INTO audit_events VALUES (-5, 1.5, 'login', '{}')")
    edit(
        settings.data_dir,
        "INSERT INTO task_tags VALUES ('done', 'a' || char(0) || 'b', ''), ('done', 'a' || char(1), '')",
    )
    postgresql.execute(f"ALTER DATABASE {target} SET statement_timeout = '1h'")
    assert command(postgresql.url(target))[0] == 0
    add = "INSERT INTO audit_events (at, action, data) VALUES (1, '', '') RETURNING id"
    assert postgresql.execute(add, database=target) == [(1,)]


def test_rows_are_copied_in_parts_of_a_size_that_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_PART_CHARACTERS", 10)
    monkeypatch.setattr(moving, "_WRITTEN_AT_ONCE", 3)
    rows = [{"text": "x" * size, "number": 1} for size in (4, 4, 4, 50, 1, 1, 1, 1)]
    assert [[len(row["text"]) for row in part] for part in moving._parts(rows)] == [[4, 4], [4], [50], [1, 1, 1], [1]]


def test_a_move_that_is_interrupted_leaves_nothing_and_can_be_made_again(
    settings: Settings, command: Callable[..., tuple[int, str]], postgresql: PostgresqlServer, target: str
) -> None:
    fill(settings.data_dir)

    def cut() -> None:
        raise KeyError

    failpoints.arm({"move.before_commit": cut})
    with pytest.raises(KeyError):
        command(postgresql.url(target))
    failpoints.disarm()
    assert postgresql.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", database=target) == []
    assert command(postgresql.url(target))[0] == 0


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
