"""Requests to a running server, with the standard library alone: `python -m tools.deployment_proof.client PORT …`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

MODULE = "tools.deployment_proof.client"
KEY_VARIABLE = "PROOF_KEY"  # of the environment: the server's key, for `__main__`
REQUEST_LIMIT_S = 30
DONE_LIMIT_S = 150
LOOK_EVERY_S = 0.2
CLIENT_LIMIT_S = 180


class Client:
    """Of the server on this network's 127.0.0.1."""

    def __init__(self, port: int, key: str = "") -> None:
        """key: where the server has accounts."""
        self._address = f"http://127.0.0.1:{port}"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def transcribe(self, recording: Path, model: str) -> dict[str, Any]:
        """Uploads and waits: id, text, has_words (times of words), device and the seconds it took. Raises
        RuntimeError."""
        began = time.monotonic()
        task = self._post(recording, model=model, word_timestamps="true")["task"]
        while task["status"] not in ("completed", "failed", "cancelled"):
            if time.monotonic() - began > DONE_LIMIT_S:
                raise RuntimeError(f"not done after {DONE_LIMIT_S} s: {task}")
            time.sleep(LOOK_EVERY_S)
            task = json.loads(self._get(f"/api/tasks/{task['id']}"))["task"]
        if task["status"] != "completed":
            raise RuntimeError(f"not completed: {task}")
        seconds = time.monotonic() - began
        segments = json.loads(self._get(f"/api/tasks/{task['id']}/transcript"))["segments"]
        has_words = bool(segments) and all(segment["words"] for segment in segments)
        found = {"id": task["id"], "device": task["device"], "seconds": seconds}
        return {**found, "text": self.text(task["id"]), "has_words": has_words}

    def page_file_sizes(self) -> list[int]:
        """Bytes of each script and sheet that the page names. Raises HTTPError for one that is missing."""
        paths = re.findall(r'"(?:\./)?(static/[^"]+\.(?:m?js|css))"', self._get("/").decode())
        return [len(self._get(f"/{path}")) for path in paths]

    def text(self, task_id: str) -> str:
        return self._get(f"/api/tasks/{task_id}/transcript?format=txt").decode().strip()

    def devices(self) -> dict[str, str]:
        """The state of each, by its name."""
        return {device["name"]: device["state"] for device in json.loads(self._get("/api/system"))["devices"]}

    def is_ready(self) -> bool:
        try:
            self._get("/readyz")
        except (URLError, ConnectionError):
            return False
        return True

    def _get(self, path: str) -> bytes:
        with urlopen(Request(self._address + path, headers=self._headers), timeout=REQUEST_LIMIT_S) as answer:
            return bytes(answer.read())

    def _post(self, recording: Path, **fields: str) -> dict[str, Any]:
        boundary = uuid.uuid4().hex
        heads = [f'form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
        heads.append(f'form-data; name="file"; filename="{recording.name}"\r\n\r\n')
        form = "".join(f"--{boundary}\r\nContent-Disposition: {head}" for head in heads)
        body = form.encode() + recording.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        headers = {**self._headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        with urlopen(Request(f"{self._address}/api/tasks", body, headers), timeout=REQUEST_LIMIT_S) as answer:
            accepted: dict[str, Any] = json.load(answer)
            return accepted


def ask(enter: Sequence[str], port: int, *arguments: str, key: str = "") -> str:
    """What this module says to these arguments as a program behind `enter`, which leads into another network. Raises
    RuntimeError with the last line of what went wrong."""
    done = subprocess.run(
        [*enter, sys.executable, "-m", MODULE, str(port), *arguments],
        env={**os.environ, KEY_VARIABLE: key}, capture_output=True, text=True, timeout=CLIENT_LIMIT_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr.rstrip().rpartition("\n")[2])
    return done.stdout.strip()


if __name__ == "__main__":
    port, command, *arguments = sys.argv[1:]
    client = Client(int(port), os.environ.get(KEY_VARIABLE, ""))
    if command == "transcribe":
        print(json.dumps(client.transcribe(Path(arguments[0]), arguments[1])))
    elif command == "page-files":
        print(json.dumps(client.page_file_sizes()))
    elif command == "devices":
        print(json.dumps(client.devices()))
    else:
        print(client.text(arguments[0]))
