"""A database opened, or changed behind the server's back, and what files there are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

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
