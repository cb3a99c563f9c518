"""Recordings are decoded a little ahead of the devices, and neither a bomb nor a missing ffmpeg harms anybody else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.paths import SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer, server_in
from tests.whisper_core.audio.media_corpus import MediaCorpus
from whisper_core.audio.decode import find_ffmpeg

pytestmark = pytest.mark.server

BOMBS = 8
DISK_MB, FLOOR_MB = 200, 100
BUDGET_MB = 20
WORK = "window_s=0.01"  # what the fake engine understands: 2.4 s for two hours


def samples_bytes(data_dir: Path) -> int:
    return sum(file.stat().st_size for file in (data_dir / "audio").iterdir() if file.exists())


def test_bombs_fill_no_disk_and_hold_nobody_up(start_server: StartServer, tmp_path: Path) -> None:
    """Each is small and two hours of samples, 230 MB; a clip that comes after them is done long before they are."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    bomb = MediaCorpus(folder).silence(hours=2)
    with start_server(DECODE_AHEAD_MB=str(BUDGET_MB), MAX_CONCURRENT_TASKS_LIMIT="1") as server:
        client, most = Client(server), 0
        bombs = [client.upload(bomb, initial_prompt=WORK)["id"] for _ in range(BOMBS)]
        clip = client.upload(SHORT, initial_prompt="other", priority="high")["id"]

        def is_done() -> bool:
            nonlocal most
            most = max(most, samples_bytes(server.data_dir))
            return bool(client.task(clip)["status"] == "completed")

        client.wait_until(is_done, "the clip")
        # The running one and the next one, which are as long as they are, and the budget for the others.
        assert most <= 2 * 7200 * 32_000 + BUDGET_MB * 1_000_000
        statuses = [client.task(task_id)["status"] for task_id in bombs]
        assert "failed" not in statuses
        assert "pending" in statuses
        assert requests.get(f"{server.address}/readyz", timeout=30).status_code == 200
        for task_id in bombs:
            client.delete(task_id)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk, and not in every container")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_bomb_on_a_small_disk_leaves_its_floor_alone_and_waits(small_disk: Path, tmp_path: Path) -> None:
    """Two hours of samples are more than the disk. A clip is transcribed beside it, and nothing fails."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    bomb = MediaCorpus(folder).silence(hours=2)
    least_free = shutil.disk_usage(small_disk).free
    with server_in(small_disk, MIN_FREE_DISK_MB=str(FLOOR_MB), PERFORMANCE_MONITOR_INTERVAL="1") as server:
        client = Client(server)
        waiting = client.upload(bomb)["id"]

        def readiness() -> list[str]:
            nonlocal least_free
            least_free = min(least_free, shutil.disk_usage(small_disk).free)
            reasons: list[str] = client.get("/readyz").json()["reasons"]
            return reasons

        client.wait_until(lambda: "the disk is nearly full" in readiness(), "the reason")
        task = client.task(waiting)
        assert (task["status"], task["waiting"]["code"], task["audio_seconds"]) == ("pending", "disk_short", 7200.0)
        assert client.wait_for(client.upload(SHORT)["id"], "completed")["error"] is None
        assert client.task(waiting)["status"] == "pending"
        assert least_free >= FLOOR_MB * 1_000_000
        client.delete(waiting)
        client.wait_until(lambda: readiness() == [], "readiness")


def test_measured_tasks_without_samples_survive_a_restart(start_server: StartServer, tmp_path: Path) -> None:
    """Their length and place are known, their samples are made when their turn comes, and all are transcribed."""
    with start_server(DECODE_AHEAD_MB="0", MAX_CONCURRENT_TASKS_LIMIT="1") as server:
        client = Client(server)
        first = client.upload(SHORT, initial_prompt="hold@0")["id"]
        client.wait_for(first, "processing")
        others = [client.upload(SHORT, initial_prompt=str(number))["id"] for number in range(4)]
        assert {client.task(task_id)["audio_seconds"] for task_id in others} == {client.task(first)["audio_seconds"]}
        assert {task.stem for task in (server.data_dir / "audio").glob("*.pcm")} <= {first, others[0]}
    with start_server(DECODE_AHEAD_MB="0", MAX_CONCURRENT_TASKS_LIMIT="1") as server:
        client = Client(server)
        client.delete(first)  # not before: another one would begin while the server stops
        assert [client.wait_for(task_id, "completed")["attempts"] for task_id in others] == [1, 1, 1, 1]
        assert samples_bytes(server.data_dir) == 0


@pytest.mark.proves("F19")
def test_without_ffmpeg_tasks_stay_pending_until_it_is_there(start_server: StartServer, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    with start_server(FFMPEG_BINARY=str(program), PERFORMANCE_MONITOR_INTERVAL="1") as server:
        client = Client(server)
        readiness = client.get("/readyz")
        assert readiness.status_code == 503
        assert [reason for reason in readiness.json()["reasons"] if "ffmpeg" in reason] != []
        task = client.upload(SHORT)
        assert (task["status"], task["error"], task["audio_seconds"]) == ("pending", None, None)

        program.parent.mkdir()
        shutil.copy(find_ffmpeg(), program.with_name("copy"))
        program.with_name("copy").rename(program)
        done = client.wait_for(task["id"], "completed")
        assert (done["attempts"], done["error"]) == (1, None)
        assert client.get("/readyz").status_code == 200
    lines = "".join(server.lines)
    assert "event=nothing_can_be_decoded reason=ffmpeg was not found" in lines
    assert "event=decoder_sandbox" in lines
