"""A really full disk: nothing is lost, and a person can free space by the page."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.paths import MINUTE, SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.server.test_kills import kill_all

pytestmark = pytest.mark.server

DISK_BYTES = 24_000_000
MIN_FREE_DISK_MB = "1"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The data folder as a file system of its own."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "none", str(data_dir)]
    if os.getuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        yield data_dir
    finally:
        subprocess.run(["umount", "--lazy", str(data_dir)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not one byte more fits within the block."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1_000_000, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    try:
        yield
    finally:
        filler.unlink(missing_ok=True)


def cancel(client: Client, task_id: str) -> requests.Response:
    return requests.post(f"{client.address}/api/tasks/{task_id}/cancel", timeout=30)


def delete(client: Client, task_id: str) -> requests.Response:
    return requests.delete(f"{client.address}/api/tasks/{task_id}", timeout=30)


def test_on_a_full_disk_tasks_can_be_cancelled_and_deleted(start_server: StartServer, small_disk: Path) -> None:
    with start_server(MIN_FREE_DISK_MB=MIN_FREE_DISK_MB) as server:
        client = Client(server)
        done = [client.upload(SHORT)["id"] for _ in range(3)]
        for task_id in done:
            client.wait_for(task_id, "completed")
        running = client.upload(MINUTE, initial_prompt="hold@0")["id"]
        client.wait_for(running, "processing")
        waiting = [client.upload(SHORT)["id"] for _ in range(2)]
        assert (small_disk / "reserve").stat().st_size > 0
        with full(small_disk):
            assert cancel(client, waiting[0]).status_code == 200
            assert client.task(waiting[0])["status"] == "cancelled"
            for task_id in (*done, running, *waiting):
                assert delete(client, task_id).status_code == 204, task_id
            assert client.get("/api/tasks").json()["tasks"] == []
            assert list((small_disk / "media").iterdir()) == []
        assert client.wait_for(client.upload(SHORT)["id"], "completed")["error"] is None


def test_a_server_whose_disk_was_full_when_it_was_killed_starts_and_lets_tasks_be_deleted(
    start_server: StartServer, small_disk: Path
) -> None:
    with start_server() as server:
        client = Client(server)
        running = client.upload(MINUTE, initial_prompt="hold@0")["id"]
        client.wait_for(running, "processing")
        done = client.upload(SHORT)["id"]
        with full(small_disk):
            kill_all(server)
            with start_server() as again:
                client = Client(again)
                assert client.task(running)["status"] in ("pending", "processing")
                for task_id in (running, done):
                    assert delete(client, task_id).status_code == 204


@pytest.mark.proves("F09")
def test_a_commit_that_does_not_fit_is_rolled_back_and_a_finished_text_waits_for_space(
    start_server: StartServer, small_disk: Path, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"
    with start_server(MIN_FREE_DISK_MB=MIN_FREE_DISK_MB) as server:
        client = Client(server)
        running = client.upload(SHORT, initial_prompt=f"hold_until={go_on}")["id"]
        client.wait_for(running, "processing")
        waiting = client.upload(SHORT)["id"]
        with full(small_disk):
            go_on.touch()
            client.wait_until(lambda: "storing_waits" in "".join(server.lines), "a text that cannot be stored")
            refused = requests.patch(f"{client.address}/api/tasks/{waiting}", json={"priority": "high"}, timeout=30)
            assert (refused.status_code, refused.json()["error"]["code"]) == (507, "disk_full")
            assert int(refused.headers["Retry-After"]) > 0
            assert client.task(waiting)["priority"] == "normal"
            ready = client.get("/readyz")
            assert (ready.status_code, "disk" in ready.text) == (503, True)
            assert (client.task(running)["status"], client.task(waiting)["status"]) == ("processing", "pending")
        for task_id in (running, waiting):
            task = client.wait_for(task_id, "completed")
            assert (task["attempts"], task["error"]) == (1, None)
        client.wait_until(lambda: client.get("/readyz").status_code == 200, "a server that is ready")
        assert len(list((small_disk / "transcripts").iterdir())) == 2
