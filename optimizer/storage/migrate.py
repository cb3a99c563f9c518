"""Brings the database's tables to this version: creates them when they are missing, migrates them when they are older.

Alembic is imported only when there is something to migrate: that takes longer than the rest of the start.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from errors import DatabaseDamagedError
from optimizer.common.atomic_files import create_private, publish
from optimizer.common.failpoints import failpoint
from optimizer.storage.database import Database
from optimizer.storage.schema import SCHEMA_REVISION, arrivals, metadata
from optimizer.storage.sqlite import copy_sqlite_file

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
_alembic_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


class Migrator:
    """One database and one folder of migrations. A file of SQLite's is backed up before."""

    def __init__(self, database: Database, *, scripts: Path = MIGRATIONS, head: str = SCHEMA_REVISION) -> None:
        self._database = database
        self._scripts = scripts
        self._head = head

    def run(self) -> None:
        """All or nothing: a crash leaves the old tables or the new ones.

        Raises DatabaseDamagedError when the database is newer than this program, or another program's.
        """
        with self._database.reading() as connection:
            revision = current_revision(connection)
        if revision is None:
            self._create()
        elif revision != self._head:
            self._upgrade(revision)

    def run_beside_server(self) -> None:
        """Makes the tables where there are none. Raises DatabaseDamagedError when they are of another version."""
        with self._database.reading() as connection:
            revision = current_revision(connection)
        if revision is None:
            self._create()
        elif revision != self._head:
            raise DatabaseDamagedError(
                f"The database is of another version (it is at {revision}, this program at {self._head}). "
                "Start this program's server once, which brings it up to date."
            )

    def _create(self) -> None:
        """Without Alembic; a test ensures that the migrations lead to the same tables."""
        with self._database.writing() as connection:
            if current_revision(connection) is not None:  # another program was faster
                return
            create_tables(connection, self._head)
            connection.execute(insert(arrivals).values(id=1, last_seq=0))

    def _upgrade(self, revision: str) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(self._scripts).replace("%", "%%"))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if revision not in known:
            raise DatabaseDamagedError(
                f"The database is newer than this program (it is at {revision}, this program at {self._head}). "
                "Start the newer program again, or restore the backup that its first start made."
            )
        self._back_up()
        failpoint("schema.before_upgrade")
        with self._database.rebuilding() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, self._head)
        log.info("event=migrated from=%s to=%s", revision, self._head)

    def _back_up(self) -> None:
        file = self._database.dialect.file
        if file is None:
            return
        backup = file.with_name(f"{file.name}.before-{self._head}")
        temporary = backup.with_name(backup.name + ".tmp")
        failpoint("schema.before_backup")
        temporary.unlink(missing_ok=True)
        os.close(create_private(temporary))
        copy_sqlite_file(file, temporary)
        with temporary.open("rb") as copy:
            os.fsync(copy.fileno())
        publish(temporary, backup, steps="schema")
        log.info("event=backed_up file=%s", backup.name)


def create_tables(connection: Connection, head: str = SCHEMA_REVISION) -> None:
    """With nothing in them but their version."""
    metadata.create_all(connection)
    _alembic_version.create(connection)
    connection.execute(insert(_alembic_version).values(version_num=head))


def current_revision(connection: Connection) -> str | None:
    """None for an empty database. Raises DatabaseDamagedError for one that is not ours."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    revision = connection.scalar(select(_alembic_version.c.version_num)) if "alembic_version" in tables else None
    if revision is None:
        raise DatabaseDamagedError("The database belongs to another program: it has tables, but no version of ours.")
    return str(revision)
