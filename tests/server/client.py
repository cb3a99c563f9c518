"""A client such as a user's script: it uploads, looks and waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.web.running_server import RunningServer

REQUEST_LIMIT_S = 90
LOOK_EVERY_S = 0.1


class Client:
    def __init__(self, server: RunningServer) -> None:
        self.address = server.address
        self._pause = threading.Event()  # never set: waiting on it is a bounded sleep

    def get(self, path: str, **query: str) -> requests.Response:
        return requests.get(self.address + path, params=query, timeout=REQUEST_LIMIT_S)

    def upload(self, path: Path, key: str | None = None, **options: str) -> dict[str, Any]:
        """The accepted task."""
        response = self.try_upload(path, key, **options)
        assert response.status_code in (200, 202), response.text
        task: dict[str, Any] = response.json()["task"]
        return task

    def try_upload(self, path: Path, key: str | None = None, **options: str) -> requests.Response:
        headers = {"Idempotency-Key": key} if key else {}
        with open(path, "rb") as file:
            return requests.post(
                f"{self.address}/api/tasks",
                files={"file": (path.name, file)},
                data=options,
                headers=headers,
                timeout=REQUEST_LIMIT_S,
            )

    def delete(self, task_id: str) -> None:
        response = requests.delete(f"{self.address}/api/tasks/{task_id}", timeout=REQUEST_LIMIT_S)
        assert response.status_code == 204, response.text

    def task(self, task_id: str) -> dict[str, Any]:
        task: dict[str, Any] = self.get(f"/api/tasks/{task_id}").json()["task"]
        return task

    def transcript(self, task_id: str) -> dict[str, Any]:
        transcript: dict[str, Any] = self.get(f"/api/tasks/{task_id}/transcript").json()
        return transcript

    def wait_for(self, task_id: str, *statuses: str, limit_s: float = 120) -> dict[str, Any]:
        self.wait_until(lambda: self.task(task_id)["status"] in statuses, f"{task_id} {statuses}", limit_s)
        return self.task(task_id)

    def wait_for_progress(self, task_id: str, *, beyond: float) -> None:
        self.wait_until(lambda: self.task(task_id)["progress"] > beyond, f"{task_id} progress beyond {beyond}")

    def wait_until(self, is_true: Callable[[], bool], what: str, limit_s: float = 60) -> None:
        waited_s = 0.0
        while not is_true():
            assert waited_s < limit_s, f"waited in vain for {what}"
            self._pause.wait(LOOK_EVERY_S)
            waited_s += LOOK_EVERY_S
