"""Uploads that belong together: their summary, and cancelling all of them."""

from __future__ import annotations

import pytest

from errors import InvalidOptionError
from optimizer.storage.batch_rows import read_batches
from optimizer.tasks.batches import Batch, BatchSummary, read_batch
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.optimizer.queue.helpers import Queue, window
from tests.optimizer.storage.helpers import plans_of

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


def batches(queue: Queue, owner: str | None = None) -> list[BatchSummary]:
    found: list[BatchSummary] = []
    cursor: str | None = None
    while True:
        with queue.store.reading() as rows:
            page = rows.batches(owner, limit=1, cursor=cursor)
        found += page.batches
        cursor = page.next_cursor
        if cursor is None:
            return found


def submit(queue: Queue, task_id: str, batch: str, seconds: float | None = 60.0, **changes: object) -> None:
    queue.submit(task_id, batch_id=batch, batch_name=f"Name of {batch}", audio_seconds=seconds, **changes)


def test_a_batch_is_summed_up_over_all_its_tasks(queue: Queue) -> None:
    submit(queue, "a", "one", 100.0)
    submit(queue, "b", "one", 300.0)
    submit(queue, "c", "one", None)  # counts as 200 s
    queue.submit("alone")
    running = queue.claim("b")
    queue.manager.save_window("b", running.lease_token or "", window(0, of=4))
    queue.manager.cancel("a")

    (one,) = batches(queue)
    assert one.batch == Batch("one", "Name of one")
    assert (one.num_tasks, one.audio_seconds, one.is_finished) == (3, 400.0, False)
    assert {status: count for status, count in one.counts.items() if count} == {
        TaskStatus.CANCELLED: 1, TaskStatus.PROCESSING: 1, TaskStatus.PENDING: 1
    }  # fmt: skip
    assert one.progress == pytest.approx((100 + 300 * 0.25) / 600)


def test_batches_are_each_owners_own_and_the_latest_comes_first(queue: Queue) -> None:
    submit(queue, "a", "one", owner="alice")
    submit(queue, "b", "one", owner="bob")
    submit(queue, "c", "two", owner="alice")
    assert [(each.batch.id, each.owner) for each in batches(queue)] == [
        ("two", "alice"), ("one", "bob"), ("one", "alice")
    ]  # fmt: skip
    assert [each.batch.id for each in batches(queue, "alice")] == ["two", "one"]
    assert batches(queue, "carol") == []


def test_a_batch_of_unknown_length_has_progress_by_tasks(queue: Queue) -> None:
    submit(queue, "a", "one", None)
    submit(queue, "b", "one", None)
    queue.manager.cancel("a")
    assert batches(queue)[0].progress == 0.5


def test_a_batch_ends_with_its_last_task(queue: Queue) -> None:
    submit(queue, "a", "one")
    queue.manager.delete("a")
    assert batches(queue) == []


def test_all_that_is_not_finished_is_cancelled_at_once(queue: Queue) -> None:
    for task_id in "abc":
        submit(queue, task_id, "one", owner="alice")
    submit(queue, "other", "one", owner="bob")
    done = queue.complete(queue.claim("a"))
    queue.claim("b")

    wanted = TaskFilter(batch="one", owner="alice")
    ids = queue.manager.lists.unfinished_ids(wanted)
    assert ids == ["b", "c"]
    assert [task.status for task in queue.manager.lists.cancel_all([*ids, "a", "gone"])] == [TaskStatus.CANCELLED] * 2
    assert queue.manager.get("a") == done
    assert queue.manager.get("other").status is TaskStatus.PENDING
    assert queue.manager.lists.unfinished_ids(wanted) == []


@pytest.mark.sqlite
def test_a_batch_is_found_by_its_index(queue: Queue) -> None:
    submit(queue, "a", "one")
    assert [task.id for task in queue.manager.page(TaskFilter(batch="one")).tasks] == ["a"]
    for owner in (None, "alice"):
        with queue.store.database.reading() as connection, plans_of(connection) as plans:
            read_batches(connection, owner, limit=5, cursor=None)
        assert plans[0].startswith("SEARCH tasks USING COVERING INDEX ix_tasks_batch")


def test_what_is_no_batch_is_refused() -> None:
    assert read_batch("", "") is None
    assert read_batch("a-1", " Fair\u202e  of\x00 May ") == Batch("a-1", "Fair of May")
    for batch_id, name, field in (
        ("", "x", "batch_name"),
        ("a b", "", "batch"),
        ("a" * 65, "", "batch"),
        ("a", "x" * 201, "batch_name"),
    ):
        with pytest.raises(InvalidOptionError) as refused:
            read_batch(batch_id, name)
        assert refused.value.field == field
