"""Cancel and delete on a full disk, told by what the database raises; tests/server/test_full_disk.py has a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from errors import DiskFullError
from optimizer.common import failpoints
from optimizer.storage.disk_reserve import RESERVED_BYTES, DiskReserve
from optimizer.tasks.task import TaskStatus
from tests.paths import SHORT
from tests.system.conftest import HOLD, Open, Submit, Watcher


@pytest.fixture(autouse=True)
def nothing_stays_armed() -> Iterator[None]:
    yield
    failpoints.disarm()


def test_a_cancel_and_a_delete_use_the_reserve(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    reserve = tmp_path / "data" / "reserve"

    def full() -> None:
        if reserve.exists():
            raise DiskFullError()

    with open_system(performance_monitor_interval=3600) as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT, knobs=HOLD) for _ in range(2)]
        watcher.wait_for(ids[0], TaskStatus.PROCESSING)
        assert reserve.stat().st_size == RESERVED_BYTES
        failpoints.arm({"store.before_commit": full})
        system.cancel(ids[1])
        assert not reserve.exists()
        failpoints.disarm()
        system._tick()
        assert reserve.exists()
        failpoints.arm({"store.before_commit": full})
        system.delete(ids[0])
        assert not reserve.exists()
        failpoints.disarm()
        assert [path.name for path in (tmp_path / "data" / "media").iterdir()] == [ids[1]]


def test_without_a_reserve_a_cancel_says_so_and_a_delete_still_frees_its_files(
    open_system: Open, submit: Submit, tmp_path: Path
) -> None:
    media = tmp_path / "data" / "media"

    def full() -> None:
        if any(media.iterdir()):
            raise DiskFullError()

    with open_system(performance_monitor_interval=3600) as system:
        task_id = submit(system, SHORT, knobs=HOLD)
        Watcher(system).wait_for(task_id, TaskStatus.PROCESSING)
        (tmp_path / "data" / "reserve").unlink()
        failpoints.arm({"store.before_commit": full})
        with pytest.raises(DiskFullError):
            system.cancel(task_id)
        assert system.task(task_id).task.status is TaskStatus.PROCESSING
        system.delete(task_id)
        assert list(media.iterdir()) == []


@pytest.mark.parametrize(("free", "is_taken"), [(2 * RESERVED_BYTES, True), (2 * RESERVED_BYTES - 1, False)])
def test_the_reserve_is_taken_only_if_as_much_is_left(tmp_path: Path, free: int, is_taken: bool) -> None:
    reserve = DiskReserve(tmp_path / "reserve", lambda: free, 0)
    reserve.fill()
    reserve.fill()
    assert (tmp_path / "reserve").exists() is is_taken
    assert reserve.release() is is_taken
    assert reserve.release() is False
