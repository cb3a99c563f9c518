"""Between rows of the database and the nouns of the queue. A row that cannot be read costs one task: BadRecordError."""

from __future__ import annotations

import json
import logging
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import sqlalchemy

from errors import BadRecordError
from optimizer.storage.schema import tasks
from optimizer.tasks.task import ErrorInfo, NewTask, Priority, Task, TaskOptions, TaskStatus
from optimizer.tasks.timeline import TaskEvent
from whisper_core.audio.tracks import SoundTrack
from whisper_core.text.transcript import Checkpoint, Segment, WindowResult

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = sqlalchemy.Row[*tuple[Any, ...]]

_KEY_CHARACTERS = 120  # of a name, to sort by; those that are alike that far are in order of arrival

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)  # what reading a damaged value raises


# Tasks


def task_from_row(row: Row) -> Task:
    """The task of a whole row of `tasks`. Raises BadRecordError."""
    try:
        return _task_of(tuple(row))
    except UNREADABLE as error:
        raise BadRecordError() from error


@lru_cache(maxsize=1024)
def _task_of(values: tuple[Any, ...]) -> Task:
    """values: of all columns, in the table's order. Cached, because lists and pages show the same rows again and again,
    and to read one takes several times as long as to compare it; whoever changes a row, changes its key here."""
    row = dict(zip(_COLUMNS, values, strict=True))
    return Task(**{name: _field_from_column(name, row[name]) for name in _TASK_FIELDS})


def task_or_stand_in(row: Row) -> Task:
    """Like task_from_row, but a row that cannot be read is shown as a failed task with the error `bad_record`."""
    try:
        return task_from_row(row)
    except BadRecordError as error:
        return _stand_in(row, error)


def new_task(new: NewTask, seq: int, now: datetime) -> Task:
    """The task that a submission becomes."""
    given = {field.name: getattr(new, field.name) for field in fields(NewTask) if field.name in _TASK_FIELDS}
    return Task(**given, seq=seq, status=TaskStatus.PENDING, created_at=now)


def task_to_row(task: Task) -> dict[str, Any]:
    """Every column of `tasks`."""
    columns = {name: _field_to_column(getattr(task, name)) for name in _TASK_FIELDS}
    return columns | {"model": task.options.model, "name_key": name_key(task)}


def changed_columns(before: Task, after: Task) -> dict[str, Any]:
    """The columns in which the two differ."""
    values = ((name, getattr(before, name), getattr(after, name)) for name in _TASK_FIELDS)
    changed = {name: _field_to_column(new) for name, old, new in values if new != old}
    if after.options.model != before.options.model:
        changed["model"] = after.options.model
    if after.name != before.name:
        changed["name_key"] = name_key(after)
    return changed


def name_key(task: Task) -> str:
    """By what a list is put in order of names."""
    return folded(task.name)[:_KEY_CHARACTERS]


class WaitingRow(NamedTuple):
    """The part of a waiting task's row that the queue keeps in memory. A tuple of its own: reading SQLAlchemy's rows by
    name costs several times as much."""

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
    arranged: Any


def not_before_of(row: WaitingRow) -> datetime | None:
    """Raises BadRecordError."""
    try:
        return _read_time(row.not_before)
    except UNREADABLE as error:
        raise BadRecordError() from error


@lru_cache(maxsize=4096)
def read_kind(
    options: str, priority: int, device: str, owner: str
) -> tuple[str, Priority, str, str, bool, bool, int, bool]:
    """Model, priority, device, owner, word_timestamps, is_chunked, beams and speakers of a waiting task.

    Cached, and with shared strings, because of 100,000 waiting tasks nearly all are of a few kinds.
    """
    known = _read_options(options)
    names = known.model, _PRIORITIES[priority], sys.intern(device), sys.intern(owner)
    return (*names, known.word_timestamps, known.is_chunked, known.beams, known.speakers)


# Windows and events


def window_to_row(task_id: str, window: WindowResult) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "window_index": window.index,
        "segments": _to_json([segment.to_dict() for segment in window.segments]),
        "checkpoint": _to_json(asdict(window.checkpoint)),
    }


def window_from_row(row: Row) -> WindowResult:
    """Raises BadRecordError."""
    try:
        return WindowResult(
            index=row.window_index,
            segments=tuple(Segment.from_dict(segment) for segment in json.loads(row.segments)),
            checkpoint=Checkpoint(**json.loads(row.checkpoint)),
        )
    except UNREADABLE as error:
        raise BadRecordError() from error


