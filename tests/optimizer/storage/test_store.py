"""The database: what it keeps, what it refuses to open, and what its errors become."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event

from errors import (
    ConflictError,
    DatabaseDamagedError,
    DiskFullError,
    InvalidOptionError,
    StoreBusyError,
    TaskNotFoundError,
)
from optimizer.common import failpoints
from optimizer.storage import database
from optimizer.storage.database import Database, database_url
from optimizer.storage.migrate import MIGRATIONS, Migrator
from optimizer.storage.schema import SCHEMA_REVISION, metadata
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import Priority, TaskFilter, TaskOptions, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.faults import NthHit
from tests.optimizer.queue.helpers import Queue, new_task, running_queue, window


def opened(data_dir: Path) -> TaskStore:
    store = TaskStore(data_dir)
    store.open()
    return store


def edit(data_dir: Path, statement: str, *values: object) -> None:
    """Changes the database without the server knowing."""
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        connection.execute(statement, values)
        connection.commit()


def ids(queue: Queue, **wanted: object) -> list[str]:
    return [task.id for task in queue.manager.page(TaskFilter(**wanted)).tasks]  # type: ignore[arg-type]


# Setting up


def test_every_connection_is_durable_and_forgets_what_is_deleted(queue: Queue) -> None:
    with queue.store.reading() as rows:
        values = {
            name: rows._connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys", "secure_delete")
        }
    assert values == {
        "journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1, "secure_delete": 1,
    }  # fmt: skip


def test_database_files_are_for_this_user_only(queue: Queue, tmp_path: Path) -> None:
    queue.submit("a")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("tasks.db*")}
    assert modes == {"tasks.db": 0o600, "tasks.db-wal": 0o600, "tasks.db-shm": 0o600}


def test_opening_the_store_does_not_import_alembic(tmp_path: Path) -> None:
    """It takes longer than the rest of the start, and a start must answer within a second."""
    code = (
        "import sys, pathlib; from optimizer.storage.store import TaskStore; s = TaskStore(pathlib.Path(sys.argv[1]));"
        "s.open(); s.close(); s = TaskStore(pathlib.Path(sys.argv[1])); s.open(); sys.exit('alembic' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=root, timeout=60)
    assert done.returncode == 0


def test_a_name_that_percent_and_question_marks_cannot_break(tmp_path: Path) -> None:
    folder = tmp_path / "50% of?my#data"
    folder.mkdir()
    opened(folder).close()
    opened(folder).close()
    assert (folder / "tasks.db").is_file()


# Migrations


def test_the_newest_migration_is_the_revision_that_new_databases_get() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == SCHEMA_REVISION


def test_migrations_lead_to_the_tables_that_new_databases_get(tmp_path: Path) -> None:
    scripts, base = tmp_path / "migrations", tmp_path / "data"
    base.mkdir()
    with_empty_base(base, scripts)
    migrated = Database(database_url("", base))
    Migrator(migrated, base / "tasks.db", scripts=scripts).run()

    with migrated.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    migrated.close()


def with_empty_base(data_dir: Path, scripts: Path) -> None:
    """The real migrations after a first one that makes nothing, and a database at that first revision."""
    shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "0000_nothing.py").write_text(
        "revision = '0000'\ndown_revision = None\ndef upgrade() -> None:\n    pass\n"
    )
    first = scripts / "versions" / "0001_first_tables.py"
    first.write_text(first.read_text().replace("down_revision = None", "down_revision = '0000'"))
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('0000')")
        connection.commit()


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The migrations of an imaginary next release, which rebuilds `tasks` and fills a new column."""
    scripts = tmp_path / "next" / "migrations"
    shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9999_note.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        "from optimizer.storage.schema import SCHEMA_REVISION\nrevision = '9999'\ndown_revision = SCHEMA_REVISION\n"
        "def upgrade() -> None:\n"
        "    with op.batch_alter_table('tasks', recreate='always') as batch:\n"
        "        batch.add_column(sa.Column('note', sa.Text))\n"
        "    op.execute(\"UPDATE tasks SET note = 'from before'\")\n"
    )
    return scripts


