"""From an older release's database to this one's tables: every row is kept, and what is not ours is refused."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from errors import DatabaseDamagedError
from optimizer.common import failpoints
from optimizer.storage.database import Database, database_url
from optimizer.storage.migrate import MIGRATIONS, Migrator
from optimizer.storage.schema import SCHEMA_REVISION, metadata
from optimizer.storage.store import TaskStore
from tests.optimizer.fakes import FakeClock
from tests.optimizer.faults import NthHit
from tests.optimizer.queue.helpers import running_queue, window
from tests.optimizer.storage.helpers import edit, opened


def test_the_newest_migration_is_the_revision_that_new_databases_get() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == SCHEMA_REVISION


def test_migrations_lead_to_the_tables_that_new_databases_get(tmp_path: Path) -> None:
    scripts, base = tmp_path / "migrations", tmp_path / "data"
    base.mkdir()
    with_empty_base(base, scripts)
    migrated = Database(database_url("", base))
    Migrator(migrated, scripts=scripts).run()

    with migrated.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    migrated.close()


def with_empty_base(data_dir: Path, scripts: Path) -> None:
    """The real migrations after a first one that makes nothing, and a database at that first revision."""
    scripts_with_empty_base(scripts)
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('0000')")
        connection.commit()


def scripts_with_empty_base(scripts: Path) -> Path:
    """The real migrations after a first one, 0000, that makes nothing. Returns their folder."""
    shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "0000_nothing.py").write_text(
        "revision = '0000'\ndown_revision = None\ndef upgrade() -> None:\n    pass\n"
    )
    first = scripts / "versions" / "0001_first_tables.py"
    first.write_text(first.read_text().replace("down_revision = None", "down_revision = '0000'"))
    return scripts


INSERT_AT_0003 = """
    INSERT INTO tasks (id, seq, idempotency_key, owner, version, filename, status, options, model, priority,
        requested_device, size_bytes, sha256, created_at, max_attempts, progress, attempt, interrupts, uncharged,
        windows_done, errors)
    VALUES (?, ?, ?, ?, 1, 'a.wav', 'pending', '{}', 'base', 1, 'auto', 1, '', '', 3, 0, 0, 0, 0, 0, '[]')
"""


def test_from_0003_tasks_stay_and_idempotency_keys_become_each_owners_own(tmp_path: Path) -> None:
    scripts, base = tmp_path / "migrations", tmp_path / "data"
    base.mkdir()
    with_empty_base(base, scripts)
    database = Database(database_url("", base))
    Migrator(database, scripts=scripts, head="0003").run()
    edit(base, INSERT_AT_0003, "a", 1, "k", "alice")
    edit(base, "INSERT INTO task_texts VALUES ('a', 'a.wav')")
    with pytest.raises(sqlite3.IntegrityError):
        edit(base, INSERT_AT_0003, "b", 2, "k", "mallory")

    Migrator(database, scripts=scripts).run()
    database.close()

    edit(base, INSERT_AT_0003, "b", 2, "k", "mallory")
    with pytest.raises(sqlite3.IntegrityError):
        edit(base, INSERT_AT_0003, "c", 3, "k", "alice")
    with closing(sqlite3.connect(base / "tasks.db")) as connection:
        assert connection.execute("SELECT id FROM tasks ORDER BY seq").fetchall() == [("a",), ("b",)]
        assert connection.execute("SELECT count(*) FROM task_texts").fetchone() == (1,)


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
        "        batch.add_column(sa.Column('remark', sa.Text))\n"
        "    op.execute(\"UPDATE tasks SET remark = 'from before'\")\n"
    )
    return scripts


def migrate_to_next(data_dir: Path, scripts: Path) -> None:
    base = Database(database_url("", data_dir))
    try:
        Migrator(base, scripts=scripts, head="9999").run()
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
        assert connection.execute("SELECT id, remark FROM tasks").fetchall() == [("a", "from before")]
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
            has_remark = "remark" in [row[1] for row in connection.execute("PRAGMA table_info(tasks)")]
        assert (revision, has_remark) in ((SCHEMA_REVISION, False), ("9999", True))
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
