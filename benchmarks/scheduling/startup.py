"""How long the server takes to start while many tasks wait: from its process to the first page of the list."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import requests
from sqlalchemy import insert, update

from benchmarks.child_process import ROOT, STOP_LIMIT_S
from optimizer.storage import mapping
from optimizer.storage.schema import arrivals, task_texts, tasks
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import NewTask, Priority, TaskOptions

LIMIT_S = 60.0
LOOK_EVERY_S = 0.01
AT_ONCE = 5_000


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


def fill(data_dir: Path, waiting: int) -> None:
    """Makes a database in which so many tasks wait. They ask for a device that is not there, so none starts."""
    data_dir.mkdir(parents=True)
    store = TaskStore(data_dir)
    store.open()
    with store.database.writing() as connection:
        for rows in _batches(waiting):
            connection.execute(insert(tasks), rows)
            connection.execute(
                insert(task_texts), [{"task_id": row["id"], "folded_text": row["filename"]} for row in rows]
            )
        connection.execute(update(arrivals).values(last_seq=waiting))
    store.close()


def _batches(waiting: int) -> Iterator[list[dict[str, object]]]:
    now = datetime.now(UTC)
    for begin in range(0, waiting, AT_ONCE):
        yield [_row(seq, now) for seq in range(begin + 1, min(waiting, begin + AT_ONCE) + 1)]


def _row(seq: int, now: datetime) -> dict[str, object]:
    new = NewTask(
        id=f"task-{seq:08}", filename=f"recording-{seq}.mp3", options=TaskOptions(model=("tiny.en", "base")[seq % 2]),
        priority=list(Priority)[seq % 3], requested_device="cuda:9", size_bytes=1_000_000,
        sha256="0" * 64, max_attempts=4, audio_seconds=float(10 + seq % 997), owner=f"owner{seq % 20}",
    )  # fmt: skip
    return mapping.task_to_row(mapping.new_task(new, seq, now))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
