"""Old recordings and tasks go when the settings say so: announced, on record, and nothing else with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings
from errors import TaskNotFoundError
from optimizer.monitoring.audit import AuditTrail
from optimizer.retention import EVERY_S, Retention
from optimizer.storage.backup import write_backup
from optimizer.storage.documents import DocumentStore
from optimizer.storage.inspection import DataInspection
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.retention import NOTICE
from optimizer.tasks.task import TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue

DAY = 86400.0


class Endings:
    """The part of TaskEndings that deletes."""

    def __init__(self, queue: Queue, files: TaskFiles) -> None:
        self._queue = queue
        self._files = files

    def delete(self, task_id: str, owner: str) -> None:
        self._files.delete(task_id)
        self._queue.manager.delete(task_id)


class Site:
    def __init__(self, queue: Queue, clock: FakeClock, root: Path) -> None:
        self.queue = queue
        self.clock = clock
        self.files = TaskFiles(root)
        self.files.make_folders()
        self.audit = AuditTrail(queue.store.database, clock)

    def retention(self, media: int = 0, text: int = 0) -> Retention:
        """As a server has it that was just started with these settings."""
        retention = Retention(
            Settings(data_dir=self.files.root, keep_media_days=media, keep_text_days=text),
            store=self.queue.store,
            documents=DocumentStore(self.queue.store.database, self.clock),
            queue=self.queue.manager,
            files=self.files,
            endings=Endings(self.queue, self.files),  # type: ignore[arg-type]
            audit=self.audit,
            clock=self.clock,
        )
        retention.open()
        return retention

    def add(self, task_id: str, *, is_finished: bool = True) -> None:
        self.files.media_path(task_id).write_bytes(b"sound")
        self.queue.submit(task_id)
        if is_finished:
            self.queue.complete(self.queue.claim(task_id))

    def has_media(self, task_id: str) -> bool:
        return self.files.media_path(task_id).exists()

    def audited(self) -> list[tuple[str, str]]:
        return [(entry.data["action"], entry.data["task_id"]) for entry in reversed(self.audit.entries())]


@pytest.fixture
def site(queue: Queue, clock: FakeClock, tmp_path: Path) -> Site:
    return Site(queue, clock, tmp_path)


def test_nothing_is_removed_unless_a_setting_says_so(site: Site) -> None:
    site.add("a")
    retention = site.retention()
    site.clock.advance(10_000 * DAY)
    retention.sweep()
    assert site.has_media("a")
    task = site.queue.manager.get("a")
    assert (retention.rules().media_end(task), retention.rules().text_end(task)) == (None, None)


def test_a_recording_is_removed_at_the_announced_time_and_the_text_stays(site: Site) -> None:
    site.add("a")
    site.add("waits", is_finished=False)
    site.queue.claim("waits")
    retention = site.retention(media=30)
    end = retention.rules().media_end(site.queue.manager.get("a"))
    assert end is not None
    assert retention.rules().media_end(site.queue.manager.get("waits")) is None

    site.clock.advance((end - site.clock.now()).total_seconds() - 1)
    retention.sweep()
    assert site.has_media("a")
    site.clock.advance(EVERY_S + 1)
    retention.sweep()

    task = site.queue.manager.get("a")
    assert (site.has_media("a"), site.has_media("waits")) == (False, True)
    assert (task.status, task.media_removed_at) == (TaskStatus.COMPLETED, site.clock.now())
    assert retention.rules().media_end(task) is None
    assert site.audited() == [("media_expired", "a")]
    assert site.queue.changed[-1] == "a"
    assert "removed" in site.queue.manager.timeline("a")[-1].text


def test_an_old_task_is_deleted_wholly_and_what_runs_is_not(site: Site) -> None:
    site.add("a")
    site.add("waits", is_finished=False)
    retention = site.retention(media=30, text=3)
    task = site.queue.manager.get("a")
    assert retention.rules().media_end(task) == retention.rules().text_end(task)
    site.clock.advance(3 * DAY + 1)
    retention.sweep()
    with pytest.raises(TaskNotFoundError):
        site.queue.manager.get("a")
    assert not site.has_media("a")
    assert site.queue.manager.get("waits").status is TaskStatus.PENDING
    assert site.audited() == [("task_expired", "a")]


def test_a_new_setting_removes_nothing_for_a_day(site: Site) -> None:
    site.add("a")
    site.clock.advance(1000 * DAY)
    retention = site.retention(text=7)
    announced = site.clock.now() + NOTICE
    assert retention.rules().text_end(site.queue.manager.get("a")) == announced
    site.clock.advance(NOTICE.total_seconds() - 1)
    retention.sweep()
    site.queue.manager.get("a")

    after_restart = site.retention(text=7)  # the notice goes on where it was
    assert after_restart.rules().text_end(site.queue.manager.get("a")) == announced
    shorter = site.retention(text=6)  # another one begins anew
    assert shorter.rules().text_end(site.queue.manager.get("a")) == site.clock.now() + NOTICE
    site.clock.advance(NOTICE.total_seconds())
    shorter.sweep()
    with pytest.raises(TaskNotFoundError):
        site.queue.manager.get("a")


def test_a_wall_clock_that_jumps_removes_nothing(site: Site) -> None:
    site.add("a")
    retention = site.retention(media=30, text=60)
    site.clock.advance(2 * DAY)
    site.clock.jump(1000 * DAY)
    retention.sweep()
    assert site.has_media("a")
    assert retention.rules().media_end(site.queue.manager.get("a")) == site.clock.now() + NOTICE


def test_a_machine_that_sleeps_at_night_removes_what_is_old_all_the_same(site: Site) -> None:
    site.add("a")
    retention = site.retention(media=1)
    for _ in range(2):
        site.clock.advance(16 * 3600)
        retention.sweep()
        site.clock.sleep(8 * 3600)
        retention.sweep()
    assert not site.has_media("a")


def test_a_kill_after_the_file_is_gone_is_made_up_for(site: Site) -> None:
    site.add("a")
    retention = site.retention(media=1)
    site.clock.advance(2 * DAY)
    site.files.delete_media("a")  # as far as it came
    assert (site.has_media("a"), site.queue.manager.get("a").media_removed_at) == (False, None)
    retention.sweep()
    assert site.queue.manager.get("a").media_removed_at == site.clock.now()
    assert site.audited() == [("media_expired", "a")]


def test_a_task_that_is_tried_again_is_left_alone(site: Site) -> None:
    site.add("a", is_finished=False)
    site.queue.manager.cancel("a")
    retention = site.retention(media=1, text=2)
    site.clock.advance(3 * DAY)
    site.queue.manager.retry("a")
    retention.sweep()
    assert site.has_media("a")
    assert site.audited() == []


def test_many_are_removed_in_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.retention.MOST_AT_ONCE", 2)
    for task_id in "abc":
        site.add(task_id)
    retention = site.retention(media=1)
    site.clock.advance(2 * DAY)
    sweep: Callable[[], None] = retention.sweep
    sweep()
    sweep()  # too soon
    assert sum(map(site.has_media, "abc")) == 1
    site.clock.advance(EVERY_S)
    sweep()
    assert not any(map(site.has_media, "abc"))


def test_doctor_and_backup_do_not_miss_a_recording_that_was_removed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("a", is_finished=False)
    site.queue.manager.cancel("a")
    retention = site.retention(media=1)
    site.clock.advance(2 * DAY)
    retention.sweep()
    assert not site.has_media("a")

    with site.queue.store.database.reading() as connection:
        assert DataInspection(site.files, site.clock.now(), is_served=False).findings(connection) == []
    assert site.files.sweep({"a"}, site.clock.now(), site.queue.store.ids_without_media()).rows_without_media == ()
    monkeypatch.setattr("optimizer.storage.backup._MOST_LOOKS", 0)  # nothing is waited for
    report = write_backup(site.files, tmp_path / "tasks.db", tmp_path / "b.tar", with_media=True, version="1")
    assert (report.tasks, report.recordings) == (1, 0)
