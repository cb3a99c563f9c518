"""The whole server on a GPU: the real trace, a crowded card, and a worker that is killed.

Needs the weights of tiny.en and base. The crowded card: another process holds all but CROWDED_BYTES, so little that the
tasks cannot all run at once; while they run it takes nearly the rest, and gives it back after a while.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pynvml
import requests

from benchmarks.recordings import read_recordings
from benchmarks.scheduling.real_trace import (
    LIMIT_S,
    RUNS,
    Upload,
    get,
    make_trace,
    run_all,
    send,
    wait_until_ready,
)
from benchmarks.server_process import Server

MODELS = ("tiny.en", "base")
TRACE_UPLOADS = 60
CROWDED_BYTES = 3_500_000_000
CROWDED_REPEATS = 5  # of the trace, so that tasks still run when memory is taken
LEFT_BYTES = 150_000_000  # when the other process takes nearly everything
TAKEN_FOR_S = 8.0
GIVE_BACK = -1
FINISH_LIMIT_S = 150.0
LOOK_EVERY_S = 0.25


def measure_server(folder: Path, models_dir: Path, scratch: Path, uploads: int = TRACE_UPLOADS) -> dict[str, Any]:
    """Everything, as JSON."""
    recordings = read_recordings(folder, scratch)
    trace = make_trace(recordings, MODELS, uploads, scratch, seed=4)
    at_once = [Upload(0.0, each.model, each.recording) for each in trace]
    return {
        **run_all(trace, models_dir, scratch),
        "crowded": crowded(at_once * CROWDED_REPEATS, models_dir, scratch / "crowded"),
        "killed": killed(at_once, models_dir, scratch / "killed"),
    }


def crowded(uploads: Sequence[Upload], models_dir: Path, folder: Path) -> dict[str, Any]:
    with other_process() as hold, Server(folder, MODELS[0], models_dir, RUNS["optimised"]) as server:
        hold(free_bytes() - CROWDED_BYTES)
        wait_until_ready(server.address)
        time.sleep(3 * LOOK_EVERY_S)
        ids = send_all(server.address, uploads)
        wait_for_texts(server.address, len(ids) // 12)
        hold(free_bytes() - LEFT_BYTES)
        time.sleep(TAKEN_FOR_S)
        during = counts(server.address)
        hold(GIVE_BACK)
        wait_for_texts(server.address, len(ids))
        return {
            "counts_while_taken": during,
            "counts": counts(server.address),
            "timeline": timeline_codes(server.address, ids),
            "events": [
                event["text"]
                for kind in ("memory", "device")
                for event in get(f"{server.address}/api/system/events?kind={kind}&limit=40")["events"]
            ],
        }


def killed(uploads: Sequence[Upload], models_dir: Path, folder: Path) -> dict[str, Any]:
    """The worker ends by SIGKILL while it runs tasks; what was measured of memory is read at the end."""
    free_before = free_bytes()
    with Server(folder, MODELS[0], models_dir, RUNS["optimised"]) as server:
        wait_until_ready(server.address)
        ids = send_all(server.address, uploads)
        wait_for_texts(server.address, 1)
        victim = psutil.Process(process_on_card(server.pid))
        victim.kill()
        wait_for_texts(server.address, len(ids))
        tasks = [get(f"{server.address}/api/tasks/{task_id}")["task"] for task_id in ids]
        system = get(f"{server.address}/api/system")
        used_by_nvml = free_before - free_bytes()
        found = {
            "counts": counts(server.address),
            "attempts": dict(Counter(task["attempts"] for task in tasks)),
            "timeline": timeline_codes(server.address, ids),
            "tasks": [[task["options"]["model"], task["audio_seconds"], *task["memory"].values()] for task in tasks],
            "device": {key: system["devices"][0][key] for key in ("title", "total", "reserved", "used", "others")},
            "used_by_nvml": used_by_nvml,
            "estimates": system.get("memory_estimates"),
        }
    time.sleep(LOOK_EVERY_S)
    return {**found, "not_given_back": free_before - free_bytes()}


@contextmanager
def other_process() -> Iterator[Any]:
    """A process that holds memory of the card: called with bytes, it takes so many more; GIVE_BACK frees all."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(theirs,))
    process.start()

    def hold(nbytes: int) -> None:
        ours.send(nbytes)
        ours.recv()

    try:
        hold(0)  # its context is there then
        yield hold
    finally:
        ours.close()
        process.join()


def _hold(connection: Connection) -> None:
    import torch

    held = [torch.zeros(1, device="cuda")]
    while True:
        try:
            nbytes = connection.recv()
        except EOFError:
            return
        if nbytes > 0:
            held.append(torch.empty(nbytes, dtype=torch.uint8, device="cuda"))
        elif nbytes == GIVE_BACK:
            held.clear()
            torch.cuda.empty_cache()
        connection.send(None)


def free_bytes() -> int:
    """Of the first card, by NVML."""
    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).free)
    finally:
        pynvml.nvmlShutdown()


def process_on_card(server: int) -> int:
    """The server's descendant with the largest resident memory: the one that has torch. NVML's own list of processes
    knows other ids where the server is in a container."""
    descendants = psutil.Process(server).children(recursive=True)
    return max(descendants, key=lambda process: process.memory_info().rss).pid


def send_all(address: str, uploads: Sequence[Upload]) -> list[str]:
    began = time.perf_counter()
    with ThreadPoolExecutor(len(uploads)) as pool:
        return list(pool.map(lambda upload: send(address, upload, began), uploads))


def counts(address: str) -> dict[str, int]:
    found: dict[str, int] = get(f"{address}/api/tasks?limit=1")["counts"]
    return {status: number for status, number in found.items() if number}


def wait_for_texts(address: str, wanted: int) -> None:
    """Raises TimeoutError, and RuntimeError once a task has failed."""
    deadline = time.monotonic() + FINISH_LIMIT_S
    while (now := counts(address)).get("completed", 0) < wanted:
        if now.get("failed"):
            raise RuntimeError(f"tasks failed: {now}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{wanted} texts are not there: {now}")
        time.sleep(LOOK_EVERY_S)


def timeline_codes(address: str, ids: Sequence[str]) -> dict[str, int]:
    """How often each kind of event happened in the tasks' timelines."""
    codes: Counter[str] = Counter()
    for task_id in ids:
        answer = requests.get(f"{address}/api/tasks/{task_id}/timeline", timeout=LIMIT_S)
        codes.update(event["code"] for event in answer.json()["events"])
    return dict(codes)
