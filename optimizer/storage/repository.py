"""What can be read and written in one transaction: queries in, the nouns of the queue out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, delete, func, insert, select, update

from errors import BadRecordError, TaskNotFoundError
from optimizer.storage import (
    batch_rows,
    edit_rows,
    mapping,
    search_hits,
    search_index,
    task_lists,
    watched_files,
    webhook_outbox,
)
from optimizer.storage.mapping import Row, WaitingRow
from optimizer.storage.schema import arrivals, shares, task_events, task_tags, tasks, webhook_callbacks, windows
from optimizer.storage.search_index import SearchedText
from optimizer.storage.task_lists import STATES
from optimizer.storage.webhook_outbox import WebhookOutbox
from optimizer.tasks.batches import BatchPage
from optimizer.tasks.search_hit import SearchHit, Sentence
from optimizer.tasks.task import ErrorInfo, NewTask, Task, TaskFilter, TaskPage, TaskStatus
from optimizer.tasks.timeline import DECODED, FAILED, UPLOADED, TaskEvent, decoded_data
from optimizer.tasks.transitions import is_suspect
from whisper_core.text.transcript import WindowResult

_WAITING = [status.value for status in TaskStatus if status.is_waiting]
_FINAL = [status.value for status in TaskStatus if status.is_final]
_READ_AT_ONCE = 1000
MAX_EVENTS = 500
# Made once: to put a statement together takes longer than to execute it.
_TASK = select(tasks).where(tasks.c.id == bindparam("task_id"))
_LOCKED_TASK = _TASK.with_for_update()  # left out by SQLAlchemy for SQLite, which has one writer at a time anyway
_TASKS = select(tasks).where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))
_LOCKED_TASKS = _TASKS.with_for_update()
_LEASES = select(tasks.c.id, tasks.c.lease_token).where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))
_SAME_FILE = select(tasks.c.id).where(tasks.c.sha256 == bindparam("sha256"), tasks.c.owner == bindparam("owner"))
_NEXT_SEQ = update(arrivals).values(last_seq=arrivals.c.last_seq + 1).returning(arrivals.c.last_seq)
_SAVE = update(tasks).where(tasks.c.id == bindparam("saved_id"), tasks.c.version == bindparam("saved_version"))
_INSERT_TASK, _INSERT_EVENT, _INSERT_WINDOW = map(insert, (tasks, task_events, windows))
_REMOVE_WINDOWS = delete(windows).where(windows.c.task_id == bindparam("task_id"))
_WINDOWS = select(windows).where(windows.c.task_id == bindparam("task_id")).order_by(windows.c.window_index)
_NEWEST_EVENTS = (
    select(task_events)
    .where(task_events.c.task_id == bindparam("task_id"))
    .order_by(task_events.c.id.desc())
    .limit(bindparam("most"))
)


@dataclass(frozen=True)
class Usage:
    """What one owner has on the server."""

    stored_bytes: int  # of uploads
    queued_seconds: float  # of sound that waits or is worked on, as far as it is known


class TaskReader:
    """What can be read in a transaction: one consistent view of the store, valid until it ends. One thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, task_id: str) -> Task:
        """A row that cannot be read is shown as a failed task, `bad_record`. Raises TaskNotFoundError."""
        return mapping.task_or_stand_in(self._row(task_id))

    def find_by_key(self, owner: str, idempotency_key: str) -> Task | None:
        query = select(tasks).where(tasks.c.owner == owner, tasks.c.idempotency_key == idempotency_key)
        row = self._connection.execute(query).first()
        return None if row is None else mapping.task_or_stand_in(row)

    def find_same_file(self, task: Task) -> str | None:
        """See IntelligentQueueManager."""
        has_hope = tasks.c.status.not_in([TaskStatus.FAILED.value, TaskStatus.CANCELLED.value])
        query = _SAME_FILE.where(tasks.c.seq < task.seq, has_hope).order_by(tasks.c.seq.desc()).limit(1)
        found: str | None = self._connection.scalar(query, {"sha256": task.sha256, "owner": task.owner})
        return found

    def hits(self, found: Sequence[Task], query: str) -> dict[str, SearchHit]:
        """Where a query found these tasks, by id."""
        return search_hits.hits_of(self._connection, found, query)

    def page(self, wanted: TaskFilter) -> TaskPage:
        """`counts` stays empty. Raises InvalidOptionError."""
        return task_lists.read_page(self._connection, wanted)

    def counts(self, owner: str | None = None) -> dict[TaskStatus, int]:
        """Tasks of every state, of one owner or of all; unknown states count as failed, as they are shown."""
        return self.counts_of(TaskFilter(owner=owner))

    def counts_of(self, wanted: TaskFilter) -> dict[TaskStatus, int]:
        """The same of what is wanted, whatever its state. Raises InvalidOptionError."""
        return task_lists.count_by_state(self._connection, wanted)

    def waiting_ids_of(self, wanted: TaskFilter) -> set[str]:
        """The ids of those waiting tasks that are wanted. Raises InvalidOptionError."""
        return task_lists.read_waiting_ids(self._connection, wanted)

    def unfinished_ids_of(self, wanted: TaskFilter) -> list[str]:
        """The ids of those wanted tasks that wait or run. Raises InvalidOptionError."""
        return task_lists.read_unfinished_ids(self._connection, wanted)

    def batches(self, owner: str | None, *, limit: int, cursor: str | None) -> BatchPage:
        """Without their ends. Raises InvalidOptionError."""
        return batch_rows.read_batches(self._connection, owner, limit=limit, cursor=cursor)

    def tasks_of(self, task_ids: Collection[str]) -> dict[str, Task]:
        """Those that are there, by id."""
        rows = self._connection.execute(_TASKS, {"task_ids": list(task_ids)})
        return {row.id: mapping.task_or_stand_in(row) for row in rows}

    def owner_of(self, task_id: str) -> str:
        """Raises TaskNotFoundError."""
        owner = self._connection.scalar(select(tasks.c.owner).where(tasks.c.id == task_id))
        if owner is None:
            raise TaskNotFoundError()
        return str(owner)

    def owners_by_id(self) -> dict[str, str]:
        """The owner of every task, by its id."""
        rows = self._connection.execute(select(tasks.c.id, tasks.c.owner)).all()
        return {str(row.id): str(row.owner) for row in rows}

    def ids_of(self, owner: str, among: Collection[str]) -> set[str]:
        """Which of these ids are of the owner's tasks."""
        return set(self._connection.scalars(select(tasks.c.id).where(tasks.c.owner == owner, tasks.c.id.in_(among))))

    def leases_of(self, task_ids: Collection[str]) -> dict[str, str | None]:
        """The lease tokens of those of these tasks that are there; None for one that does not run."""
        return {row.id: row.lease_token for row in self._connection.execute(_LEASES, {"task_ids": list(task_ids)})}

    def usage_of(self, owner: str) -> Usage:
        """What the owner has here. A recording that KEEP_MEDIA_DAYS had removed takes no space any more."""
        is_own = tasks.c.owner == owner
        has_media = tasks.c.media_removed_at.is_(None)
        is_ahead = tasks.c.status.in_([*_WAITING, TaskStatus.PROCESSING.value])
        stored = self._connection.scalar(select(func.sum(tasks.c.size_bytes)).where(is_own, has_media))
        queued = self._connection.scalar(select(func.sum(tasks.c.audio_seconds)).where(is_own, is_ahead))
        return Usage(stored_bytes=int(stored or 0), queued_seconds=float(queued or 0.0))

    def ids(self) -> set[str]:
        return set(self._connection.scalars(select(tasks.c.id)).all())

    def waiting_ids(self) -> set[str]:
        return set(self._connection.scalars(select(tasks.c.id).where(tasks.c.status.in_(_WAITING))))

    def running_ids(self, *, not_owned_by: str) -> list[str]:
        """Ids of processing tasks that an earlier start of the server claimed."""
        is_foreign = tasks.c.lease_owner.is_distinct_from(not_owned_by)
        query = select(tasks.c.id).where(tasks.c.status == TaskStatus.PROCESSING.value, is_foreign)
        return list(self._connection.scalars(query))

    def suspects(self) -> dict[str, int]:
        """Waiting tasks whose latest attempt a death of the server or a worker ended, and the deaths counted so far."""
        has_run = (tasks.c.attempt > 0) & (tasks.c.errors != "[]")
        query = select(tasks).where(tasks.c.status.in_(_WAITING), has_run)
        found = (mapping.task_or_stand_in(row) for row in self._connection.execute(query))
        return {task.id: task.interrupts for task in found if is_suspect(task)}

    def ids_of_unknown_states(self) -> list[str]:
        states = self._connection.scalars(select(tasks.c.status).distinct())
        unknown = [state for state in states if state not in STATES]
        return list(self._connection.scalars(select(tasks.c.id).where(tasks.c.status.in_(unknown)))) if unknown else []

    def waiting_rows(self) -> Iterator[WaitingRow]:
        """The rows of all waiting tasks, state by state, those of one state in order of arrival.

        The database's index has them in that order; sorting them would take a third longer. They are read a thousand at
        a time, because SQLAlchemy takes half as long again to hand out single rows.
        """
        wanted = (tasks.c[name] for name in WaitingRow._fields)
        query = select(*wanted).where(tasks.c.status.in_(_WAITING)).order_by(tasks.c.status, tasks.c.seq)
        result = self._connection.execution_options(yield_per=_READ_AT_ONCE).execute(query)
        for part in result.partitions():
            yield from map(WaitingRow._make, part)

    def windows(self, task_id: str) -> list[WindowResult]:
        """In order. Raises BadRecordError."""
        rows = self._connection.execute(_WINDOWS, {"task_id": task_id})
        return [mapping.window_from_row(row) for row in rows]

    def events(self, task_id: str) -> list[TaskEvent]:
        """The task's timeline, oldest first: the latest MAX_EVENTS entries, without those that cannot be read."""
        rows = self._connection.execute(_NEWEST_EVENTS, {"task_id": task_id, "most": MAX_EVENTS})
        found = [mapping.event_from_row(row) for row in rows]
        return [event for event in reversed(found) if event is not None]

    def _row(self, task_id: str, *, is_locked: bool = False) -> Row:
        row = self._connection.execute(_LOCKED_TASK if is_locked else _TASK, {"task_id": task_id}).first()
        if row is None:
            raise TaskNotFoundError()
        return row


