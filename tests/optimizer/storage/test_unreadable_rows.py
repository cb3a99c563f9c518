"""A row that cannot be read fails alone and does not stop a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import ConflictError
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue
from tests.optimizer.storage.helpers import edit

BAD_VALUES = [
    ("options", "{not json"),
    ("options", '{"model": "base", "unknown": 1}'),
    ("options", '{"model": 5}'),
    ("errors", "[{}]"),
    ("status", "hibernating"),
    ("priority", 7),
    ("created_at", "yesterday"),
    ("audio_seconds", "long"),
    ("attempt", "many"),
]


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
def test_a_row_that_cannot_be_read_fails_alone(queue: Queue, tmp_path: Path, column: str, value: object) -> None:
    for task_id in "abc":
        queue.submit(task_id)
    edit(tmp_path, f"UPDATE tasks SET {column} = ? WHERE id = 'b'", value)  # noqa: S608 - columns of this file

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
def test_a_row_that_cannot_be_read_does_not_stop_a_start(tmp_path: Path, column: str, value: object) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        for task_id in "abc":
            queue.submit(task_id)
        queue.claim("c")
    edit(tmp_path, f"UPDATE tasks SET {column} = ? WHERE id IN ('b', 'c')", value)  # noqa: S608

    with running_queue(tmp_path, FakeClock()) as queue:
        assert next(task.id for task in queue.manager.waiting()) == "a"
        assert all(queue.manager.get(task_id).status is TaskStatus.FAILED for task_id in "bc")
        with queue.store.reading() as rows:
            assert queue.manager.counts() == rows.counts()


def test_an_unknown_state_is_kept_in_the_error(tmp_path: Path) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
    edit(tmp_path, "UPDATE tasks SET status = 'hibernating'")
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.report.bad_records == ("a",)
        assert "'hibernating'" in queue.manager.get("a").errors[-1].message
