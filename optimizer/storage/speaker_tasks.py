"""Tasks that only tell the speakers of another one apart; see `tasks.speakers_key`."""

from __future__ import annotations

from sqlalchemy import Connection, select

from optimizer.storage import mapping
from optimizer.storage.schema import tasks
from optimizer.tasks.speakers_key import PREFIX
from optimizer.tasks.task import Task, TaskStatus


def completed_speaker_tasks(connection: Connection) -> list[Task]:
    """Those that are still there although they are done."""
    is_one = tasks.c.idempotency_key.startswith(PREFIX, autoescape=True)
    rows = connection.execute(select(tasks).where(tasks.c.status == TaskStatus.COMPLETED.value, is_one))
    return [mapping.task_or_stand_in(row) for row in rows]
