"""The rows of what people changed in a transcript: each step, and what all of them come to."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from errors import BadRecordError
from optimizer.storage.mapping import UNREADABLE, Row
from optimizer.storage.schema import edited_transcripts, transcript_edits

log = logging.getLogger(__name__)

_SNAPSHOT = select(edited_transcripts).where(edited_transcripts.c.task_id == bindparam("task_id"))
_VERSION = select(edited_transcripts.c.version).where(edited_transcripts.c.task_id == bindparam("task_id"))
_OF_TASK = select(transcript_edits).where(transcript_edits.c.task_id == bindparam("task_id"))


@dataclass(frozen=True)
class EditStep:
    """Edits that were made together, or the undoing or redoing of such."""

    number: int  # from 1
    author: str  # "": the server itself, or nobody knows
    at: datetime
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    version: int
    content: str
    data_bytes: int  # of all steps so far


def version_of(connection: Connection, task_id: str) -> int:
    """0 for a transcript that nobody changed."""
    return int(connection.scalar(_VERSION, {"task_id": task_id}) or 0)


def read_snapshot(connection: Connection, task_id: str) -> Snapshot | None:
    row = connection.execute(_SNAPSHOT, {"task_id": task_id}).first()
    return None if row is None else Snapshot(row.version, row.content, row.data_bytes)


def steps_of(connection: Connection, task_id: str) -> Iterator[EditStep]:
    """All of them, in order. Raises BadRecordError."""
    for row in connection.execute(_OF_TASK.order_by(transcript_edits.c.number), {"task_id": task_id}):
        yield _step_from_row(row)


def newest_steps(connection: Connection, task_id: str, limit: int, before: int | None) -> list[EditStep]:
    """Newest first. before: only those with a smaller number. Those that cannot be read are left out."""
    query = _OF_TASK.order_by(transcript_edits.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(transcript_edits.c.number < before)
    found = []
    for row in connection.execute(query, {"task_id": task_id}):
        try:
            found.append(_step_from_row(row))
        except BadRecordError:
            log.warning("task=%s event=unreadable_edit number=%s", task_id, row.number)
    return found


def add_step(connection: Connection, task_id: str, step: EditStep, content: str, bytes_before: int) -> int:
    """content: of the transcript after it. bytes_before: of the data of the steps before it. Returns it with this
    one's."""
    data = json.dumps(step.data, ensure_ascii=False, separators=(",", ":"))
    connection.execute(
        insert(transcript_edits).values(
            task_id=task_id,
            number=step.number,
            author=step.author,
            at=step.at.isoformat(timespec="microseconds"),
            kind=step.kind,
            data=data,
        )
    )
    data_bytes = bytes_before + len(data.encode())
    row = {"task_id": task_id, "version": step.number, "content": content, "data_bytes": data_bytes}
    connection.execute(delete(edited_transcripts).where(edited_transcripts.c.task_id == task_id))
    connection.execute(insert(edited_transcripts).values(row))
    return data_bytes


def ids_of_unreadable(connection: Connection) -> list[str]:
    """Of the tasks that have a step which cannot be read. What the steps come to can be made again from them."""
    found: dict[str, None] = {}
    for row in connection.execute(select(transcript_edits).order_by(transcript_edits.c.task_id)):
        try:
            _step_from_row(row)
        except BadRecordError:
            found[str(row.task_id)] = None
    return list(found)


def remove_of_task(connection: Connection, task_id: str) -> None:
    for table in (transcript_edits, edited_transcripts):
        connection.execute(delete(table).where(table.c.task_id == task_id))


def _step_from_row(row: Row) -> EditStep:
    try:
        return EditStep(row.number, row.author, datetime.fromisoformat(row.at), row.kind, dict(json.loads(row.data)))
    except UNREADABLE as error:
        raise BadRecordError() from error
