"""How long the server takes to start while many tasks wait: from its process to the first page of the list."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from benchmarks.child_process import ROOT, STOP_LIMIT_S
from benchmarks.load.filling import fill

LIMIT_S = 60.0
LOOK_EVERY_S = 0.01


def start_seconds(folder: Path, waiting: int, models_dir: Path) -> float:
    """Until GET /api/tasks lists all of them."""
    data_dir = folder / f"waiting-{waiting}"
    fill(data_dir, waiting)
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {
        **inherited,  # as people start it: modules are compiled once, not at every start
        "PYTHONPATH": str(ROOT),
        "PORT": str(port),
        "DATA_DIR": str(data_dir),
        "MODELS_DIR": str(models_dir),
        "MODEL_SOURCES": "local",
        "DEFAULT_MODEL": "base",
        "MAX_QUEUED_TASKS": str(10 * max(1, waiting)),
        "LOG_LEVEL": "WARNING",
    }
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(ROOT / "main.py")], cwd=folder, env=environment)
    try:
        return wait_for_list(f"http://127.0.0.1:{port}", waiting) - began
    finally:
        process.terminate()
        process.wait(STOP_LIMIT_S)


def wait_for_list(address: str, waiting: int) -> float:
    """When all were listed, by perf_counter. Raises TimeoutError."""
    deadline = time.perf_counter() + LIMIT_S
    while time.perf_counter() < deadline:
        try:
            counts = requests.get(f"{address}/api/tasks?limit=1", timeout=LIMIT_S).json()["counts"]
        except requests.ConnectionError:
            time.sleep(LOOK_EVERY_S)
            continue
        if counts["pending"] + counts["processing"] >= waiting:
            return time.perf_counter()
    raise TimeoutError(f"the server did not list {waiting} tasks within {LIMIT_S:.0f} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