def event_to_row(task_id: str, code: str, data: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {"task_id": task_id, "at": _field_to_column(at), "code": code, "data": _to_json(dict(data))}


def event_from_row(row: Row) -> TaskEvent | None:
    """None for an entry that cannot be read: better a gap in a timeline than no timeline."""
    try:
        return TaskEvent(datetime.fromisoformat(row.at), row.code, dict(json.loads(row.data)))
    except UNREADABLE:
        log.warning("task=%s event=unreadable_timeline_entry id=%s", row.task_id, row.id)
        return None


# Single values


def errors_from_json(text: Any) -> tuple[ErrorInfo, ...]:
    """Raises one of UNREADABLE when `text` is not a list of errors."""
    return tuple(
        ErrorInfo(entry["code"], entry["message"], _read_time(entry["at"]), entry["attempt"])
        for entry in json.loads(text)
    )


def errors_to_json(errors: tuple[ErrorInfo, ...]) -> str:
    return _to_json([{**asdict(error), "at": _field_to_column(error.at)} for error in errors])


def tracks_from_json(text: Any) -> tuple[SoundTrack, ...]:
    """Raises one of UNREADABLE when `text` is neither None nor a list of tracks."""
    return () if text is None else tuple(SoundTrack(**entry) for entry in json.loads(text))


def tracks_to_json(tracks: tuple[SoundTrack, ...]) -> str:
    """Without what a track does not have, because nearly every file has a single plain one."""
    return _to_json(
        [{name: value for name, value in asdict(track).items() if value or name == "stream"} for track in tracks]
    )


def tags_from_json(text: Any) -> tuple[str, ...]:
    """Raises one of UNREADABLE when `text` is not a list of texts."""
    tags = json.loads(text)
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError("tags are not texts")
    return tuple(tags)


def folded(text: str) -> str:
    """For comparing without regard to case and to how accents are encoded; lone surrogates are left out."""
    return unicodedata.normalize("NFKC", text.encode("utf-8", "ignore").decode()).casefold()


def time_text(moment: datetime) -> str:
    """As the database keeps it: these texts are in the order of the moments."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _read_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@lru_cache(maxsize=1024)
def _read_options(text: str) -> TaskOptions:
    options = TaskOptions(**json.loads(text))
    if not isinstance(options.model, str) or not isinstance(options.word_timestamps, bool):
        raise TypeError("options have a value of the wrong type")
    return options


_TASK_FIELDS = tuple(field.name for field in fields(Task))
_COLUMNS = tuple(tasks.c.keys())
_PRIORITIES = {int(priority): priority for priority in Priority}
_READERS: dict[str, Callable[[Any], Any]] = {
    "status": TaskStatus,
    "priority": Priority,
    "options": _read_options,
    "errors": errors_from_json,
    "tracks": tracks_from_json,
    "tags": tags_from_json,
    **dict.fromkeys(("is_truncated", "is_silent"), {0: False, 1: True}.__getitem__),
    "created_at": datetime.fromisoformat,
    **dict.fromkeys(("started_at", "finished_at", "not_before", "media_removed_at"), _read_time),
}
# The other fields are stored as they are; these are the types that each may have.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("seq", "version", "size_bytes", "max_attempts"), (int,)),
    **dict.fromkeys(("attempt", "interrupts", "free_attempts", "windows_done"), (int,)),
    **dict.fromkeys(("estimated_bytes", "predicted_bytes", "reserved_bytes", "measured_bytes"), (int, type(None))),
    **dict.fromkeys(("id", "filename", "requested_device", "sha256", "owner", "note"), (str,)),
    **dict.fromkeys(("language", "device", "lease_token", "lease_owner"), (str, type(None))),
    **dict.fromkeys(("result_sha256", "idempotency_key", "title", "batch_id", "batch_name"), (str, type(None))),
    "progress": (float, int),
    **dict.fromkeys(("audio_seconds", "declared_seconds", "late_seconds", "arranged"), (float, int, type(None))),
}


def _field_from_column(name: str, value: Any) -> Any:
    """The value of a task's field. Raises one of UNREADABLE."""
    if name in _READERS:
        return _READERS[name](value)
    if not isinstance(value, _TYPES[name]):
        raise TypeError(f"{name} has a value of type {type(value).__name__}")
    return value


def _field_to_column(value: Any) -> Any:
    """A task's field as the database keeps it."""
    match value:
        case TaskStatus():
            return value.value
        case Priority() | bool():
            return int(value)
        case datetime():
            return time_text(value)
        case TaskOptions():
            return _to_json(value.stored)
        case (SoundTrack(), *_):
            return tracks_to_json(value)
        case (str(), *_):
            return _to_json(value)
        case tuple():
            return errors_to_json(value)
    return value


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
