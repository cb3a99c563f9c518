"""A queue of ten thousand: it is full at its limit, and nobody waits for all that another person has in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from errors import QueueFullError
from optimizer.common.clock import SystemClock
from optimizer.storage import mapping
from optimizer.storage.schema import arrivals, tasks
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import TaskFilter, TaskOptions, TaskStatus
from tests.optimizer.queue.helpers import new_task
from tests.paths import SHORT
from tests.system.conftest import Open, Submit, Watcher, wait_running

QUEUED = 10_000
SLOTS = 8
OWN = 2


def fill_queue(data_dir: Path, count: int) -> None:
    """With another person's tasks, all of one recording, whose length is known."""
    data_dir.mkdir()
    store = TaskStore(data_dir)
    store.open()
    options = TaskOptions(model="tiny.en", language="en", initial_prompt="hold@0")
    given = {"options": options, "audio_seconds": 2.99, "owner": "other"}
    now = SystemClock().now()
    with store.database.writing() as connection:  # one by one they would take ten times as long
        rows = [mapping.new_task(new_task(f"other-{seq:05}", **given), seq, now) for seq in range(1, count + 1)]
        connection.execute(insert(tasks), [mapping.task_to_row(row) for row in rows])
        connection.execute(update(arrivals).values(last_seq=count))
    store.close()
    (data_dir / "media").mkdir()
    recording = shutil.copy(SHORT, data_dir.with_name("recording"))
    for row in rows:
        os.link(recording, data_dir / "media" / row.id)


@pytest.mark.proves("F32")
def test_one_recording_does_not_wait_for_ten_thousand_of_another_person(
    open_parallel: Open, submit: Submit, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    fill_queue(data_dir, QUEUED)
    limits = {"max_queued_tasks": QUEUED - SLOTS, "max_concurrent_tasks_limit": SLOTS, "max_batch_size": SLOTS}
    with open_parallel(**limits) as system:
        watcher = Watcher(system)
        running = wait_running(watcher, SLOTS)
        with pytest.raises(QueueFullError):
            submit(system, SHORT, owner="me")
        assert [path.name for path in (data_dir / "incoming").iterdir()] == []
        assert system.tasks(TaskFilter(limit=50))[2][TaskStatus.PENDING] == QUEUED - SLOTS

        for seq in range(QUEUED, QUEUED - OWN, -1):
            system.cancel(f"other-{seq:05}")
        own = [submit(system, SHORT, owner="me") for _ in range(OWN)]
        watcher.wait_until(lambda: all(system._queue.waiting().find(task_id) for task_id in own), "my samples")
        system.cancel(running[0])  # the next of theirs has waited longer
        for task_id in own:
            assert watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED).status is TaskStatus.COMPLETED
        begun = [seq for seq in range(1, 4 * SLOTS + 1) if system.task(f"other-{seq:05}").task.attempt > 0]
        assert len(begun) <= SLOTS + OWN  # of theirs hardly one was begun meanwhile
