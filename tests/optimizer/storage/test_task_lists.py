"""The list's orders and filters: every task once, in order, by an index."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from errors import InvalidOptionError
from optimizer.storage.list_cursors import ListCursor, SortKey
from optimizer.storage.task_lists import count_by_state, read_page
from optimizer.tasks.task import Task, TaskFilter, TaskOptions, TaskSort, TaskStatus
from optimizer.tasks.task_changes import TaskChanges
from tests.databases import POSTGRESQL, SQLITE, Databases, used
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue
from tests.optimizer.storage.helpers import plans_of

SORTS = [sort for sort in TaskSort if sort is not TaskSort.LINE]  # which is not in the database
LENGTHS = (60.0, None, 5.0, 60.0, None, 3600.0)
NAMES = ("b.mp3", "A.mp3", "ä.mp3", "c.mp3", "B.mp3", "d.mp3")


def fill(queue: Queue) -> None:
    """Six tasks of two owners and models, two of unknown length; two are finished, and one has tags."""
    for number, (seconds, name) in enumerate(zip(LENGTHS, NAMES, strict=True)):
        queue.clock.advance(86400.0)
        queue.submit(
            f"t{number}",
            audio_seconds=seconds,
            filename=name,
            owner="alice" if number % 2 else "mallory",
            options=TaskOptions(model="base" if number < 4 else "tiny"),
        )
    queue.manager.change("t3", TaskChanges(tags=("Züri", "radio")))
    queue.manager.cancel("t4")
    queue.clock.advance(1.0)
    queue.manager.cancel("t0")


@pytest.fixture(scope="module", params=[SQLITE, POSTGRESQL])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """The same for all tests that only read."""
    databases = Databases(request.getfixturevalue("postgresql") if request.param == POSTGRESQL else None)
    with pytest.MonkeyPatch.context() as patch, used(databases, patch):
        queue = Queue(tmp_path_factory.mktemp("lists"), FakeClock())
    fill(queue)
    yield queue
    queue.store.close()
    databases.give_back()


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """The same, for what can be asked of SQLite only: how it finds what it finds."""
    with running_queue(tmp_path_factory.mktemp("lists"), FakeClock()) as queue:
        fill(queue)
        yield queue


def paged(queue: Queue, limit: int, **wanted: Any) -> list[Task]:
    """All pages."""
    found: list[Task] = []
    cursor: str | None = None
    while True:
        page = queue.manager.page(TaskFilter(limit=limit, cursor=cursor, **wanted))
        assert len(page.tasks) <= limit
        found += page.tasks
        cursor = page.next_cursor
        if cursor is None:
            return found


def ids(tasks: list[Task]) -> list[str]:
    return [task.id for task in tasks]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (TaskSort.ARRIVAL, "t5 t4 t3 t2 t1 t0"),
        (TaskSort.CREATED, "t5 t4 t3 t2 t1 t0"),
        (TaskSort.FINISHED, "t0 t4 t5 t3 t2 t1"),
        (TaskSort.LENGTH, "t5 t3 t0 t2 t4 t1"),
        (TaskSort.NAME, "t1 t0 t4 t3 t5 t2"),
        (TaskSort.MODEL, "t0 t1 t2 t3 t4 t5"),
        (TaskSort.STATUS, "t0 t4 t1 t2 t3 t5"),
        (TaskSort.OWNER, "t1 t3 t5 t0 t2 t4"),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 200])
def test_every_order_shows_each_task_once(filled: Queue, sort: TaskSort, expected: str, limit: int) -> None:
    assert ids(paged(filled, limit, sort=sort)) == expected.split()


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("is_descending", [True, False])
def test_pages_in_either_direction_are_the_whole_list(filled: Queue, sort: TaskSort, is_descending: bool) -> None:
    whole = ids(paged(filled, 200, sort=sort, is_descending=is_descending))
    assert sorted(whole) == [f"t{number}" for number in range(6)]
    assert ids(paged(filled, 1, sort=sort, is_descending=is_descending)) == whole


@pytest.mark.parametrize("is_descending", [True, False])
def test_what_has_no_length_yet_comes_last(filled: Queue, is_descending: bool) -> None:
    assert set(ids(paged(filled, 2, sort=TaskSort.LENGTH, is_descending=is_descending))[-2:]) == {"t1", "t4"}


def test_filters_by_length_date_owner_and_tag(filled: Queue) -> None:
    first, third = filled.manager.get("t0").created_at, filled.manager.get("t2").created_at

    assert ids(paged(filled, 2, min_seconds=60)) == ["t5", "t3", "t0"]
    assert ids(paged(filled, 2, max_seconds=60)) == ["t3", "t2", "t0"]
    assert ids(paged(filled, 2, min_seconds=6, max_seconds=60, owner="alice")) == ["t3"]
    assert ids(paged(filled, 2, created_from=first, created_before=third)) == ["t1", "t0"]
    assert ids(paged(filled, 2, created_from=third + timedelta(microseconds=1), sort=TaskSort.NAME)) == [
        "t4",
        "t3",
        "t5",
    ]
    assert ids(paged(filled, 2, tag="ZÜRI")) == ["t3"]
    assert ids(paged(filled, 2, tag="Zürich")) == []


def test_a_common_tag_gives_the_same_pages(on_sqlite: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.storage.task_lists._COMMON", 1)
    with on_sqlite.store.database.reading() as connection, plans_of(connection) as plans:
        assert [task.id for task in read_page(connection, TaskFilter(tag="ZÜRI", owner="alice")).tasks] == ["t3"]
    assert plans[1].startswith("SEARCH tasks USING INDEX ix_tasks_owner")
    assert "TEMP B-TREE" not in plans[1]


def test_counts_are_of_what_is_looked_for(filled: Queue) -> None:
    def counts(**wanted: Any) -> dict[TaskStatus, int]:
        found = filled.manager.page(TaskFilter(**wanted)).counts
        return {status: count for status, count in found.items() if count}

    assert counts() == {TaskStatus.PENDING: 4, TaskStatus.CANCELLED: 2}
    assert counts(status=TaskStatus.CANCELLED) == {TaskStatus.PENDING: 4, TaskStatus.CANCELLED: 2}
    assert counts(query="b.mp3") == {TaskStatus.CANCELLED: 2}
    assert counts(query="b.mp3", status=TaskStatus.PENDING) == {TaskStatus.CANCELLED: 2}
    assert counts(model="tiny", owner="alice") == {TaskStatus.PENDING: 1}
    assert counts(min_seconds=61) == {TaskStatus.PENDING: 1}


def test_a_cursor_of_another_order_is_refused(filled: Queue) -> None:
    cursor = filled.manager.page(TaskFilter(limit=1, sort=TaskSort.NAME)).next_cursor
    for other in (TaskFilter(cursor=cursor), TaskFilter(cursor=cursor, sort=TaskSort.NAME, is_descending=True)):
        with pytest.raises(InvalidOptionError) as refused:
            filled.manager.page(other)
        assert refused.value.field == "cursor"


@pytest.mark.parametrize(
    ("sort", "key"),
    [(TaskSort.LENGTH, "abc"), (TaskSort.LENGTH, 10**30), (TaskSort.LENGTH, math.nan), (TaskSort.CREATED, 5),
     (TaskSort.CREATED, None), (TaskSort.NAME, True), (TaskSort.NAME, "\ud800"), (TaskSort.FINISHED, 1.5),
     (TaskSort.ARRIVAL, "x")],
)  # fmt: skip
def test_a_cursor_with_a_key_of_another_kind_is_refused(filled: Queue, sort: TaskSort, key: SortKey) -> None:
    """Each kind of database would take it for something else."""
    wanted = TaskFilter(sort=sort)
    made_up = ListCursor(sort.value, wanted.goes_down, key, 2).text
    with pytest.raises(InvalidOptionError, match="not one that this server gave out"):
        filled.manager.page(replace(wanted, cursor=made_up))


@pytest.mark.usefixtures("each_database")
def test_a_page_goes_on_behind_a_task_that_is_gone(queue: Queue) -> None:
    fill(queue)
    page = queue.manager.page(TaskFilter(limit=2, sort=TaskSort.NAME))
    queue.manager.delete(page.tasks[-1].id)
    rest = queue.manager.page(TaskFilter(limit=200, sort=TaskSort.NAME, cursor=page.next_cursor))
    assert ids(list(rest.tasks)) == ["t4", "t3", "t5", "t2"]


# That the database need not look at every row


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("owner", [None, "alice"])
@pytest.mark.parametrize("is_descending", [True, False])
def test_a_page_in_any_order_reads_an_index_and_sorts_nothing(
    on_sqlite: Queue, sort: TaskSort, owner: str | None, is_descending: bool
) -> None:
    first = TaskFilter(limit=1, sort=sort, owner=owner, is_descending=is_descending)
    with on_sqlite.store.database.reading() as connection:
        cursor = read_page(connection, first).next_cursor
        with plans_of(connection) as plans:
            for after in (None, cursor):
                read_page(connection, TaskFilter(**{**vars(first), "limit": 5, "cursor": after}))
    assert len(plans) >= 2
    for plan in plans:
        assert "USING INDEX" in plan
        assert "TEMP B-TREE" not in plan
    assert all("SEARCH tasks" in plan for plan in plans[1 if owner is None else 0 :])


FILTERS: dict[str, dict[str, Any]] = {
    "status": {"status": TaskStatus.FAILED},
    "model": {"model": "base"},
    "sha256": {"sha256": "0" * 64},
    "tag": {"tag": "radio"},
    "min_seconds": {"min_seconds": 60.0},
    "max_seconds": {"max_seconds": 60.0},
}


@pytest.mark.parametrize(
    "names", [names for count in (1, 2) for names in itertools.combinations(FILTERS, count)], ids="+".join
)
@pytest.mark.parametrize("owner", [None, "alice"])
def test_whatever_is_looked_for_no_query_reads_the_whole_table(
    on_sqlite: Queue, names: tuple[str, ...], owner: str | None
) -> None:
    wanted = TaskFilter(owner=owner)
    for name in names:
        wanted = TaskFilter(**{**vars(wanted), **FILTERS[name]})
    with on_sqlite.store.database.reading() as connection, plans_of(connection) as plans:
        read_page(connection, wanted)
        count_by_state(connection, wanted)
    assert len(plans) == 2 + ("tag" in names)
    for plan in plans:
        assert "INDEX" in plan
