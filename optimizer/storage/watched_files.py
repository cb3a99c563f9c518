"""What a deleted task leaves of its recording in a watched folder: that it was there, and no name."""

from __future__ import annotations

from sqlalchemy import Connection, update

from optimizer.storage.schema import watched_files

DONE = "done"


def forget_task(connection: Connection, task_id: str) -> None:
    """Its recording is not taken again."""
    is_its = watched_files.c.task_id == task_id
    connection.execute(update(watched_files).where(is_its).values(state=DONE, task_id=None, details=None))