def migrate_to_next(data_dir: Path, scripts: Path) -> None:
    base = Database(database_url("", data_dir))
    try:
        Migrator(base, data_dir / "tasks.db", scripts=scripts, head="9999").run()
    finally:
        base.close()


def filled(data_dir: Path) -> Path:
    data_dir.mkdir()
    with running_queue(data_dir, FakeClock()) as queue:
        queue.submit("a")
        task = queue.claim("a")
        queue.manager.save_window("a", task.lease_token or "", window(0))
    return data_dir


def test_a_migration_keeps_every_row_and_a_backup_of_the_old_database(tmp_path: Path, next_release: Path) -> None:
    data_dir = filled(tmp_path / "data")

    migrate_to_next(data_dir, next_release)

    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        assert connection.execute("SELECT id, note FROM tasks").fetchall() == [("a", "from before")]
        assert connection.execute("SELECT count(*) FROM windows").fetchone() == (1,)
    backup = data_dir / "tasks.db.before-9999"
    assert backup.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA_REVISION,)]
        assert connection.execute("SELECT id FROM tasks").fetchall() == [("a",)]


def test_a_migration_that_is_interrupted_anywhere_leaves_the_old_tables_or_the_new(
    tmp_path: Path, next_release: Path
) -> None:
    class PowerCutError(Exception):
        pass

    def cut() -> None:
        raise PowerCutError

    for step in itertools.count(1):
        data_dir = filled(tmp_path / f"data-{step}")
        hit = NthHit(step, cut)
        failpoints.arm(hit.everywhere())
        with suppress(PowerCutError):
            migrate_to_next(data_dir, next_release)
        failpoints.disarm()
        with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            has_note = "note" in [row[1] for row in connection.execute("PRAGMA table_info(tasks)")]
        assert (revision, has_note) in ((SCHEMA_REVISION, False), ("9999", True))
        migrate_to_next(data_dir, next_release)
        if not hit.fired:
            break
    assert step > 4


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    edit(tmp_path, "UPDATE alembic_version SET version_num = '9999'")
    before = (tmp_path / "tasks.db").read_bytes()

    with pytest.raises(DatabaseDamagedError, match="database is newer"):
        TaskStore(tmp_path).open()
    assert (tmp_path / "tasks.db").read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    edit(tmp_path, "CREATE TABLE photos (id)")
    with pytest.raises(DatabaseDamagedError, match="another program"):
        TaskStore(tmp_path).open()


# Damage


def damaged_at_the_start(content: bytes) -> bytes:
    return b"\xff" * 4096 + content[4096:]


def damaged_in_the_middle(content: bytes) -> bytes:
    return content[:4096] + b"\x5a" * 8192 + content[12288:]


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [damaged_at_the_start, damaged_in_the_middle, cut_short])
def test_a_damaged_database_stops_the_start_and_is_left_as_it_is(tmp_path: Path, damage: object) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        for number in range(30):
            queue.submit(f"t{number}")
    file = tmp_path / "tasks.db"
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    before = file.read_bytes()

    with pytest.raises(DatabaseDamagedError) as stopped:
        TaskStore(tmp_path).open()

    assert stopped.value.exit_code == 3
    assert "tasks.db was left as it is" in stopped.value.message
    assert str(tmp_path) not in stopped.value.message
    assert file.read_bytes() == before


