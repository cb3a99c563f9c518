"""What happens to the data folder, and what the server makes of it: exit codes, answers, and what `doctor` says."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.paths import MINUTE, ROOT, SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer, noise
from tests.server.test_kills import expected_text, kill_all
from tests.server.test_main import outcome
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server


def run_command(data_dir: Path, *arguments: str) -> tuple[int, str]:
    """`python main.py …` on this data folder: its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=data_dir.parent, env={**os.environ, "DATA_DIR": str(data_dir)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def edit(data_dir: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        connection.execute(statement, values)
        connection.commit()


@pytest.mark.proves("F01")
def test_a_kill_at_any_step_of_a_transcription_costs_nothing(start_server: StartServer, tmp_path: Path) -> None:
    """Before and after the commit of the first window, which the device's thread makes, and around the rename of the
    result."""
    sound = noise(tmp_path / "one.wav", minutes=1)  # two windows
    commits = [f"store.{when}_commit@1=kill/device-" for when in ("before", "after")]
    renames = [f"transcript.{when}@1=kill" for when in ("before_rename", "written")]
    for number, step in enumerate(commits + renames):
        if number:
            (tmp_path / "data").rename(tmp_path / f"data-{number}")
        with start_server(FAULTS=step) as server:
            client = Client(server)
            # Slow enough that the upload is answered first, and that the windows are not committed together.
            task_id = client.upload(sound, initial_prompt="window_s=0.5")["id"]
            assert server.wait() == -9
        with start_server() as server:
            client = Client(server)
            assert client.task(task_id)["status"] in ("pending", "processing", "completed")
            task = client.wait_for(task_id, "completed")
            codes = [(event["code"], event["data"].get("code")) for event in timeline(client, task_id)]
            assert ("interrupted", "interrupted") in codes, step
            assert task["attempts"] >= 2
            assert client.transcript(task_id)["text"] == expected_text(sound)
            assert [path.name for path in (server.data_dir / "transcripts").iterdir()] == [f"{task_id}.json"]


def timeline(client: Client, task_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = client.get(f"/api/tasks/{task_id}/timeline").json()["events"]
    return events


@pytest.mark.proves("F06")
def test_a_log_that_somebody_removed_after_a_kill_stops_the_start_with_3(start_server: StartServer) -> None:
    with start_server() as server:
        client = Client(server)
        task_id = client.upload(MINUTE, initial_prompt="hold@0")["id"]
        client.wait_for(task_id, "processing")
        kill_all(server)
    data_dir = server.data_dir
    log = (data_dir / "tasks.db-wal").read_bytes()
    (data_dir / "tasks.db-wal").unlink()
    (data_dir / "tasks.db-shm").unlink(missing_ok=True)
    before = (data_dir / "tasks.db").read_bytes()
    code, told = outcome(start_server())
    assert (code, "tasks.db-wal is missing" in told, "Traceback" in told) == (3, True, False)
    assert (data_dir / "tasks.db").read_bytes() == before
    (data_dir / "tasks.db-wal").write_bytes(log)
    with start_server() as server:
        assert Client(server).task(task_id)["status"] in ("pending", "processing")


def test_a_log_that_is_removed_while_the_server_runs_makes_it_not_ready(start_server: StartServer) -> None:
    with start_server() as server:
        client = Client(server)
        task_id = client.wait_for(client.upload(SHORT)["id"], "completed")["id"]
        (server.data_dir / "tasks.db-wal").unlink()
        ready = client.get("/readyz")
        assert (ready.status_code, "was removed" in ready.text) == (503, True)
        assert client.try_upload(SHORT).status_code >= 500
        assert client.task(task_id)["status"] == "completed"
    with start_server() as server:
        assert Client(server).task(task_id)["status"] == "completed"


@pytest.mark.parametrize(("name", "make"), [("lock", Path.mkdir), ("tasks.db", Path.mkdir)])
def test_what_cannot_be_used_is_named_in_one_line(
    start_server: StartServer, tmp_path: Path, name: str, make: object
) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data" / name)  # type: ignore[operator]
    code, told = outcome(start_server())
    assert (code, f"{name} must be a file of its own" in told, "Traceback" in told) == (3, True, False)


@pytest.mark.proves("F27")
def test_a_scheduler_that_dies_goes_on_and_one_that_dies_again_and_again_ends_with_70(
    start_server: StartServer,
) -> None:
    with start_server(FAULTS="scheduler.iteration@3=exit", BATCH_SCHEDULE_INTERVAL="0.2") as server:
        client = Client(server)
        task_id = client.upload(SHORT)["id"]
        client.wait_until(lambda: "scheduler_died" in "".join(server.lines), "a death of the scheduler")
        assert client.wait_for(task_id, "completed")["attempts"] == 1
        # The task may have been done before the death; after that the server pauses, and is not healthy, for a moment.
        client.wait_until(lambda: client.get("/healthz").status_code == 200, "a scheduler that goes on")
    with start_server(FAULTS="scheduler.iteration@3-1000=exit", BATCH_SCHEDULE_INTERVAL="0.2") as server:
        Client(server).wait_until(lambda: not psutil.pid_exists(server.pid) or is_zombie(server.pid), "its end")
        assert server.wait() == 70


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.proves("F28")
def test_behind_another_writer_requests_get_503_and_results_wait(start_server: StartServer, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    with start_server() as server:
        client = Client(server)
        running = client.upload(SHORT, initial_prompt=f"hold_until={go_on}")["id"]
        client.wait_for(running, "processing")
        waiting = client.upload(SHORT)["id"]
        with closing(sqlite3.connect(server.data_dir / "tasks.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            go_on.touch()
            with ThreadPoolExecutor(1) as pool:
                address = f"{client.address}/api/tasks/{waiting}"
                write = pool.submit(requests.patch, address, json={"priority": "high"}, timeout=60)
                reads = [client.get(f"/api/tasks/{waiting}")]
                while wait([write], timeout=0.5).not_done:
                    reads.append(client.get(f"/api/tasks/{waiting}"))
            refused = write.result()
            assert {read.status_code for read in reads} == {200}
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_busy")
            assert int(refused.headers["Retry-After"]) > 0
            slowest_read = max(read.elapsed for read in reads)  # what a request takes on this machine now
            assert refused.elapsed < timedelta(seconds=8) + slowest_read
            client.wait_until(lambda: "storing_waits" in "".join(server.lines), "a result that waits")
            other.execute("ROLLBACK")
        for task_id in (running, waiting):
            assert client.wait_for(task_id, "completed")["attempts"] == 1


@pytest.mark.proves("F29")
def test_a_second_server_ends_with_4_and_a_killed_one_leaves_the_folder_free(start_server: StartServer) -> None:
    with start_server() as first:
        code, told = outcome(start_server())
        assert (code, f"in use by pid {first.worker.pid}" in told) == (4, True)
        client = Client(first)
        task_id = client.wait_for(client.upload(SHORT)["id"], "completed")["id"]
        kill_all(first)
    with start_server() as second:
        assert Client(second).task(task_id)["status"] == "completed"


@pytest.mark.proves("F34")
def test_a_task_is_deleted_while_it_runs_and_while_it_is_downloaded(
    start_server: StartServer, twenty_minutes: Path
) -> None:
    with start_server() as server:
        client = Client(server)
        task_id = client.upload(twenty_minutes, initial_prompt="window_s=0.2")["id"]
        client.wait_for_progress(task_id, beyond=0)
        with requests.get(f"{client.address}/api/tasks/{task_id}/media", stream=True, timeout=30) as download:
            received = download.raw.read(100_000)
            barrier, codes = threading.Barrier(4), []

            def delete() -> None:
                barrier.wait(10)
                codes.append(requests.delete(f"{client.address}/api/tasks/{task_id}", timeout=30).status_code)

            threads = [threading.Thread(target=delete) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            received += download.raw.read()
        assert received == twenty_minutes.read_bytes()
        assert sorted(set(codes)) in ([204], [204, 404])
        assert client.get(f"/api/tasks/{task_id}").status_code == 404
        client.wait_until(lambda: client.get("/api/system").json()["devices"][0]["tasks"] == [], "a free device")
        left = [path for path in server.data_dir.rglob("*") if task_id in path.name]
        assert left == []


@pytest.mark.proves("F42")
def test_a_row_that_cannot_be_read_costs_its_own_task_only(start_server: StartServer) -> None:
    with start_server() as server:
        client = Client(server)
        blocker = client.upload(MINUTE, initial_prompt="hold@0")["id"]
        client.wait_for(blocker, "processing")
        bad_json, unknown_state, no_media, good = (client.upload(SHORT)["id"] for _ in range(4))
        kill_all(server)
    data_dir = server.data_dir
    edit(data_dir, "UPDATE tasks SET options = '{not json' WHERE id = ?", bad_json)
    edit(data_dir, "UPDATE tasks SET status = 'sleeping' WHERE id = ?", unknown_state)
    edit(data_dir, "UPDATE tasks SET audio_seconds = NULL WHERE id = ?", no_media)
    (data_dir / "media" / no_media).unlink()
    with start_server() as server:
        client = Client(server)
        client.delete(blocker)
        assert [client.wait_for(each, "failed")["error"]["code"] for each in (bad_json, unknown_state, no_media)] == [
            "bad_record", "bad_record", "source_missing",
        ]  # fmt: skip
        assert client.wait_for(good, "completed")["error"] is None
        kill_all(server)
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        (kept,) = connection.execute("SELECT options FROM tasks WHERE id = ?", (bad_json,)).fetchone()
        (told,) = connection.execute("SELECT errors FROM tasks WHERE id = ?", (unknown_state,)).fetchone()
    assert (kept, "'sleeping'" in told) == ("{not json", True)


@pytest.mark.proves("F43")
def test_files_that_are_removed_or_altered_are_missed_and_reported(start_server: StartServer) -> None:
    with start_server() as server:
        client = Client(server)
        no_media, no_text, altered = (client.wait_for(client.upload(SHORT)["id"], "completed")["id"] for _ in range(3))
        lost = client.upload(MINUTE, initial_prompt="hold@0")["id"]
        data_dir = server.data_dir
        (data_dir / "media" / no_media).unlink()
        (data_dir / "transcripts" / f"{no_text}.json").unlink()
        text = data_dir / "transcripts" / f"{altered}.json"
        text.write_bytes(text.read_bytes().replace(b"en", b"de"))
        for path in (f"{no_media}/media", f"{no_text}/transcript", f"{altered}/transcript"):
            answer = client.get(f"/api/tasks/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (410, "file_missing"), path
        code, told = run_command(data_dir, "doctor")
        assert (code, sorted(told.splitlines()[:3])) == (
            1,
            sorted(
                [
                    f"{no_media}: its recording is gone",
                    f"{no_text}: its transcript is gone",
                    f"{altered}: its transcript has a wrong checksum",
                ]
            ),
        )
        client.wait_for(lost, "processing")
        kill_all(server)
    (data_dir / "media" / lost).unlink()
    (data_dir / "audio" / f"{lost}.pcm").unlink()
    with start_server() as server:
        assert Client(server).wait_for(lost, "failed")["error"]["code"] == "source_missing"


@pytest.mark.proves("S30")
def test_everything_in_the_data_folder_is_for_this_user_only_and_no_link_is_followed(
    start_server: StartServer, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for anybody")
    with start_server() as server:
        client = Client(server)
        task_id = client.wait_for(client.upload(SHORT)["id"], "completed")["id"]
        running = client.upload(MINUTE, initial_prompt="hold@0")["id"]
        client.wait_for(running, "processing")
        data_dir = server.data_dir
        modes = {path: path.lstat().st_mode & 0o777 for path in (data_dir, *data_dir.rglob("*"))}
        assert {
            str(path): oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)
        } == {}
        for path, address in (("media/{}", "media"), ("transcripts/{}.json", "transcript")):
            planted = data_dir / path.format(task_id)
            planted.unlink()
            planted.symlink_to(secret)
            answer = client.get(f"/api/tasks/{task_id}/{address}")
            assert (answer.status_code, secret.read_text() in answer.text) == (410, False)
        client.delete(task_id)
        assert secret.read_text() == "not for anybody"


@pytest.mark.proves("S32")
def test_nothing_of_a_deleted_task_is_left_in_the_data_folder(start_server: StartServer, tmp_path: Path) -> None:
    """Name, prompt, sound and text, beside others who read; while one reads an older state, until that ends."""
    marker = "Zanzibar-4711"
    sound = tmp_path / f"{marker}.flac"
    sound.write_bytes(SHORT.read_bytes())
    with start_server(PERFORMANCE_MONITOR_INTERVAL="1") as server:
        client = Client(server)
        keep = client.wait_for(client.upload(MINUTE)["id"], "completed")["id"]
        is_over = threading.Event()

        def read() -> None:
            while not is_over.is_set():
                client.get("/api/tasks", q="zan")

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(10):
                task_id = client.upload(sound, initial_prompt=marker)["id"]
                client.wait_for(task_id, "completed")
                markers = (marker, client.transcript(task_id)["text"].strip())
                client.delete(task_id)
                wait_for_nothing_of(client, server, *markers)
        finally:
            is_over.set()
            reader.join()
        task_id = client.wait_for(client.upload(sound, initial_prompt=marker)["id"], "completed")["id"]
        with closing(sqlite3.connect(server.data_dir / "tasks.db", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM tasks").fetchone()
            client.delete(task_id)
            assert "tasks.db-wal" in found(server.data_dir, marker)
        wait_for_nothing_of(client, server, marker)
        assert client.task(keep)["status"] == "completed"


def wait_for_nothing_of(client: Client, server: RunningServer, *markers: str) -> None:
    client.wait_until(lambda: found(server.data_dir, *markers) == [], f"nothing of {markers}", limit_s=60)


def found(data_dir: Path, *markers: str) -> list[str]:
    """The files that hold one of the markers, in whatever case."""
    words = [marker.lower().encode() for marker in markers]
    names = []
    for path in data_dir.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):
            if any(word in path.read_bytes().lower() for word in words):
                names.append(str(path.relative_to(data_dir)))
    return sorted(names)


@pytest.mark.proves("F38")
def test_every_bad_setting_of_an_env_file_is_named_at_once_and_a_good_one_is_read(
    start_server: StartServer, tmp_path: Path
) -> None:
    """With a byte order mark, CRLF and quotes, as editors on other systems write them."""
    lines = [
        "PORT=abc", "MAX_AUDIO_HOURS=-1", "DEVICES=toaster", 'SECRET_KEY="too-short-a-secret"',
        "DEFAULT_MODEL=enormous", "LOG_LEVEL='LOUD'", "NO_SUCH_SETTING=1",
    ]  # fmt: skip
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    code, told = outcome(RunningServer(tmp_path, module="main", arguments=[], env={"DATA_DIR": str(tmp_path / "data")}))
    assert code == 2
    for name in ("PORT = 'abc'", "MAX_AUDIO_HOURS = '-1'", "DEVICES = 'toaster'", "DEFAULT_MODEL = 'enormous'", "LOUD"):
        assert name in told
    assert "SECRET_KEY = (hidden)" in told
    assert ("too-short-a-secret" in told, "Traceback" in told) == (False, False)
    assert not (tmp_path / "data").exists()

    env_file.write_bytes(b"\xef\xbb\xbf" + b"MAX_UPLOAD_MB='7'\r\nNO_SUCH_SETTING=1\r\n")
    with start_server("main") as server:
        settings = Client(server).get("/api/system").json()["settings"]
        assert settings["MAX_UPLOAD_MB"] == 7
        assert any("NO_SUCH_SETTING" in line for line in server.lines)
        server.send(signal.SIGTERM)
        assert server.wait() == 0
