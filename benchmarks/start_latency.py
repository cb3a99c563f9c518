"""How soon an idle server starts a task whose model is loaded, counted from the row that its 202 answers for.

    python -m benchmarks.start_latency http://127.0.0.1:5552 --file tests/data/librivox-0880.flac --runs 20

Each run uploads the file to the idle server and takes `started_at - created_at` from the finished task.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

LIMIT_S = 120
LOOK_EVERY_S = 0.1


def run_once(address: str, file: Path, model: str) -> float:
    """Milliseconds."""
    with open(file, "rb") as recording:
        answer = requests.post(
            f"{address}/api/tasks", files={"file": (file.name, recording)}, data={"model": model}, timeout=LIMIT_S
        )
    answer.raise_for_status()
    task = wait_until_finished(address, answer.json()["task"]["id"])
    requests.delete(f"{address}/api/tasks/{task['id']}", timeout=LIMIT_S)
    moments = [datetime.fromisoformat(task[name]) for name in ("created_at", "started_at")]
    return (moments[1] - moments[0]).total_seconds() * 1000


def wait_until_finished(address: str, task_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        task: dict[str, Any] = requests.get(f"{address}/api/tasks/{task_id}", timeout=LIMIT_S).json()["task"]
        if task["status"] == "completed":
            return task
        time.sleep(LOOK_EVERY_S)
    raise TimeoutError(f"task {task_id} did not complete within {LIMIT_S} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:5552")
    parser.add_argument("--file", type=Path, default=Path("tests/data/librivox-0880.flac"))
    parser.add_argument("--model", default="base")
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    run_once(options.address, options.file, options.model)  # loads the model
    times = sorted(run_once(options.address, options.file, options.model) for _ in range(options.runs))
    print(
        f"start after the 202's row, ms: median {statistics.median(times):.0f}, "
        f"largest {times[-1]:.0f}, over {len(times)} runs"
    )


if __name__ == "__main__":
    main()
