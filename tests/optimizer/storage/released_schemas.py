"""Databases of earlier releases, as SQL: tests/data/schemas/<revision>.sql, with a task in every state.

`python -m tests.optimizer.storage.released_schemas REVISION` writes the one of a release that is made now; those that
are there stay as they were released.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config

from optimizer.storage.database import Database, database_url
from optimizer.storage.migrate import MIGRATIONS
from tests.paths import DATA

SCHEMAS = DATA / "schemas"
STATES = ("pending", "processing", "completed", "failed", "retrying", "cancelled")
_OPTIONS = {
    "language": "en", "task": "transcribe", "temperature": None, "word_timestamps": False, "initial_prompt": None,
    "model": "base",
}  # fmt: skip
_SEGMENT = {
    "id": 0, "seek": 0, "start": 0.0, "end": 2.5, "text": " Hello.", "tokens": [50364, 2425, 13], "temperature": 0.0,
    "avg_logprob": -0.25, "compression_ratio": 1.1, "no_speech_prob": 0.01, "words": None,
}  # fmt: skip
_CHECKPOINT = {"language": "en", "seek": 3000, "content_frames": 12000}


def load(revision: str, data_dir: Path) -> None:
    """Makes the database of that release in `data_dir`."""
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        connection.executescript((SCHEMAS / f"{revision}.sql").read_text())


def dump(revision: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(database_url("", Path(folder)))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with database.rebuilding() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        database.close()
        with closing(sqlite3.connect(Path(folder) / "tasks.db")) as connection:
            _fill(connection)
            return "\n".join(connection.iterdump()) + "\n"


def _fill(connection: sqlite3.Connection) -> None:
    for seq, state in enumerate(STATES, start=1):
        at = f"2026-11-0{seq}T12:00:00.000000+00:00"
        row = {
            "id": state, "seq": seq, "version": 3, "filename": f"{state}.mp3", "status": state,
            "options": json.dumps(_OPTIONS), "model": "base", "priority": 1, "requested_device": "auto",
            "size_bytes": 5, "sha256": "0" * 64, "created_at": at, "max_attempts": 4, "audio_seconds": 120.0,
            "progress": 0.25, "attempt": 1, "interrupts": 0, "uncharged": 0, "windows_done": 1, "errors": "[]",
            "language": "en", "lease_token": "lease" if state == "processing" else None,
            "idempotency_key": f"key of {state}",
        }  # fmt: skip
        _insert(connection, "tasks", row)
        _insert(connection, "task_texts", {"task_id": state, "folded_text": f"{state}.mp3"})
    window = {"task_id": "processing", "window_index": 0}
    _insert(connection, "windows", window | {"segments": json.dumps([_SEGMENT]), "checkpoint": json.dumps(_CHECKPOINT)})
    connection.execute("UPDATE arrivals SET last_seq = ?", (len(STATES),))
    connection.commit()


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608


if __name__ == "__main__":
    (SCHEMAS / f"{sys.argv[1]}.sql").write_text(dump(sys.argv[1]))
