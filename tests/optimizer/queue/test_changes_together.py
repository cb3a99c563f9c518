"""Several changes in one transaction: one commit, and for each what it would have been alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.queue.changes import AddAttemptEvent, ClaimRequest, Complete, Fail, RequestedChange, SaveWindow
from optimizer.tasks.task import Task, TaskFilter, TaskMemory, TaskStatus
from tests.databases import Databases
from tests.optimizer.fakes import FakeClock
from tests.optimizer.faults import counted
from tests.optimizer.queue.helpers import OOM, Queue, ready_ids, running_queue, window

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

IDS = [f"t{number}" for number in range(8)]
DONE = Complete("en", "Hello.", "f" * 64, TaskMemory(800, 1000, 900))


def claim_all(queue: Queue, task_ids: list[str] = IDS) -> list[Task]:
    for task_id in task_ids:
        queue.submit(task_id)
    claimed = queue.manager.claim_all([ClaimRequest(task_id, "cpu", 1_000) for task_id in task_ids])
    return [task for task in claimed if task is not None]


def of(task: Task, change: SaveWindow | AddAttemptEvent | Complete | Fail) -> RequestedChange:
    return RequestedChange.of_attempt(task.id, task.lease_token or "", change)


def test_eight_tasks_are_claimed_and_completed_in_two_commits(queue: Queue) -> None:
    for task_id in IDS:
        queue.submit(task_id)
    with counted("store.after_commit") as commits:
        claimed = queue.manager.claim_all([ClaimRequest(task_id, "cpu", 1_000) for task_id in IDS])
        tasks = [task for task in claimed if task is not None]
        assert len({task.lease_token for task in tasks}) == len(IDS)
        queue.manager.record([of(task, change) for task in tasks for change in (SaveWindow(window(0)), DONE)])
    assert commits == ["store.after_commit"] * 2
    assert {queue.manager.get(task_id).status for task_id in IDS} == {TaskStatus.COMPLETED}
    assert queue.manager.counts()[TaskStatus.COMPLETED] == len(IDS)


def test_the_rows_are_those_that_single_changes_leave(tmp_path: Path) -> None:
    """Also of a task that was given back and is in its second attempt, from its first window on."""
    shown = []
    for is_together in (True, False):
        with running_queue(tmp_path / str(is_together), FakeClock()) as queue:
            first = claim_all(queue, ["a", "b"])
            queue.manager.save_window("b", first[1].lease_token or "", window(0))
            queue.manager.requeue("b", first[1].lease_token or "")
            a, b = first[0], queue.claim("b")
            wanted = [of(a, SaveWindow(window(0))), of(a, AddAttemptEvent("memory", {"step": "batch_shrunk"}))]
            wanted += [of(b, SaveWindow(window(1))), of(a, SaveWindow(window(1))), of(b, DONE)]
            queue.changed.clear()
            queue.clock.advance(5)
            if is_together:
                queue.manager.record(wanted)
            else:
                for each in wanted:
                    queue.manager.record([each])
            assert queue.changed == ["b"]
            tasks = [task.with_(lease_token=None, lease_owner=None) for task in queue.manager.page(TaskFilter()).tasks]
            events = [queue.manager.timeline(task_id) for task_id in ("a", "b")]
            windows = [queue.manager.windows(task_id) for task_id in ("a", "b")]
            shown.append((tasks, events, windows))
    assert shown[0] == shown[1]
    assert shown[0][2] == [[window(0), window(1)], []]


def test_each_gets_its_own_answer(queue: Queue, tmp_path: Path, each_database: Databases) -> None:
    """A token that no longer counts, a task that is gone and a row that cannot be read keep none of the others."""
    a, b, c, d = claim_all(queue, ["a", "b", "c", "d"])
    queue.manager.cancel("a")
    queue.manager.delete("b")
    each_database.execute(tmp_path, "UPDATE tasks SET options = 'not JSON' WHERE id = 'c'")
    made = queue.manager.record([of(a, DONE), of(b, DONE), of(c, DONE), of(d, DONE)])
    assert made[:3] == [None] * 3
    assert made[3] == queue.manager.get("d")
    states = [queue.manager.get(task_id).status for task_id in ("a", "c", "d")]
    assert states == [TaskStatus.CANCELLED, TaskStatus.FAILED, TaskStatus.COMPLETED]
    with queue.store.reading() as rows:
        assert rows.counts() == queue.manager.counts()


def test_what_cannot_be_applied_takes_all_of_them_back(queue: Queue) -> None:
    a, b = claim_all(queue, ["a", "b"])
    with pytest.raises(ValueError, match="window 1 came before window 0"):
        queue.manager.record([of(a, DONE), of(b, SaveWindow(window(1)))])
    assert [queue.manager.get(task_id) for task_id in ("a", "b")] == [a, b]
    assert queue.manager.counts()[TaskStatus.PROCESSING] == 2


def test_the_index_follows_each_of_them(queue: Queue) -> None:
    a, b = claim_all(queue, ["a", "b"])
    assert ready_ids(queue) == []
    queue.manager.record([of(a, Fail(OOM, True, lambda _: 10.0)), of(b, Fail(OOM, False, lambda _: 10.0))])
    assert queue.manager.next_delay_end_in() == 10.0
    assert queue.manager.position("a") == 1
    assert queue.manager.position("b") is None
