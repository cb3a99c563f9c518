"""Batches, read from their tasks: nothing else is kept of them, so they end with their last task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from errors import InvalidOptionError
from optimizer.storage.mapping import Row
from optimizer.storage.schema import tasks
from optimizer.storage.task_lists import MAX_PAGE, STATES
from optimizer.tasks.batches import Batch, BatchPage, BatchSummary
from optimizer.tasks.task import TaskStatus

_KEY = (tasks.c.batch_id, tasks.c.owner)
_LAST = func.max(tasks.c.seq)
_LENGTH = func.coalesce(tasks.c.audio_seconds, 0.0)
Key = tuple[str, str]  # id and owner


def read_batches(connection: Connection, owner: str | None, *, limit: int, cursor: str | None) -> BatchPage:
    """Those with the latest uploads first. owner: None for everybody's. Raises InvalidOptionError."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidOptionError(f"limit must be between 1 and {MAX_PAGE}.", field="limit")
    query = select(*_KEY, _LAST.label("last")).where(tasks.c.batch_id.is_not(None)).group_by(*_KEY)
    if owner is not None:
        # All of a group have one. Asked like this, SQLite goes through the index of batches, which is in order; else it
        # looks up each of the owner's tasks and sorts them, which takes ten times as long.
        query = query.having(func.max(tasks.c.owner) == owner)
    if cursor is not None:
        query = query.having(_seq_of(cursor) > _LAST)
    rows = connection.execute(query.order_by(_LAST.desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    next_cursor = str(shown[-1].last) if len(rows) > limit else None
    return BatchPage(_summaries(connection, shown), next_cursor)


def _seq_of(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidOptionError("cursor is not one that this server gave out.", field="cursor")
    return int(cursor)


def _summaries(connection: Connection, wanted: Sequence[Row]) -> tuple[BatchSummary, ...]:
    figures = (
        func.count().label("number"),
        func.count(tasks.c.audio_seconds).label("measured"),
        func.sum(_LENGTH).label("seconds"),
        func.sum(_LENGTH * tasks.c.progress).label("done"),
        func.min(tasks.c.created_at).label("first"),
        func.max(tasks.c.batch_name).label("name"),
    )
    ids = sorted({row.batch_id for row in wanted})
    query = select(*_KEY, tasks.c.status, *figures).where(tasks.c.batch_id.in_(ids)).group_by(*_KEY, tasks.c.status)
    by_key: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in connection.execute(query) if ids else ():
        by_key[row.batch_id, row.owner].append(row)
    return tuple(_summary(row, by_key[row.batch_id, row.owner]) for row in wanted)


def _summary(batch: Row, by_state: Sequence[Row]) -> BatchSummary:
    """by_state: its figures, a row for each state. A recording whose length is not known counts as an average one."""
    counts = dict.fromkeys(TaskStatus, 0)
    for row in by_state:
        counts[_status_of(row)] += row.number
    measured = sum(row.measured for row in by_state)
    seconds = sum(row.seconds for row in by_state)
    average = seconds / measured if measured and seconds > 0 else 1.0
    weights = [(row, average * (row.number - row.measured)) for row in by_state]
    done = sum(row.seconds + rest if _status_of(row).is_final else row.done for row, rest in weights)
    whole = sum(row.seconds + rest for row, rest in weights)
    return BatchSummary(
        batch=Batch(batch.batch_id, max((row.name for row in by_state if row.name), default=None)),
        owner=batch.owner,
        counts=counts,
        progress=done / whole if whole > 0 else 0.0,
        audio_seconds=seconds,
        created_at=datetime.fromisoformat(min(row.first for row in by_state)),
        last_seq=batch.last,
    )


def _status_of(row: Row) -> TaskStatus:
    """An unknown one counts as failed, as it is shown."""
    return TaskStatus(row.status) if row.status in STATES else TaskStatus.FAILED
