"""Short ways to open a database, and to change it behind the server's back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from optimizer.storage.store import TaskStore


def opened(data_dir: Path) -> TaskStore:
    store = TaskStore(data_dir)
    store.open()
    return store


def edit(data_dir: Path, statement: str, *values: object) -> None:
    """Changes the database without the server knowing."""
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        connection.execute(statement, values)
        connection.commit()
