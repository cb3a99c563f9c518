"""Where a page of a list ended, as an opaque text: the order of the list, and the last task's place in it."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from errors import InvalidOptionError
from optimizer.tasks.task import TaskFilter, TaskSort

SortKey = str | float | None  # None: of a task that has none, which comes last in either direction

_KEYLESS = frozenset({TaskSort.FINISHED, TaskSort.LENGTH})  # orders in which a task may have no place of its own


@dataclass(frozen=True)
class ListCursor:
    sort: str
    goes_down: bool
    key: SortKey
    seq: int

    @property
    def text(self) -> str:
        fields = [self.sort, int(self.goes_down), self.key, self.seq]
        return urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(wanted: TaskFilter) -> ListCursor | None:
    """None for a first page. Raises InvalidOptionError unless a page in this order gave the cursor out."""
    if wanted.cursor is None:
        return None
    try:
        sort, direction, key, seq = json.loads(urlsafe_b64decode(wanted.cursor.encode("ascii") + b"=="))
        cursor = ListCursor(sort, bool(direction), key, seq)
        is_ours = type(seq) is int and 0 <= seq < 2**63 and cursor.text == wanted.cursor
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidOptionError("cursor is not one that this server gave out.", field="cursor") from error
    if not is_ours:
        raise InvalidOptionError("cursor is not one that this server gave out.", field="cursor")
    if (cursor.sort, cursor.goes_down) != (wanted.sort.value, wanted.goes_down):
        raise InvalidOptionError("cursor belongs to a list in another order.", field="cursor")
    if not _is_key_of(wanted.sort, key):
        raise InvalidOptionError("cursor is not one that this server gave out.", field="cursor")
    return cursor


def _is_key_of(sort: TaskSort, key: object) -> bool:
    """Databases take what is not of a column's type for different things."""
    if sort in (TaskSort.ARRIVAL, TaskSort.LINE):
        return key is None
    if sort is TaskSort.LENGTH and type(key) is float:
        return math.isfinite(key)
    if isinstance(key, str) and sort is not TaskSort.LENGTH:
        return not any("\ud800" <= character <= "\udfff" for character in key)  # no text of a database has those
    return key is None and sort in _KEYLESS
