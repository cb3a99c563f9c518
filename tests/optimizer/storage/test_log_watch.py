"""A database's log that somebody removes is missed: at the next start, and while the server runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from errors import DatabaseDamagedError, DataFolderUnusableError
from optimizer.storage.store import TaskStore
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import running_queue


def image_of_a_killed_server(tmp_path: Path) -> Path:
    """Its files as they were while it ran, with tasks that only the log holds."""
    running, killed = tmp_path / "running", tmp_path / "killed"
    running.mkdir()
    with running_queue(running, FakeClock()) as queue:
        for number in range(3):
            queue.submit(f"t{number}")
        shutil.copytree(running, killed)  # with the times of its files
    return killed


def test_a_log_that_was_removed_after_a_kill_stops_the_start(tmp_path: Path) -> None:
    killed = image_of_a_killed_server(tmp_path)
    log = (killed / "tasks.db-wal").read_bytes()
    (killed / "tasks.db-wal").unlink()
    (killed / "tasks.db-shm").unlink()
    before = (killed / "tasks.db").read_bytes()

    with pytest.raises(DataFolderUnusableError, match=r"tasks\.db-wal is missing") as stopped:
        TaskStore(killed).open()
    assert stopped.value.exit_code == 3
    assert (killed / "tasks.db").read_bytes() == before

    (killed / "tasks.db-wal").write_bytes(log)
    with running_queue(killed, FakeClock()) as queue:
        assert queue.store.ids() == {"t0", "t1", "t2"}


def test_without_the_note_the_start_goes_on_without_what_was_lost(tmp_path: Path) -> None:
    killed = image_of_a_killed_server(tmp_path)
    for name in ("tasks.db-wal", "tasks.db-shm", "tasks.db-log-note"):
        (killed / name).unlink()
    with running_queue(killed, FakeClock()) as queue:
        assert queue.store.ids() == set()


def test_a_killed_server_s_log_is_read_and_nothing_is_missed(tmp_path: Path) -> None:
    with running_queue(image_of_a_killed_server(tmp_path), FakeClock()) as queue:
        assert queue.store.ids() == {"t0", "t1", "t2"}


def test_a_server_that_stopped_in_order_leaves_no_note(tmp_path: Path) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
        assert (tmp_path / "tasks.db-log-note").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tasks.db"]
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.store.ids() == {"a"}


def test_a_log_that_is_removed_under_a_running_server_stops_all_writes_and_loses_nothing(tmp_path: Path) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
        (tmp_path / "tasks.db-wal").unlink()
        with pytest.raises(DatabaseDamagedError, match="removed while the server runs"):
            queue.submit("b")
        with pytest.raises(DatabaseDamagedError):
            queue.submit("b")
        assert "Restart the server" in (queue.store.problem() or "")
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.store.ids() == {"a"}


def test_a_note_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
    (tmp_path / "tasks.db-log-note").write_text("what is this")
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.store.ids() == {"a"}


def test_a_command_beside_the_server_s_database_misses_a_removed_log_too(tmp_path: Path) -> None:
    killed = image_of_a_killed_server(tmp_path)
    (killed / "tasks.db-wal").unlink()
    (killed / "tasks.db-shm").unlink()
    with pytest.raises(DataFolderUnusableError, match="is missing"):
        TaskStore(killed).open_beside_server()


def test_a_command_that_writes_a_killed_server_s_log_back_leaves_no_false_alarm(tmp_path: Path) -> None:
    killed = image_of_a_killed_server(tmp_path)
    store = TaskStore(killed)
    store.open_beside_server()
    assert store.ids() == {"t0", "t1", "t2"}
    store.close()
    assert sorted(path.name for path in killed.iterdir()) == ["tasks.db"]
    with running_queue(killed, FakeClock()) as queue:
        assert queue.store.ids() == {"t0", "t1", "t2"}
