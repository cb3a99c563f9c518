"""Accounts on the real server: two people and the admin, and commands that make and revoke keys while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from tests.paths import ROOT, SHORT
from tests.server.conftest import StartServer
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

ALICE, MALLORY, ADMIN = "a" * 40, "m" * 40, "r" * 40
API_KEYS = f"alice:{ALICE},mallory:{MALLORY},admin:{ADMIN}"
COUNTS_LIMIT_S = 60.0  # a key counts within 5 s; the rest is for a busy machine


def ask(server: RunningServer, key: str, path: str, method: str = "GET") -> requests.Response:
    return requests.request(
        method, server.address + path, headers={"Authorization": f"Bearer {key}"}, timeout=30, allow_redirects=False
    )


def upload(server: RunningServer, key: str) -> requests.Response:
    with SHORT.open("rb") as file:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "same-for-all"}
        return requests.post(f"{server.address}/api/tasks", files={"file": file}, headers=headers, timeout=30)


def keys(data_dir: Path, *arguments: str) -> str:
    """What the command prints. It runs beside the server."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "keys", *arguments],
        cwd=data_dir.parent, capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "DATA_DIR": str(data_dir), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.stdout


def wait_for_status(server: RunningServer, key: str, status: int) -> None:
    pause, waited_s = threading.Event(), 0.0
    while ask(server, key, "/api/tasks").status_code != status:
        assert waited_s < COUNTS_LIMIT_S
        pause.wait(0.2)
        waited_s += 0.2


def test_people_have_their_own_tasks_and_the_admin_has_all(start_server: StartServer) -> None:
    with start_server(API_KEYS=API_KEYS) as server:
        alice, mallory = upload(server, ALICE), upload(server, MALLORY)
        assert (alice.status_code, mallory.status_code) == (202, 202)
        own, other = alice.json()["task"]["id"], mallory.json()["task"]["id"]
        for path in ("", "/timeline", "/transcript", "/media"):
            assert ask(server, ALICE, f"/api/tasks/{own}{path}").status_code == 200
            assert ask(server, MALLORY, f"/api/tasks/{own}{path}").status_code == 404
        assert ask(server, MALLORY, f"/api/tasks/{own}", "DELETE").status_code == 404
        listed = ask(server, ALICE, "/api/tasks").json()
        assert [task["id"] for task in listed["tasks"]] == [own]
        assert sum(listed["counts"].values()) == 1
        assert sum(ask(server, MALLORY, "/api/system").json()["counts"].values()) == 1
        assert own not in ask(server, MALLORY, "/api/system/events").text
        tasks = ask(server, ADMIN, "/api/tasks").json()["tasks"]
        assert {task["id"]: task["owner"] for task in tasks} == {own: "alice", other: "mallory"}
        assert ask(server, ADMIN, f"/api/tasks/{own}", "DELETE").status_code == 204
        (entry,) = ask(server, ADMIN, "/api/system/events?kind=audit").json()["events"]
        assert (entry["data"]["action"], entry["data"]["by"], entry["data"]["task_id"]) == (
            "task_deleted",
            "admin",
            own,
        )
    log = "".join(server.lines)
    assert not [key for key in (ALICE, MALLORY, ADMIN) if key in log]


def test_keys_are_made_and_revoked_while_the_server_runs(start_server: StartServer) -> None:
    with start_server() as server:
        assert requests.get(f"{server.address}/api/tasks", timeout=30).status_code == 200
        key = keys(server.data_dir, "add", "admin").strip()
        wait_for_status(server, "a stranger's", 401)
        assert ask(server, key, "/api/tasks").status_code == 200
        key_id = keys(server.data_dir, "list").splitlines()[1].split()[0]
        keys(server.data_dir, "revoke", key_id)
        wait_for_status(server, key, 401)
        assert requests.get(f"{server.address}/healthz", timeout=30).status_code == 200


def test_a_quota_is_answered_before_the_upload_is_read(start_server: StartServer) -> None:
    with start_server(API_KEYS=API_KEYS, MAX_STORED_MB_PER_OWNER="1") as server:
        headers = {"Authorization": f"Bearer {ALICE}"}
        answer = requests.post(
            f"{server.address}/api/tasks", files={"file": ("a.wav", bytes(1_100_000))}, headers=headers, timeout=30
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "quota_exceeded")
        assert answer.headers["Retry-After"] == "60"
        assert list((server.data_dir / "incoming").iterdir()) == []
