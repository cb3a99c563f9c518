"""A row that cannot be read fails alone and does not stop a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import ConflictError
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.databases import Databases
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

BAD_VALUES = [
    ("options", "{not json"),
    ("options", '{"model": "base", "unknown": 1}'),
    ("options", '{"model": 5}'),
    ("errors", "[{}]"),
    ("status", "hibernating"),
    ("priority", 7),
    ("created_at", "yesterday"),
]
BAD_TYPES = [("audio_seconds", "long"), ("attempt", "many")]  # which only SQLite keeps in a column of numbers


def damage(databases: Databases, data_dir: Path, column: str, value: object, *task_ids: str) -> None:
    for task_id in task_ids:
        databases.execute(data_dir, f"UPDATE tasks SET {column} = ? WHERE id = ?", value, task_id)  # noqa: S608


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
def test_a_row_that_cannot_be_read_fails_alone(
    queue: Queue, tmp_path: Path, each_database: Databases, column: str, value: object
) -> None:
    assert_fails_alone(queue, tmp_path, each_database, column, value)


@pytest.mark.sqlite
@pytest.mark.parametrize(("column", "value"), BAD_TYPES)
def test_a_row_with_a_value_of_another_type_fails_alone(
    queue: Queue, tmp_path: Path, each_database: Databases, column: str, value: object
) -> None:
    assert_fails_alone(queue, tmp_path, each_database, column, value)


def assert_fails_alone(queue: Queue, tmp_path: Path, each_database: Databases, column: str, value: object) -> None:
    for task_id in "abc":
        queue.submit(task_id)
    damage(each_database, tmp_path, column, value, "b")

    shown = {task.id: task for task in queue.manager.page(TaskFilter()).tasks}
    assert shown["a"].status is TaskStatus.PENDING
    assert shown["b"].status is TaskStatus.FAILED
    assert shown["b"].error is not None
    assert shown["b"].error.code == "bad_record"

    assert queue.manager.claim("b", "cpu", 1) is None
    assert [task.id for task in queue.manager.waiting()] == ["a", "c"]
    assert queue.manager.counts()[TaskStatus.FAILED] == 1
    if column != "status":  # the quarantine has overwritten that one
        with pytest.raises(ConflictError):
            queue.manager.retry("b")
    queue.manager.delete("b")
    queue.claim("c")


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
def test_a_row_that_cannot_be_read_does_not_stop_a_start(
    tmp_path: Path, each_database: Databases, column: str, value: object
) -> None:
    assert_does_not_stop_a_start(tmp_path, each_database, column, value)


@pytest.mark.sqlite
@pytest.mark.parametrize(("column", "value"), BAD_TYPES)
def test_a_row_with_a_value_of_another_type_does_not_stop_a_start(
    tmp_path: Path, each_database: Databases, column: str, value: object
) -> None:
    assert_does_not_stop_a_start(tmp_path, each_database, column, value)


def assert_does_not_stop_a_start(tmp_path: Path, each_database: Databases, column: str, value: object) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        for task_id in "abc":
            queue.submit(task_id)
        queue.claim("c")
    damage(each_database, tmp_path, column, value, "b", "c")

    with running_queue(tmp_path, FakeClock()) as queue:
        assert next(task.id for task in queue.manager.waiting()) == "a"
        assert all(queue.manager.get(task_id).status is TaskStatus.FAILED for task_id in "bc")
        with queue.store.reading() as rows:
            assert queue.manager.counts() == rows.counts()


def test_an_unknown_state_is_kept_in_the_error(tmp_path: Path, each_database: Databases) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
    each_database.execute(tmp_path, "UPDATE tasks SET status = 'hibernating'")
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.report.bad_records == ("a",)
        assert "'hibernating'" in queue.manager.get("a").errors[-1].message
