"""The same trace of recordings through a real server, once on the plain path and once on the optimised one.

Recordings of many lengths arrive in bursts, for two models. Compared are what a person notices, when a task started and
when its text was there, and what the server reports of its memory meanwhile.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from benchmarks.recordings import Recording, join
from benchmarks.server_process import Server

LIMIT_S = 60.0
LOOK_EVERY_S = 0.5
BURSTS_WITHIN_S = 30.0
BURSTS = 4
FEW_ARE_LONG = (1,) * 7 + (2,) * 2 + (4,)
RUNS: Mapping[str, Mapping[str, str]] = {  # settings that differ from the defaults; the first run is the baseline
    "plain path": {"ENABLE_OPTIMIZATION_SYSTEM": "False"},
    "optimised, defaults": {},
    "optimised": {"MAX_CONCURRENT_TASKS_LIMIT": "auto", "MAX_BATCH_SIZE": "16"},
}
FINAL = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Upload:
    at: float  # seconds after the first upload
    model: str
    recording: Recording


@dataclass(frozen=True)
class RealOutcome:
    name: str
    audio_seconds: float
    span: float  # seconds from the first upload to the last text
    waits: tuple[float, ...]  # seconds from arrival to the first start
    responses: tuple[float, ...]  # seconds from arrival to the text
    memory_in_use: float  # used as a fraction of what was reserved, averaged over the time in which tasks ran
    peak_used: int  # bytes
    loads: int  # of models
    texts: Mapping[str, str]  # by name of the upload

    @property
    def throughput(self) -> float:
        """Seconds of sound per second."""
        return self.audio_seconds / self.span

    @property
    def mean_wait(self) -> float:
        return statistics.fmean(self.waits)

    @property
    def p95_wait(self) -> float:
        return sorted(self.waits)[int(0.95 * len(self.waits))]

    @property
    def mean_response(self) -> float:
        return statistics.fmean(self.responses)


def make_trace(
    recordings: Sequence[Recording],
    models: Sequence[str],
    count: int,
    scratch: Path,
    seed: int,
    parts: Sequence[int] = FEW_ARE_LONG,
) -> list[Upload]:
    """`count` uploads in bursts. parts: from how many recordings an upload is joined, drawn with equal chances."""
    rng = random.Random(seed)
    english = [each for each in recordings if each.language == "en"]
    starts = sorted(rng.uniform(0, BURSTS_WITHIN_S) for _ in range(BURSTS - 1))
    bursts = [0.0, *starts]
    uploads = []
    for number in range(count):
        joined = rng.sample(english, k=min(len(english), rng.choices(parts)[0]))
        folder = scratch / f"joined-{number}"
        folder.mkdir()
        recording = joined[0] if len(joined) == 1 else join(joined, folder)
        uploads.append(Upload(bursts[number % BURSTS], models[number % len(models)], recording))
    return sorted(uploads, key=lambda upload: upload.at)


def run_all(uploads: Sequence[Upload], models_dir: Path, scratch: Path) -> dict[str, Any]:
    """The trace through a server with the settings of each of RUNS, as JSON."""
    outcomes = [
        run_trace(name, uploads, models_dir, scratch / f"server-{number}", settings)
        for number, (name, settings) in enumerate(RUNS.items())
    ]
    plain = outcomes[0]
    return {
        "settings": RUNS,
        "uploads": [[upload.at, upload.model, upload.recording.seconds] for upload in uploads],
        "runs": [
            {
                **{key: value for key, value in asdict(outcome).items() if key != "texts"},
                "identical_texts": sum(outcome.texts[name] == text for name, text in plain.texts.items()),
            }
            for outcome in outcomes
        ],
    }


def run_trace(
    name: str, uploads: Sequence[Upload], models_dir: Path, folder: Path, settings: Mapping[str, str]
) -> RealOutcome:
    with Server(folder, uploads[0].model, models_dir, settings) as server:
        wait_until_ready(server.address)
        watcher = MemoryPoll(server.address)
        began = time.perf_counter()
        with watcher, ThreadPoolExecutor(len(uploads)) as pool:
            ids = list(pool.map(lambda upload: send(server.address, upload, began), uploads))
            tasks = [_wait_for(server.address, task_id) for task_id in ids]
            span = time.perf_counter() - began
        texts = {
            f"{number}: {upload.recording.name}": get(f"{server.address}/api/tasks/{task_id}/transcript")["text"]
            for number, (upload, task_id) in enumerate(zip(uploads, ids, strict=True))
        }
        events = get(f"{server.address}/api/system/events?kind=decision&limit=500")["events"]
    first_starts = _first_starts(events)
    moments = [
        (task["id"], *(datetime.fromisoformat(task[key]) for key in ("created_at", "finished_at"))) for task in tasks
    ]
    return RealOutcome(
        name=name,
        audio_seconds=sum(upload.recording.seconds for upload in uploads),
        span=span,
        waits=tuple(first_starts[task_id] - created.timestamp() for task_id, created, _ in moments),
        responses=tuple((finished - created).total_seconds() for _, created, finished in moments),
        memory_in_use=watcher.in_use,
        peak_used=watcher.peak_used,
        loads=sum(bool(event["data"].get("load_model")) for event in events),
        texts=texts,
    )


def _first_starts(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """When each task first started, in seconds since 1970; a task that was preempted started several times."""
    starts: dict[str, float] = {}
    for event in events:
        if "waited_seconds" in event["data"]:
            task_id = event["data"]["task_id"]
            starts[task_id] = min(event["at"], starts.get(task_id, float("inf")))
    return starts


def wait_until_ready(address: str) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + LIMIT_S
    while requests.get(f"{address}/readyz", timeout=LIMIT_S).status_code != 200:
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not become ready")
        time.sleep(LOOK_EVERY_S)


def send(address: str, upload: Upload, began: float) -> str:
    time.sleep(max(0.0, began + upload.at - time.perf_counter()))
    with open(upload.recording.file, "rb") as file:
        answer = requests.post(
            f"{address}/api/tasks",
            files={"file": (upload.recording.name, file)},
            data={"model": upload.model},
            timeout=LIMIT_S,
        )
    answer.raise_for_status()
    return str(answer.json()["task"]["id"])


def _wait_for(address: str, task_id: str) -> dict[str, Any]:
    """Raises RuntimeError when the task is not completed."""
    while True:
        task: dict[str, Any] = get(f"{address}/api/tasks/{task_id}")["task"]
        if task["status"] in FINAL:
            if task["status"] != "completed":
                raise RuntimeError(f"a task ended as {task['status']}: {task['error']}")
            return task
        time.sleep(LOOK_EVERY_S)


def get(address: str) -> Any:
    answer = requests.get(address, timeout=LIMIT_S)
    answer.raise_for_status()
    return answer.json()


class MemoryPoll:
    """Samples the devices every half second inside its `with`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._shares: list[float] = []
        self.peak_used = 0

    @property
    def in_use(self) -> float:
        return statistics.fmean(self._shares) if self._shares else 0.0

    def __enter__(self) -> MemoryPoll:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(LOOK_EVERY_S):
            devices = get(f"{self._address}/api/system")["devices"]
            used = sum(device["used"] for device in devices)
            reserved = sum(device["reserved"] for device in devices)
            self.peak_used = max(self.peak_used, used)
            if reserved and any(device["running"] for device in devices):
                self._shares.append(used / reserved)
