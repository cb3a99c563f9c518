"""A watched folder of the real server, which is killed at each step."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.common.failpoints import FAILPOINTS
from tests.paths import SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer

STEPS = [name for name in FAILPOINTS if name.startswith("watch.")]


@pytest.mark.slow
def test_a_server_that_is_killed_at_each_step_does_each_recording_once(
    start_server: StartServer, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    settings = {
        "WATCH_DIR": str(folder),
        "WATCH_INTERVAL": "0.1",
        "WATCH_SETTLED": "0",
        "WATCH_WHEN_DONE": "move",
        "WATCH_FORMATS": "srt",
    }
    for number, step in enumerate(STEPS):
        recording = SHORT.read_bytes() + b"\0" * number
        (folder / "sub" / f"{number}.flac").write_bytes(recording)
        with start_server(FAULTS=f"{step}@1=kill", **settings) as server:
            assert server.wait() == -9, step
    with start_server(**settings) as server:
        client = Client(server)
        done = [folder / "done" / "sub" / f"{number}.flac" for number in range(len(STEPS))]
        client.wait_until(lambda: all(path.exists() for path in done), "all to be done")
        tasks = client.get("/api/tasks").json()["tasks"]
    assert sorted(task["filename"] for task in tasks) == [path.name for path in done]
    assert {task["status"] for task in tasks} == {"completed"}
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {f"done/sub/{path.name}" for path in done} | {f"sub/{path.stem}.srt" for path in done}
