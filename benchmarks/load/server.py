"""The server under load: a process of its own, started as people start it, and watched from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import requests

from benchmarks.child_process import ROOT, STOP_LIMIT_S
from benchmarks.load.figures import Usage
from benchmarks.load.http_client import Address

START_LIMIT_S = 60.0
ANSWER_LIMIT_S = 60.0
LOOK_EVERY_S = 0.02
WATCH_EVERY_S = 0.2
MODEL = "tiny.en"


class LoadServer:
    """`with LoadServer(folder) as server:` listens. It may be killed and started again in the same folder.

    is_noop: around the engine that computes nothing, for which weights of any content are laid down; else
    `python main.py`, which has no weights, so tasks wait. settings: above the defaults, by their environment names.
    """

    def __init__(self, folder: Path, *, is_noop: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self.data_dir = folder / "data"
        models = folder / "models"
        own = {
            "PORT": "0",
            "DATA_DIR": str(self.data_dir),
            "MODELS_DIR": str(models),
            "MODEL_SOURCES": "local",
            "DEFAULT_MODEL": MODEL,
            "DEVICES": "cpu",
        }
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._env = {**inherited, "PYTHONPATH": str(ROOT), **own, **(settings or {})}
        self._command = [sys.executable, str(ROOT / "main.py")]
        if is_noop:
            models.mkdir(parents=True, exist_ok=True)
            (models / f"{MODEL}.pt").write_bytes(b"not read by an engine that computes nothing")
            self._command = [sys.executable, "-m", "benchmarks.load.noop_server"]
        self.url = ""

    def __enter__(self) -> LoadServer:
        self.start()
        self.wait_until(self._has_ready_device, "a device")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Seconds from its process to its first answer. Raises RuntimeError when it does not start."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log = self._folder / "server.log"
        began = time.perf_counter()
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log, env=self._env)
        self._wait_for_address()
        self.get("/healthz")
        return time.perf_counter() - began

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As a power cut would: the master first, then everything below it."""
        with suppress(psutil.NoSuchProcess):
            master = psutil.Process(self._process.pid)
            family = [master, *master.children(recursive=True)]
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            psutil.wait_procs(family, timeout=STOP_LIMIT_S)
        self._process.wait(STOP_LIMIT_S)

    @property
    def address(self) -> Address:
        return Address.of(self.url)

    @property
    def master(self) -> psutil.Process:
        return psutil.Process(self._process.pid)

    @property
    def web(self) -> psutil.Process:
        """The process that answers. Raises psutil.NoSuchProcess while there is none."""
        children = self.master.children()
        if not children:
            raise psutil.NoSuchProcess(self._process.pid)
        return children[0]

    @property
    def log_text(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> Any:
        return requests.get(self.url + path, timeout=ANSWER_LIMIT_S).json()

    def task(self, task_id: str) -> Any:
        return self.get(f"/api/tasks/{task_id}")["task"]

    def upload(self, name: str, data: bytes, **options: str) -> Any:
        """The accepted task."""
        answer = requests.post(
            f"{self.url}/api/tasks", files={"file": (name, data)}, data=options, timeout=ANSWER_LIMIT_S
        )
        answer.raise_for_status()
        return answer.json()["task"]

    def wait_until(self, is_true: Callable[[], bool], what: str, limit_s: float = START_LIMIT_S) -> None:
        """Raises TimeoutError."""
        deadline = time.monotonic() + limit_s
        while not is_true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {limit_s:.0f} s in vain for {what}; the server's log is {self._log}")
            time.sleep(LOOK_EVERY_S)

    def _has_ready_device(self) -> bool:
        """Its process imports torch first, which is not what is measured."""
        return any(device["state"] == "ready" for device in self.get("/api/system")["devices"])

    def _wait_for_address(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"listening on (http://[^\s]+)", self.log_text):
                self.url = found.group(1)
                return
            time.sleep(LOOK_EVERY_S)
        self.stop()
        raise RuntimeError(f"the server did not start:\n{self.log_text}")


class Watch:
    """What the server takes while it is entered; `usage` is known after the block."""

    def __init__(self, server: LoadServer) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch")
        self._peak = self._first = self._threads = 0

    def __enter__(self) -> Watch:
        self._web = self._server.web
        self._first = self._web.memory_info().rss
        self._began, self._cpu = time.perf_counter(), cpu_seconds(self._server.master)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        seconds = time.perf_counter() - self._began
        cores = (cpu_seconds(self._server.master) - self._cpu) / seconds
        self.usage = Usage(cores, self._peak, self._peak - self._first, self._threads)

    def _look_on(self) -> None:
        while True:
            with suppress(psutil.NoSuchProcess):
                self._peak = max(self._peak, self._web.memory_info().rss)
                self._threads = max(self._threads, self._web.num_threads())
            if self._is_over.wait(WATCH_EVERY_S):
                return


def cpu_seconds(root: psutil.Process) -> float:
    """Of a process and everything below it, also of what has ended and was waited for."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # its own, and those of children that have ended
    return total
