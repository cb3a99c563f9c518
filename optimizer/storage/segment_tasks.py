"""Tasks that only do some segments of another one again; see `tasks.segments_key`."""

from __future__ import annotations

from sqlalchemy import Connection, select

from optimizer.storage import mapping
from optimizer.storage.schema import tasks
from optimizer.tasks.segments_key import PREFIX
from optimizer.tasks.task import Task, TaskStatus


def completed_segment_tasks(connection: Connection) -> list[Task]:
    """Those that are still there although they are done."""
    is_one = tasks.c.idempotency_key.startswith(PREFIX, autoescape=True)
    rows = connection.execute(select(tasks).where(tasks.c.status == TaskStatus.COMPLETED.value, is_one))
    return [mapping.task_or_stand_in(row) for row in rows]
