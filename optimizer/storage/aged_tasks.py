"""Which finished tasks are old enough that their recording or all of them is removed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from optimizer.storage.mapping import time_text
from optimizer.storage.schema import tasks
from optimizer.tasks.task import TaskStatus

_FINAL = [status.value for status in TaskStatus if status.is_final]


def ids_finished_before(connection: Connection, moment: datetime, limit: int, *, has_media: bool) -> list[str]:
    """The oldest first. has_media: only those whose recording was not removed."""
    query = select(tasks.c.id).where(tasks.c.finished_at < time_text(moment), tasks.c.status.in_(_FINAL))
    if has_media:
        query = query.where(tasks.c.media_removed_at.is_(None))
    return list(connection.scalars(query.order_by(tasks.c.finished_at).limit(limit)))


def ids_without_media(connection: Connection) -> set[str]:
    """Of the tasks whose recording was removed for its age."""
    return set(connection.scalars(select(tasks.c.id).where(tasks.c.media_removed_at.is_not(None))))
