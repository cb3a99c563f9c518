"""This project end to end: a real server, uploads over HTTP all at once, until the last transcript is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import requests

from benchmarks.child_process import ROOT, STOP_LIMIT_S
from benchmarks.health_session import HealthSession
from benchmarks.measurement import Measurement, Text
from benchmarks.recordings import Recording

START_LIMIT_S = 60.0
ANSWER_LIMIT_S = 60.0
LOOK_EVERY_S = 0.2
UNFINISHED = ("pending", "processing", "retrying")


class Server:
    """`python main.py` in a folder of its own. Enter it as a context: it listens then.

    settings: above the defaults, by their environment names.
    """

    def __init__(self, folder: Path, model: str, models_dir: Path, settings: Mapping[str, str]) -> None:
        self._model = model
        self._folder = folder
        own = {
            "PORT": "0",
            "DATA_DIR": str(folder / "data"),
            "MODELS_DIR": str(models_dir.resolve()),
            "DEFAULT_MODEL": model,
            "MODEL_SOURCES": "local",
            "MIN_FREE_DISK_MB": "0",
        }
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), **own, **settings}

    def __enter__(self) -> Server:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log = self._folder / "server.log"
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "main.py")], cwd=self._folder, stdout=log, stderr=log, env=self._env
            )
        self.address = self._wait_for_address()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def measure(self, recordings: Sequence[Recording], mode: str) -> Measurement:
        """From the first byte of the uploads to the last transcript; the tasks are deleted afterwards."""
        with HealthSession(self.address) as health, PeakOfTree(self._process.pid) as memory:
            began = time.perf_counter()
            fields = {"model": self._model, "mode": mode}
            with ThreadPoolExecutor(len(recordings)) as pool:
                ids = list(pool.map(lambda recording: self.upload(recording, fields), recordings))
            self._wait_until_finished()
            seconds = time.perf_counter() - began
        transcripts = [self.get(f"/api/tasks/{task_id}/transcript") for task_id in ids]
        for task_id in ids:
            requests.delete(f"{self.address}/api/tasks/{task_id}", timeout=ANSWER_LIMIT_S).raise_for_status()
        texts = {
            recording.name: Text.from_transcript(transcript)
            for recording, transcript in zip(recordings, transcripts, strict=True)
        }
        return Measurement(seconds, texts, memory.bytes, health_ms=tuple(health.times_ms))

    def upload(self, recording: Recording, fields: Mapping[str, str]) -> str:
        """The new task's id. fields: its options."""
        with open(recording.file, "rb") as file:
            answer = requests.post(
                f"{self.address}/api/tasks", files={"file": (recording.name, file)}, data=fields, timeout=ANSWER_LIMIT_S
            )
        if not answer.ok:
            raise RuntimeError(f"{recording.name} was refused: {answer.text}")
        task_id: str = answer.json()["task"]["id"]
        return task_id

    def _wait_until_finished(self) -> None:
        """Raises RuntimeError when a task ended otherwise than completed."""
        while True:
            counts = self.get("/api/tasks?limit=1")["counts"]
            if counts.get("failed") or counts.get("cancelled"):
                raise RuntimeError(f"tasks did not complete; the server's log is {self._log}")
            if not any(counts.get(status) for status in UNFINISHED):
                return
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended; its log is {self._log}")
            time.sleep(LOOK_EVERY_S)

    def get(self, path: str) -> Any:
        answer = requests.get(self.address + path, timeout=ANSWER_LIMIT_S)
        answer.raise_for_status()
        return answer.json()

    def _wait_for_address(self) -> str:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"listening on (http://[^\s]+)", self._log.read_text()):
                return found.group(1)
            time.sleep(LOOK_EVERY_S)
        self.__exit__(None, None, None)
        raise RuntimeError(f"the server did not start:\n{self._log.read_text()}")


class PeakOfTree:
    """The largest sum of resident sizes of a process and its children while it is entered, looked at every 200 ms.

    Pages that processes share count once for each.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> PeakOfTree:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, sum(map(_resident, [self._root, *self._root.children(recursive=True)])))
            if self._is_over.wait(LOOK_EVERY_S):
                return


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0  # an ffmpeg that has ended meanwhile
