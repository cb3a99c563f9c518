"""A database that is damaged or missing stops the start and is left as it is; a torn log loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import DatabaseDamagedError
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import running_queue


def damaged_at_the_start(content: bytes) -> bytes:
    return b"\xff" * 4096 + content[4096:]


def damaged_in_the_middle(content: bytes) -> bytes:
    return content[:4096] + b"\x5a" * 8192 + content[12288:]


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [damaged_at_the_start, damaged_in_the_middle, cut_short])
def test_a_damaged_database_stops_the_start_and_is_left_as_it_is(tmp_path: Path, damage: object) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        for number in range(30):
            queue.submit(f"t{number}")
    file = tmp_path / "tasks.db"
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    before = file.read_bytes()

    with pytest.raises(DatabaseDamagedError) as stopped:
        TaskStore(tmp_path).open()

    assert stopped.value.exit_code == 3
    assert "tasks.db was left as it is" in stopped.value.message
    assert str(tmp_path) not in stopped.value.message
    assert file.read_bytes() == before


def test_the_advice_names_the_latest_backup(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    (tmp_path / "tasks.db.before-0002").write_bytes(b"")

    with pytest.raises(DatabaseDamagedError, match=r"cp tasks\.db\.before-0002 tasks\.db"):
        TaskStore(tmp_path).open()


@pytest.mark.parametrize("folder", ["media", "transcripts"])
def test_a_missing_database_beside_files_is_not_replaced_by_an_empty_one(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "01ABC").write_bytes(b"sound")

    with pytest.raises(DatabaseDamagedError, match="missing"):
        TaskStore(tmp_path).open()
    assert not (tmp_path / "tasks.db").exists()


def test_a_database_of_an_interrupted_first_start_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").touch()
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.submit("a").status is TaskStatus.PENDING


@pytest.mark.proves("F04")
def test_a_torn_log_loses_no_acknowledged_task(tmp_path: Path) -> None:
    """The log is cut at every frame and a byte to either side, and a bit of each frame is flipped.

    What was answered when the log was so long is there, complete; of the rest there may be some, but no half task.
    """
    base = tmp_path / "base"
    base.mkdir()
    log_file = base / "tasks.db-wal"
    answered: list[tuple[int, set[str]]] = []  # how long the log was, and which tasks were acknowledged by then
    with running_queue(base, FakeClock()) as queue:
        for number in range(3):
            queue.submit(f"t{number}")
            answered.append((log_file.stat().st_size, {f"t{n}" for n in range(number + 1)}))
        queue.complete(queue.claim("t0"))
        completed_at = log_file.stat().st_size
        database, log = (base / "tasks.db").read_bytes(), log_file.read_bytes()

    frame = 24 + 4096
    ends = range(32, len(log) + 1, frame)
    torn = {end + shift: log[: end + shift] for end in ends for shift in (-1, 0, 1) if 0 <= end + shift <= len(log)}
    flipped = {end: log[:end] + bytes([log[end] ^ 1]) + log[end + 1 :] for end in ends if end < len(log)}
    images = [*torn.items(), *flipped.items()]  # so many bytes are whole
    for number, (whole, image) in enumerate(images):
        data_dir = tmp_path / f"image-{number}"
        data_dir.mkdir()
        (data_dir / "tasks.db").write_bytes(database)
        (data_dir / "tasks.db-wal").write_bytes(image)
        with running_queue(data_dir, FakeClock()) as queue:
            found = {task_id: queue.manager.get(task_id) for task_id in queue.store.ids()}
        assert found.keys() >= max((ids for size, ids in answered if size <= whole), key=len, default=set())
        assert {task.audio_seconds for task in found.values()} <= {60.0}
        if whole >= completed_at:
            assert found["t0"].status is TaskStatus.COMPLETED
    assert len(images) > 60
