"""A database opened, or changed behind the server's back, and what files there are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from optimizer.storage.store import TaskStore

ID = "01JDG3VJ5K7M8N9P0QRSTVWXYZ"


def opened(data_dir: Path) -> TaskStore:
    store = TaskStore(data_dir)
    store.open()
    return store


def edit(data_dir: Path, statement: str, *values: object) -> None:
    """Changes the database without the server knowing."""
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        connection.execute(statement, values)
        connection.commit()


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "lock")


@contextmanager
def plans_of(connection: Connection) -> Iterator[list[str]]:
    """How SQLite carries out each statement of the block."""
    plans: list[str] = []
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    yield plans
    event.remove(connection, "before_cursor_execute", note)
    for statement, parameters in statements:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        plans.append("; ".join(str(row.detail) for row in rows))
