"""Between rows of the database and the nouns of the queue. A row that cannot be read costs one task: BadRecordError."""

from __future__ import annotations

import json
import logging
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import sqlalchemy

from errors import BadRecordError
from optimizer.tasks.task import ErrorInfo, NewTask, Priority, Task, TaskOptions, TaskStatus
from optimizer.tasks.timeline import TaskEvent
from whisper_core.text.transcript import Checkpoint, Segment, WindowResult

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = sqlalchemy.Row[*tuple[Any, ...]]

_TASK_FIELDS = tuple(field.name for field in fields(Task))
_PRIORITIES = {int(priority): priority for priority in Priority}
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("seq", "version", "size_bytes", "max_attempts"), (int,)),
    **dict.fromkeys(("attempt", "interrupts", "free_attempts", "windows_done"), (int,)),
    **dict.fromkeys(("estimated_bytes", "peak_bytes"), (int, type(None))),
    **dict.fromkeys(("id", "filename", "requested_device", "sha256", "owner"), (str,)),
    **dict.fromkeys(("language", "device", "lease_token", "lease_owner"), (str, type(None))),
    **dict.fromkeys(("result_sha256", "idempotency_key"), (str, type(None))),
    "progress": (float, int),
    "audio_seconds": (float, int, type(None)),
}


def task_of(row: Row) -> Task:
    """The task of a whole row of `tasks`. Raises BadRecordError."""
    try:
        return Task(**{name: _decode(name, getattr(row, name)) for name in _TASK_FIELDS})
    except UNREADABLE as error:
        raise BadRecordError() from error


def shown_task(row: Row) -> Task:
    """Like task_of, but what cannot be read is shown as a failed task with the error `bad_record`."""
    try:
        return task_of(row)
    except BadRecordError as error:
        return _stand_in(row, error)


class WaitingRow(NamedTuple):
    """The part of a waiting task's row that memory needs. A tuple of its own: SQLAlchemy's rows cost several times as
    much to read by name."""

    id: str
    seq: Any
    status: str
    options: Any
    priority: Any
    audio_seconds: Any
    progress: Any
    requested_device: Any
    owner: Any
    created_at: Any
    not_before: Any


def not_before_of(row: WaitingRow) -> datetime | None:
    """Raises BadRecordError."""
    try:
        return _time(row.not_before)
    except UNREADABLE as error:
        raise BadRecordError() from error


def new_task(new: NewTask, seq: int, now: datetime) -> Task:
    """The task that a submission becomes."""
    given = {field.name: getattr(new, field.name) for field in fields(NewTask)}
    return Task(**given, seq=seq, status=TaskStatus.PENDING, created_at=now)


def row_of(task: Task) -> dict[str, Any]:
    """Every column of `tasks`."""
    return {name: _encode(getattr(task, name)) for name in _TASK_FIELDS} | {"model": task.options.model}


def changed_columns(before: Task, after: Task) -> dict[str, Any]:
    """The columns in which the two differ."""
    old, new = row_of(before), row_of(after)
    return {name: value for name, value in new.items() if value != old[name]}


def window_row(task_id: str, window: WindowResult) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "window_index": window.index,
        "segments": _json([segment.to_dict() for segment in window.segments]),
        "checkpoint": _json(asdict(window.checkpoint)),
    }


def window_of(row: Row) -> WindowResult:
    """Raises BadRecordError."""
    try:
        return WindowResult(
            index=row.window_index,
            segments=tuple(Segment.from_dict(segment) for segment in json.loads(row.segments)),
            checkpoint=Checkpoint(**json.loads(row.checkpoint)),
        )
    except UNREADABLE as error:
        raise BadRecordError() from error


def event_row(task_id: str, code: str, data: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {"task_id": task_id, "at": _encode(at), "code": code, "data": _json(dict(data))}


def event_of(row: Row) -> TaskEvent | None:
    """None for an entry that cannot be read: a gap in a timeline is worth less than the timeline."""
    try:
        return TaskEvent(datetime.fromisoformat(row.at), row.code, dict(json.loads(row.data)))
    except UNREADABLE:
        log.warning("task=%s event=unreadable_timeline_entry id=%s", row.task_id, row.id)
        return None


def errors_of(text: Any) -> tuple[ErrorInfo, ...]:
    """Raises one of the errors that json and datetime raise when it is not a list of errors."""
    return tuple(
        ErrorInfo(entry["code"], entry["message"], _time(entry["at"]), entry["attempt"]) for entry in json.loads(text)
    )


def errors_text(errors: tuple[ErrorInfo, ...]) -> str:
    return _json([{**asdict(error), "at": _encode(error.at)} for error in errors])


def folded(text: str) -> str:
    """For comparing without regard to case and to how accents are written; lone surrogates are left out."""
    return unicodedata.normalize("NFKC", text.encode("utf-8", "ignore").decode()).casefold()


def _decode(name: str, value: Any) -> Any:
    match name:
        case "status":
            return TaskStatus(value)
        case "priority":
            return Priority(value)
        case "options":
            return _options_of(value)
        case "errors":
            return errors_of(value)
        case "created_at":
            return datetime.fromisoformat(value)
        case "started_at" | "finished_at" | "not_before":
            return _time(value)
    if not isinstance(value, _TYPES[name]):
        raise TypeError(f"{name} has a value of type {type(value).__name__}")
    return value


def _encode(value: Any) -> Any:
    match value:
        case TaskStatus():
            return value.value
        case Priority():
            return int(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case TaskOptions():
            return _json(asdict(value))
        case tuple():
            return errors_text(value)
    return value


@lru_cache(maxsize=1024)
def _options_of(text: str) -> TaskOptions:
    """Cached: of 100,000 waiting tasks nearly all have the same few options."""
    options = TaskOptions(**json.loads(text))
    if not isinstance(options.model, str) or not isinstance(options.word_timestamps, bool):
        raise TypeError("options have a value of the wrong type")
    return options


@lru_cache(maxsize=4096)
def kind_of(options: str, priority: int, device: str, owner: str) -> tuple[str, Priority, str, str, bool, bool]:
    """Model, priority, device, owner, word timestamps and chunks of a waiting task. Cached like its options; the tasks
    of one kind share their strings."""
    known = _options_of(options)
    names = known.model, _PRIORITIES[priority], sys.intern(device), sys.intern(owner)
    return (*names, known.word_timestamps, known.is_chunked)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _stand_in(row: Row, error: BadRecordError) -> Task:
    return Task(
        id=str(row.id),
        seq=_or(row.seq, int, 0),
        filename=_or(row.filename, str, ""),
        status=TaskStatus.FAILED,
        options=TaskOptions(model=_or(row.model, str, "")),
        priority=Priority.NORMAL,
        requested_device=_or(row.requested_device, str, ""),
        size_bytes=_or(row.size_bytes, int, 0),
        sha256=_or(row.sha256, str, ""),
        created_at=datetime.fromtimestamp(0, UTC),
        max_attempts=_or(row.max_attempts, int, 1),
        version=_or(row.version, int, 1),
        errors=(ErrorInfo(error.code, error.message),),
    )


def _or(value: Any, kind: type[T], default: T) -> T:
    return value if isinstance(value, kind) else default