def test_the_advice_names_the_latest_backup(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    (tmp_path / "tasks.db.before-0002").write_bytes(b"")

    with pytest.raises(DatabaseDamagedError, match=r"cp tasks\.db\.before-0002 tasks\.db"):
        TaskStore(tmp_path).open()


@pytest.mark.parametrize("folder", ["media", "transcripts"])
def test_a_missing_database_beside_files_is_not_replaced_by_an_empty_one(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "01ABC").write_bytes(b"sound")

    with pytest.raises(DatabaseDamagedError, match="missing"):
        TaskStore(tmp_path).open()
    assert not (tmp_path / "tasks.db").exists()


def test_a_database_of_an_interrupted_first_start_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").touch()
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.submit("a").status is TaskStatus.PENDING


def test_a_torn_log_loses_no_acknowledged_task(tmp_path: Path) -> None:
    """The log is cut at its last frames and a byte to either side: tasks before the cut are complete."""
    base = tmp_path / "base"
    base.mkdir()
    with running_queue(base, FakeClock()) as queue:
        for number in range(3):
            queue.submit(f"t{number}")
        images = {path.name: path.read_bytes() for path in base.glob("tasks.db*") if path.suffix != ".db-shm"}
    log, frame = images["tasks.db-wal"], 24 + 4096

    frames = (len(log) - 32) // frame
    cuts = [32 + frame * n + shift for n in range(frames - 10, frames + 1) for shift in (-1, 0, 1)]
    found = []
    for number, cut in enumerate(cut for cut in cuts if 0 <= cut <= len(log)):
        data_dir = tmp_path / f"cut-{number}"
        data_dir.mkdir()
        (data_dir / "tasks.db").write_bytes(images["tasks.db"])
        (data_dir / "tasks.db-wal").write_bytes(log[:cut])
        with running_queue(data_dir, FakeClock()) as queue:
            found.append(sorted(queue.store.ids()))
            assert all(queue.manager.get(task_id).audio_seconds == 60.0 for task_id in found[-1])
    assert found == sorted(found)
    assert found[-1] == ["t0", "t1", "t2"]


# Errors while running


def test_a_writer_that_waits_too_long_is_told_that_the_store_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PRAGMAS", ("busy_timeout = 50", *database._PRAGMAS[1:]))
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
        with closing(sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusyError):
                queue.manager.claim("a", "cpu", 1)
            assert queue.manager.get("a").status is TaskStatus.PENDING
            assert queue.store.problem() == StoreBusyError.default_message
            other.execute("ROLLBACK")
        assert queue.store.problem() is None
        queue.claim("a")


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


def test_a_database_that_cannot_be_written_is_an_error_of_the_start(tmp_path: Path) -> None:
    opened(tmp_path).close()
    connection = sqlite3.connect(f"file:{tmp_path / 'tasks.db'}?mode=ro", uri=True)
    with closing(connection), pytest.raises(sqlite3.OperationalError) as refused:
        connection.execute("DELETE FROM tasks")
    assert isinstance(database.translate(refused.value), DatabaseDamagedError)


def test_no_transaction_stays_open_after_an_error(queue: Queue, tmp_path: Path) -> None:
    queue.submit("a")
    with pytest.raises(RuntimeError), queue.store.writing():
        raise RuntimeError
    with pytest.raises(TaskNotFoundError), queue.store.reading() as rows:
        rows.get("no such task")
    edit(tmp_path, "UPDATE tasks SET filename = 'renamed'")
    assert queue.store.erase_deleted()


def test_a_reader_keeps_its_view_while_a_writer_commits(queue: Queue) -> None:
    queue.submit("a")
    with queue.store.reading() as rows:
        assert rows.get("a").status is TaskStatus.PENDING
        writer = threading.Thread(target=queue.claim, args=("a",))
        writer.start()
        writer.join(timeout=10)
        assert rows.get("a").status is TaskStatus.PENDING
    assert queue.manager.get("a").status is TaskStatus.PROCESSING


# Pages


def test_pages_go_from_new_to_old_and_show_every_task_once(queue: Queue) -> None:
    for number in range(7):
        queue.submit(f"t{number}")
    seen, cursor = [], None
    while True:
        page = queue.manager.page(TaskFilter(limit=3, cursor=cursor))
        seen += [task.id for task in page.tasks]
        cursor = page.next_cursor
        queue.submit(f"later-{len(seen)}")
        if cursor is None:
            break
    assert seen == [f"t{number}" for number in reversed(range(7))]


def test_pages_by_state_and_model(queue: Queue) -> None:
    queue.submit("a")
    queue.submit("b", options=TaskOptions(model="small"))
    queue.manager.cancel("a")

    assert ids(queue, status=TaskStatus.CANCELLED) == ["a"]
    assert ids(queue, model="small") == ["b"]
    assert ids(queue, status=TaskStatus.CANCELLED, model="small") == []


def test_search_finds_names_and_texts_whatever_their_case_and_accents(queue: Queue) -> None:
    queue.submit("a", filename="Ärztekongress.mp3")
    queue.submit("b", filename="other.mp3")
    queue.complete(queue.claim("b"), text="Das große ESPAÑOL und 会议记录.")

    assert ids(queue, query="ärzte") == ["a"]
    assert ids(queue, query="A\u0308RZTE") == ["a"]
    assert ids(queue, query="GROSSE") == ["b"]
    assert ids(queue, query="会议") == ["b"]
    assert ids(queue, query="other") == ["b"]


@pytest.mark.parametrize("query", ["%", "_", "' OR 1=1 --", "/", "\\", "\ud800%"], ids=ascii)
def test_search_takes_its_text_literally(queue: Queue, query: str) -> None:
    queue.submit("a", filename="plain name")
    assert ids(queue, query=query) == []


def test_search_finds_characters_that_mean_something_in_sql(queue: Queue) -> None:
    queue.submit("a", filename="100% of_it's/here")
    queue.submit("b", filename="100x ofxit")
    for query in ("100%", "of_it", "it's", "/here"):
        assert ids(queue, query=query) == ["a"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "MTIz", "é", "YmVmb3JlIC0x", "YmVmb3JlIDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk", "=" * 9]
)
def test_a_cursor_that_is_not_ours_is_refused(queue: Queue, cursor: str) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        queue.manager.page(TaskFilter(cursor=cursor))
    assert refused.value.field == "cursor"


