"""A backup that is made while people upload and delete comes back whole, and the tasks in it are finished."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.paths import MINUTE, SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer, server_in
from tests.server.test_data_faults import run_command

pytestmark = pytest.mark.server


def test_a_backup_under_load_is_restored_and_all_its_tasks_complete(start_server: StartServer, tmp_path: Path) -> None:
    backup, other = tmp_path / "backup.tar", tmp_path / "other"
    other.mkdir()
    with start_server() as server:
        client = Client(server)
        kept = [client.upload(SHORT)["id"] for _ in range(3)]
        running = client.upload(MINUTE, initial_prompt=f"hold_until={backup}")["id"]  # while there is no backup
        client.wait_for(running, "processing")
        kept.append(running)
        is_over = threading.Event()

        def work() -> None:
            while not is_over.is_set():
                client.delete(client.upload(SHORT)["id"])

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            assert run_command(server.data_dir, "backup", str(backup))[0] == 0
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    assert run_command(other / "data", "restore", str(backup))[0] == 0
    assert run_command(other / "data", "doctor", "--checksums") == (0, "Nothing found.\n")
    with server_in(other) as server:
        client = Client(server)
        for task in client.get("/api/tasks").json()["tasks"]:
            assert client.wait_for(task["id"], "completed")["error"] is None
        assert {client.task(task_id)["status"] for task_id in kept} == {"completed"}