class TaskWriter(TaskReader):
    """What can be written in a transaction, by the one writer at this moment. What it reads cannot change meanwhile."""

    def __init__(self, connection: Connection, outbox: WebhookOutbox | None = None) -> None:
        """outbox: gets what has to be sent when a task ends."""
        super().__init__(connection)
        self._outbox = outbox

    def lock(self, task_id: str) -> Task:
        """The task; nobody else can change it until this transaction ends. Raises TaskNotFoundError, BadRecordError."""
        return mapping.task_from_row(self._row(task_id, is_locked=True))

    def touch(self) -> None:
        """Writes a row as it is, to find out whether that is possible."""
        self._connection.execute(update(arrivals).values(last_seq=arrivals.c.last_seq))

    def next_seq(self) -> int:
        """The next place at the back of the queue. Never given out twice, even when its task was deleted."""
        return int(self._connection.execute(_NEXT_SEQ).scalar_one())

    def insert(self, new: NewTask, now: datetime) -> Task:
        task = mapping.new_task(new, self.next_seq(), now)
        self._connection.execute(_INSERT_TASK, mapping.task_to_row(task))
        search_index.add(self._connection, task)
        if new.callback_url is not None:
            self._connection.execute(insert(webhook_callbacks).values(task_id=task.id, url=new.callback_url))
        self.add_event(task.id, UPLOADED, {"size_bytes": task.size_bytes}, now)
        if task.audio_seconds is not None:
            self.add_event(task.id, DECODED, decoded_data(task.audio_seconds, task.is_truncated), now)
        return task

    def add_event(self, task_id: str, code: str, data: Mapping[str, Any], now: datetime) -> None:
        """One more entry of the task's timeline; see `timeline` for the codes."""
        self._add_events([mapping.event_to_row(task_id, code, data, now)])

    def save(self, before: Task, after: Task) -> Task:
        """Writes what differs and returns the task with its new version. `before` must be what `lock` gave."""
        after = replace(after, version=before.version + 1)
        self._save_all([(before, mapping.changed_columns(before, after))])
        self._note_endings([(before, after)])
        return after

    def add_window(self, task_id: str, window: WindowResult) -> None:
        self._add_windows([mapping.window_to_row(task_id, window)])

    def remove_windows(self, task_id: str) -> None:
        self._remove_windows_of_all([task_id])

    def set_text(self, task: Task, text: str, sentences: Sequence[Sentence] = ()) -> None:
        """Lets the search find the task by its names and this text. sentences: what its hits show."""
        search_index.write(self._connection, [SearchedText(task, text, sentences)])

    def set_name(self, task: Task) -> None:
        """Lets the search find the task by its present names; its text stays."""
        search_index.write(self._connection, [SearchedText(task, None)])

    def set_tags(self, task: Task) -> None:
        """Lets the task be looked up by its tags."""
        self._connection.execute(delete(task_tags).where(task_tags.c.task_id == task.id))
        rows = [{"task_id": task.id, "tag": mapping.folded(tag), "name": tag} for tag in task.tags]
        self._execute_all(insert(task_tags), rows)

    def delete(self, task_id: str) -> TaskStatus | None:
        """Removes the task's rows. Returns the state it had, None for an unknown one. Raises TaskNotFoundError."""
        row = self._row(task_id, is_locked=True)
        webhook_outbox.remove_of_task(self._connection, task_id)
        watched_files.forget_task(self._connection, task_id)
        edit_rows.remove_of_task(self._connection, task_id)
        search_index.remove(self._connection, task_id)
        for table in (windows, task_tags, task_events, shares):
            self._connection.execute(delete(table).where(table.c.task_id == task_id))
        self._connection.execute(delete(tasks).where(tasks.c.id == task_id))
        return _known_status(row)

    def quarantine(self, task_id: str, now: datetime) -> TaskStatus | None:
        """Marks a task whose row cannot be read as failed, and leaves the unreadable value as it is.

        An unknown state, which this overwrites, is kept in the error's message. A task that has ended stays as it is.
        Returns the state that the task had, None for an unknown one.
        """
        row = self._row(task_id, is_locked=True)
        if row.status in _FINAL:
            return TaskStatus(row.status)
        changes: dict[str, object] = {"status": TaskStatus.FAILED.value, "lease_token": None, "not_before": None}
        errors = _with_bad_record(row, now)
        if errors is not None:
            changes["errors"] = errors
        self._connection.execute(update(tasks).where(tasks.c.id == task_id).values(changes))
        if self._outbox is not None:
            shown = replace(mapping.task_or_stand_in(row), owner=str(row.owner), finished_at=now)
            self._outbox.note_endings(self._connection, [(None, replace(shown, status=TaskStatus.FAILED))])
        self.add_event(task_id, FAILED, {"code": BadRecordError.code, "message": BadRecordError.default_message}, now)
        return _known_status(row)

    # For one or for many at once

    def _rows(self, task_ids: Collection[str]) -> Sequence[Row]:
        """Of those that are there, locked."""
        return self._connection.execute(_LOCKED_TASKS, {"task_ids": list(task_ids)}).all()

    def _save_all(self, changes: Sequence[tuple[Task, dict[str, Any]]]) -> None:
        """changes: tasks as they were locked, each with the columns to change, which must be the same ones for all."""
        rows = [columns | {"saved_id": task.id, "saved_version": task.version} for task, columns in changes]
        if self._connection.execute(_SAVE, rows).rowcount != len(rows):
            ids = ", ".join(task.id for task, _ in changes)
            raise RuntimeError(f"one of {ids} was changed by someone else inside a write transaction")
        if moved := {task.id: task.seq for task, columns in changes if "seq" in columns}:
            search_index.move(self._connection, moved)

    def _note_endings(self, changes: Iterable[tuple[Task, Task]]) -> None:
        """changes: tasks as they were and as they are now."""
        if self._outbox is not None:
            self._outbox.note_endings(self._connection, ((before.status, after) for before, after in changes))

    def _add_events(self, rows: Iterable[dict[str, Any]]) -> None:
        self._execute_all(_INSERT_EVENT, rows)

    def _add_windows(self, rows: Iterable[dict[str, Any]]) -> None:
        self._execute_all(_INSERT_WINDOW, rows)

    def _remove_windows_of_all(self, task_ids: Iterable[str]) -> None:
        self._execute_all(_REMOVE_WINDOWS, ({"task_id": task_id} for task_id in task_ids))

    def _execute_all(self, statement: Executable, rows: Iterable[dict[str, Any]]) -> None:
        """Once for each of the rows; they have the same columns."""
        if listed := list(rows):
            self._connection.execute(statement, listed)


def _with_bad_record(row: Row, now: datetime) -> str | None:
    """The row's errors and one more, as JSON; None when the errors themselves cannot be read."""
    error = BadRecordError()
    found = "" if row.status in STATES else f" Its state was {row.status!r}."
    try:
        earlier = mapping.errors_from_json(row.errors)
    except mapping.UNREADABLE:
        return None
    return mapping.errors_to_json((*earlier, ErrorInfo(error.code, error.message + found, now)))


def _known_status(row: Row) -> TaskStatus | None:
    return TaskStatus(row.status) if row.status in STATES else None