@pytest.mark.parametrize(("field", "value"), [("limit", 0), ("limit", 201), ("query", "x" * 501)])
def test_a_page_has_bounds(queue: Queue, field: str, value: object) -> None:
    with pytest.raises(InvalidOptionError):
        queue.manager.page(TaskFilter(**{field: value}))  # type: ignore[arg-type]


# Rows that cannot be read

BAD_VALUES = [
    ("options", "{not json"),
    ("options", '{"model": "base", "unknown": 1}'),
    ("options", '{"model": 5}'),
    ("errors", "[{}]"),
    ("status", "hibernating"),
    ("priority", 7),
    ("created_at", "yesterday"),
    ("audio_seconds", "long"),
    ("attempt", "many"),
]


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
def test_a_row_that_cannot_be_read_fails_alone(queue: Queue, tmp_path: Path, column: str, value: object) -> None:
    for task_id in "abc":
        queue.submit(task_id)
    edit(tmp_path, f"UPDATE tasks SET {column} = ? WHERE id = 'b'", value)  # noqa: S608 - columns of this file

    shown = {task.id: task for task in queue.manager.page(TaskFilter()).tasks}
    assert shown["a"].status is TaskStatus.PENDING
    assert shown["b"].status is TaskStatus.FAILED
    assert shown["b"].error is not None
    assert shown["b"].error.code == "bad_record"

    assert queue.manager.claim("b", "cpu", 1) is None
    assert [task.id for task in queue.manager.waiting()] == ["a", "c"]
    assert queue.manager.counts()[TaskStatus.FAILED] == 1
    if column != "status":  # the quarantine has overwritten that one
        with pytest.raises(ConflictError):
            queue.manager.retry("b")
    queue.manager.delete("b")
    queue.claim("c")


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
def test_a_row_that_cannot_be_read_does_not_stop_a_start(tmp_path: Path, column: str, value: object) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        for task_id in "abc":
            queue.submit(task_id)
        queue.claim("c")
    edit(tmp_path, f"UPDATE tasks SET {column} = ? WHERE id IN ('b', 'c')", value)  # noqa: S608

    with running_queue(tmp_path, FakeClock()) as queue:
        assert next(task.id for task in queue.manager.waiting()) == "a"
        assert all(queue.manager.get(task_id).status is TaskStatus.FAILED for task_id in "bc")
        with queue.store.reading() as rows:
            assert queue.manager.counts() == rows.counts()


def test_an_unknown_state_is_kept_in_the_error(tmp_path: Path) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
    edit(tmp_path, "UPDATE tasks SET status = 'hibernating'")
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.report.bad_records == ("a",)
        assert "'hibernating'" in queue.manager.get("a").errors[-1].message


# Deleting


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


def test_a_deleted_tasks_place_is_not_given_out_again(queue: Queue) -> None:
    queue.submit("a")
    second = queue.submit("b", priority=Priority.HIGH)
    queue.manager.delete("b")
    assert queue.manager.submit(new_task("c"))[0].seq > second.seq
