"""A look at a data folder's database that changes nothing, not even its log; also beside a running server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection

from errors import DatabaseDamagedError
from optimizer.storage.database import Database, database_url
from optimizer.storage.migrate import current_revision
from optimizer.storage.schema import SCHEMA_REVISION


@contextmanager
def reading(data_dir: Path, url: str) -> Iterator[Connection]:
    """One consistent view of the tables. url: as DATABASE_URL. Raises StartError, StoreBusyError."""
    database = Database(_read_only(database_url(url, data_dir)), is_read_only=True)
    try:
        if database.dialect.file is None:
            database.dialect.check_command(data_dir)
        with database.reading() as connection:
            revision = current_revision(connection)
            if revision != SCHEMA_REVISION:
                raise DatabaseDamagedError(
                    f"The database is at version {revision}, this program at {SCHEMA_REVISION}: start the server once."
                )
            yield connection
    finally:
        database.close()


def sqlite_file(data_dir: Path, url: str) -> Path | None:
    """SQLite's file; None for another database. Raises InvalidSettingsError."""
    address = database_url(url, data_dir)
    return Path(str(address.database)) if address.get_backend_name() == "sqlite" else None


def _read_only(url: URL) -> URL:
    if url.get_backend_name() != "sqlite":
        return url
    path = Path(str(url.database))
    if not path.is_file():
        raise DatabaseDamagedError(f"There is no {path.name}.")
    return url.set(database=f"file:{quote(str(path.absolute()))}", query={"mode": "ro", "uri": "true"})
