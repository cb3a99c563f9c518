"""The kinds of databases that a test runs on, each once.

A test that uses the fixture `each_database` runs on SQLite and on PostgreSQL: there every data folder gets a database
of its own. `@pytest.mark.sqlite` leaves PostgreSQL out, for what is SQLite's own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url

from tests.postgresql_server import PostgresqlServer

SQLITE, POSTGRESQL = "sqlite", "postgresql"


class Databases:
    """Where the databases of data folders are. server: None for SQLite, whose are in the folders."""

    def __init__(self, server: PostgresqlServer | None) -> None:
        self.server = server
        self._names: dict[Path, str] = {}

    @property
    def is_postgresql(self) -> bool:
        return self.server is not None

    def url_of(self, data_dir: Path) -> str:
        """As DATABASE_URL."""
        return "" if self.server is None else self.server.url(self._name_of(data_dir))

    def use(self, data_dir: Path, name: str) -> None:
        """A database that was made already."""
        self._names[data_dir] = name

    def execute(self, data_dir: Path, statement: str, *values: object) -> list[Any]:
        """Behind the server's back; values for question marks. Returns the rows, if there are any."""
        if self.server is not None:
            return self.server.execute(statement.replace("?", "%s"), *values, database=self._name_of(data_dir))
        with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
        return rows

    @contextmanager
    def locked(self, data_dir: Path) -> Iterator[None]:
        """Another program writes for as long as the block lasts."""
        if self.server is None:
            with closing(sqlite3.connect(data_dir / "tasks.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                yield
                other.execute("ROLLBACK")
            return
        from optimizer.storage.postgresql import WRITING

        with self.server.connected(self._name_of(data_dir)) as other:
            other.execute(f"SELECT pg_advisory_lock({WRITING})")
            yield

    def give_back(self) -> None:
        if self.server is not None:
            for name in self._names.values():
                self.server.give_back(name)
        self._names.clear()

    def _name_of(self, data_dir: Path) -> str:
        assert self.server is not None
        if data_dir not in self._names:
            self._names[data_dir] = self.server.database()
        return self._names[data_dir]


@contextmanager
def used(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever opens the database of a data folder in the block opens that of `databases`."""
    if databases.is_postgresql:

        def url_of(text: str, data_dir: Path) -> URL:
            assert text in ("", databases.url_of(data_dir))
            return make_url(databases.url_of(data_dir))

        for module in ("store", "read_only"):
            monkeypatch.setattr(f"optimizer.storage.{module}.database_url", url_of)
    yield


@contextmanager
def used_of(server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    """As `used`, with databases of this server that are given back behind it."""
    databases = Databases(server)
    with used(databases, monkeypatch):
        yield databases
    databases.give_back()
