"""A folder that the whole system watches."""

from __future__ import annotations

from pathlib import Path

from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.paths import SHORT
from tests.system.conftest import Open, Watcher


def test_a_recording_that_is_put_into_the_folder_gets_its_text_there(open_system: Open, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "talk.flac").write_bytes(SHORT.read_bytes())
    settings = {"watch_dir": str(folder), "watch_interval": 0.1, "watch_settled": 0, "watch_when_done": "move"}
    with open_system(**settings) as system:
        watcher = Watcher(system)
        watcher.wait_until((folder / "done" / "talk.flac").exists, "the recording to be moved")
        (view,), _, _ = system.tasks(TaskFilter())
    assert view.task.status is TaskStatus.COMPLETED
    assert sorted(path.name for path in folder.iterdir()) == ["done", "talk.srt", "talk.txt"]
