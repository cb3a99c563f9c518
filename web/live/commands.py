"""What a client of the live feed may send: checked by hand, because it comes past Flask and pydantic."""

from __future__ import annotations

from errors import InvalidOptionError

MAX_ID_CHARACTERS = 64
MAX_FIRST = 2**31 - 1


def read_watch(payload: tuple[object, ...]) -> tuple[str, int]:
    """The task's id and how many of its segments the client has. Raises InvalidOptionError."""
    fields = _fields_of(payload)
    first = fields.get("from", 0)
    if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first <= MAX_FIRST:
        raise InvalidOptionError("A number of segments is expected.", field="from")
    return _task_id_of(fields), first


def read_unwatch(payload: tuple[object, ...]) -> str:
    """The task's id. Raises InvalidOptionError."""
    return _task_id_of(_fields_of(payload))


def _fields_of(payload: tuple[object, ...]) -> dict[str, object]:
    if len(payload) != 1 or not isinstance(payload[0], dict):
        raise InvalidOptionError("One object is expected.")
    return payload[0]


def _task_id_of(fields: dict[str, object]) -> str:
    task_id = fields.get("id")
    if not isinstance(task_id, str) or not task_id.isascii() or not 0 < len(task_id) <= MAX_ID_CHARACTERS:
        raise InvalidOptionError("The id of a task is expected.", field="id")
    return task_id
