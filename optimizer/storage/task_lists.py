"""The list of tasks: what may be asked of it, its orders, and how many tasks there are in each state.

A page is found by the place of the last task before it (keyset), so the thousandth costs what the first does and stays
right while tasks come and go. Each order has an index of its own, over all tasks and over one owner's; a test asks
SQLite whether it uses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, exists, func, select, tuple_

from errors import InvalidOptionError
from optimizer.storage import mapping, search_index
from optimizer.storage.list_cursors import ListCursor, SortKey, read_cursor
from optimizer.storage.mapping import Row
from optimizer.storage.schema import task_tags, tasks
from optimizer.tasks.task import TaskFilter, TaskPage, TaskSort, TaskStatus

MAX_PAGE = 200
_COMMON = 2000
STATES = frozenset(status.value for status in TaskStatus)
_SORTED_BY = {
    TaskSort.CREATED: tasks.c.created_at,
    TaskSort.FINISHED: tasks.c.finished_at,
    TaskSort.LENGTH: tasks.c.audio_seconds,
    TaskSort.NAME: tasks.c.name_key,
    TaskSort.MODEL: tasks.c.model,
    TaskSort.STATUS: tasks.c.status,
    TaskSort.OWNER: tasks.c.owner,
}


def read_page(connection: Connection, wanted: TaskFilter) -> TaskPage:
    """Without counts. Raises InvalidOptionError."""
    check_limit(wanted)
    after = read_cursor(wanted)
    is_in_order = wanted.sort is TaskSort.ARRIVAL
    if wanted.tag is not None and _is_common_tag(connection, wanted.tag):
        others = conditions_of(connection, replace(wanted, tag=None), is_in_order=is_in_order)
        conditions = [*others, _has_tag(wanted.tag)]
    else:
        conditions = [*conditions_of(connection, wanted, is_in_order=is_in_order)]
    rows: list[Row] = []
    for part, order in _parts(wanted, after):
        missing = wanted.limit + 1 - len(rows)
        if missing > 0:
            query = select(tasks).where(*conditions, *part).order_by(*order).limit(missing)
            rows += connection.execute(query).all()
    shown = rows[: wanted.limit]
    next_cursor = _cursor_of(wanted, shown[-1]).text if len(rows) > wanted.limit else None
    return TaskPage(tuple(map(mapping.task_or_stand_in, shown)), next_cursor)


def read_waiting_ids(connection: Connection, wanted: TaskFilter) -> set[str]:
    """Of the waiting tasks that are wanted, in whatever order. Raises InvalidOptionError."""
    conditions = [*conditions_of(connection, wanted)]
    waiting = tasks.c.status.in_([status.value for status in TaskStatus if status.is_waiting])
    return set(connection.scalars(select(tasks.c.id).where(waiting, *conditions)))


def read_unfinished_ids(connection: Connection, wanted: TaskFilter) -> list[str]:
    """Of those wanted tasks that wait or run, in order of arrival. Raises InvalidOptionError."""
    conditions = [*conditions_of(connection, wanted)]
    unfinished = tasks.c.status.in_([status.value for status in TaskStatus if not status.is_final])
    return list(connection.scalars(select(tasks.c.id).where(unfinished, *conditions).order_by(tasks.c.seq)))


def check_limit(wanted: TaskFilter) -> None:
    """Raises InvalidOptionError."""
    if not 1 <= wanted.limit <= MAX_PAGE:
        raise InvalidOptionError(f"limit must be between 1 and {MAX_PAGE}.", field="limit")


def count_by_state(connection: Connection, wanted: TaskFilter) -> dict[TaskStatus, int]:
    """Of what is wanted, whatever state is; unknown states count as failed, as they are shown. Raises
    InvalidOptionError."""
    counts = dict.fromkeys(TaskStatus, 0)
    conditions = conditions_of(connection, wanted, has_status=False)
    query = select(tasks.c.status, func.count()).where(*conditions).group_by(tasks.c.status)
    for status, count in connection.execute(query):
        counts[TaskStatus(status) if status in STATES else TaskStatus.FAILED] += count
    return counts


def conditions_of(
    connection: Connection, wanted: TaskFilter, *, has_status: bool = True, is_in_order: bool = False
) -> Iterator[ColumnElement[bool]]:
    """What a task must be like. has_status: also its state. is_in_order: they are read in order of arrival."""
    if wanted.owner is not None:
        yield tasks.c.owner == wanted.owner
    if has_status and wanted.status is not None:
        yield tasks.c.status == wanted.status.value
    if wanted.model is not None:
        yield tasks.c.model == wanted.model
    if wanted.sha256 is not None:
        yield tasks.c.sha256 == wanted.sha256
    if wanted.batch is not None:
        yield tasks.c.batch_id == wanted.batch
    if wanted.tag is not None:
        tagged = select(task_tags.c.task_id).where(task_tags.c.tag == mapping.folded(wanted.tag))
        yield tasks.c.id.in_(tagged)
    yield from _bounds(wanted)
    if wanted.query:
        is_count = not has_status
        yield search_index.found(connection, wanted.query, wanted.owner, is_in_order=is_in_order, is_count=is_count)


def _is_common_tag(connection: Connection, tag: str) -> bool:
    """Whether so many tasks have it that a page is found sooner by going through the tasks in order than by looking
    all of those up and sorting them."""
    some = select(task_tags.c.task_id).where(task_tags.c.tag == mapping.folded(tag)).limit(_COMMON)
    return connection.scalar(select(func.count()).select_from(some.subquery())) == _COMMON


def _has_tag(tag: str) -> ColumnElement[bool]:
    return exists().where(task_tags.c.task_id == tasks.c.id, task_tags.c.tag == mapping.folded(tag))


def _bounds(wanted: TaskFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.created_from is not None:
        yield tasks.c.created_at >= mapping.time_text(wanted.created_from)
    if wanted.created_before is not None:
        yield tasks.c.created_at < mapping.time_text(wanted.created_before)
    if wanted.min_seconds is not None:
        yield tasks.c.audio_seconds >= wanted.min_seconds
    if wanted.max_seconds is not None:
        yield tasks.c.audio_seconds <= wanted.max_seconds


Part = tuple[list[ColumnElement[bool]], list[ColumnElement[object]]]


def _parts(wanted: TaskFilter, after: ListCursor | None) -> Iterable[Part]:
    """Conditions and order of what follows `after`: first the tasks that have a key, then those that have none, of
    which a database would put the one or the other first."""
    by, seq = _SORTED_BY.get(wanted.sort), tasks.c.seq
    if by is None:
        return [([] if after is None else [_beyond(seq, after.seq, wanted)], _in_order(wanted, seq))]
    keyless: Part = ([by.is_(None)], _in_order(wanted, seq))
    if after is not None and after.key is None:
        return [([by.is_(None), _beyond(seq, after.seq, wanted)], keyless[1])]
    keyed: list[ColumnElement[bool]] = [by.is_not(None)] if by.nullable else []
    if after is not None:
        # The first half alone lets an index be entered at the right place; SQLite knows the same of a pair only where
        # nothing else is asked for.
        reached = by <= after.key if wanted.goes_down else by >= after.key
        place = tuple_(by, seq)
        last = tuple_(after.key, after.seq)
        keyed += [reached, place < last if wanted.goes_down else place > last]
    parts: list[Part] = [(keyed, _in_order(wanted, by, seq))]
    return [*parts, keyless] if by.nullable else parts


def _beyond(seq: ColumnElement[int], last: int, wanted: TaskFilter) -> ColumnElement[bool]:
    return seq < last if wanted.goes_down else seq > last


def _in_order(wanted: TaskFilter, *columns: ColumnElement[object]) -> list[ColumnElement[object]]:
    return [column.desc() if wanted.goes_down else column.asc() for column in columns]


def _cursor_of(wanted: TaskFilter, row: Row) -> ListCursor:
    by = _SORTED_BY.get(wanted.sort)
    key: SortKey = None if by is None else getattr(row, str(by.key))
    return ListCursor(wanted.sort.value, wanted.goes_down, key, row.seq)
