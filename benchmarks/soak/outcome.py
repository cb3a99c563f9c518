"""What the server has at the end of a soak, asked of the server and then of what it left on the disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.load.server import LoadServer
from benchmarks.soak.record import Found

UNFINISHED = ("pending", "processing", "retrying")


def is_drained(server: LoadServer) -> bool:
    """Whether nothing waits or runs any more."""
    counts = server.get("/api/tasks?limit=1")["counts"]
    return not any(counts[status] for status in UNFINISHED)


def find_tasks(server: LoadServer) -> dict[str, Found]:
    return {task["id"]: _found(server, task) for task in _list_tasks(server)}


def _list_tasks(server: LoadServer) -> list[Any]:
    tasks: list[Any] = []
    cursor = ""
    while True:
        page = server.get(f"/api/tasks?limit=200{cursor}")
        tasks += page["tasks"]
        if page["next_cursor"] is None:
            return tasks
        cursor = f"&cursor={page['next_cursor']}"


def _found(server: LoadServer, task: Any) -> Found:
    if task["status"] != "completed":
        return Found(task["status"])
    transcript = server.get(f"/api/tasks/{task['id']}/transcript")
    codes = [event["code"] for event in server.get(f"/api/tasks/{task['id']}/timeline")["events"]]
    begins = max((place for place, code in enumerate(codes) if code == "restarted"), default=-1)
    return Found(task["status"], transcript.get("text"), codes[begins + 1 :].count("completed"))


def num_charged(data_dir: Path) -> int:
    """Attempts of completed tasks that were charged beyond the one that succeeded. The server must have stopped."""
    query = "SELECT coalesce(sum(attempt - uncharged - 1), 0) FROM tasks WHERE status = 'completed'"
    with closing(sqlite3.connect(data_dir / "tasks.db")) as database:
        return int(database.execute(query).fetchone()[0])


def stray_files(data_dir: Path, found: dict[str, Found]) -> list[str]:
    """Results and samples that belong to no task, and results that are missing, each as a sentence."""
    completed = {task_id for task_id, task in found.items() if task.status == "completed"}
    transcripts = {path.stem for path in (data_dir / "transcripts").iterdir()}
    samples = {path.name for path in (data_dir / "audio").iterdir()}
    wrong = [f"a transcript of {name}, which is not completed" for name in sorted(transcripts - completed)]
    wrong += [f"no transcript of {name}" for name in sorted(completed - transcripts)]
    wrong += [f"samples {name} of a finished task" for name in sorted(samples)]
    return wrong


def num_uploads_without_task(data_dir: Path, found: dict[str, Found]) -> int:
    """A kill between the file and its row leaves an upload that nobody was answered for. It is reported at every start
    and kept, because it may be somebody's only copy."""
    return sum(path.name not in found for path in (data_dir / "media").iterdir())
