"""What a client of the live feed may send. Checked by hand, because it does not pass through Flask and pydantic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from errors import InvalidOptionError

MAX_ID_CHARACTERS = 64
MAX_FIRST = 2**31 - 1


@dataclass(frozen=True)
class Watch:
    """A client wants the segments of a task."""

    sid: str  # of the client
    task_id: str
    first: int  # how many segments the client has already


@dataclass(frozen=True)
class Unwatch:
    sid: str
    task_id: str


Command = Union[Watch, Unwatch]


def read_watch(sid: str, payload: tuple[object, ...]) -> Watch:
    """Raises InvalidOptionError."""
    fields = _fields_of(payload)
    first = fields.get("from", 0)
    if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first <= MAX_FIRST:
        raise InvalidOptionError("A number of segments is expected.", field="from")
    return Watch(sid, _task_id_of(fields), first)


def read_unwatch(sid: str, payload: tuple[object, ...]) -> Unwatch:
    """Raises InvalidOptionError."""
    return Unwatch(sid, _task_id_of(_fields_of(payload)))


def _fields_of(payload: tuple[object, ...]) -> dict[str, object]:
    if len(payload) != 1 or not isinstance(payload[0], dict):
        raise InvalidOptionError("One object is expected.")
    return payload[0]


def _task_id_of(fields: dict[str, object]) -> str:
    task_id = fields.get("id")
    if not isinstance(task_id, str) or not task_id.isascii() or not 0 < len(task_id) <= MAX_ID_CHARACTERS:
        raise InvalidOptionError("The id of a task is expected.", field="id")
    return task_id
