"""Rows about tasks that run, with an engine that computes nothing: how soon, how many, and how fast they stop."""

from __future__ import annotations

import itertools
import math
import random
import time
from datetime import datetime
from typing import Any

import requests

from benchmarks.load.bench import Bench
from benchmarks.load.figures import Row, Spread, Target
from benchmarks.load.filling import fill
from benchmarks.load.server import LoadServer, Watch
from benchmarks.load.sounds import short_files

STARTS = 40
NOOP_TASKS = 2_000
NOOP_LIMIT_S = 60.0
CANCELS = 20
RUNNING = 8
PENDING = 10_000
RESTARTS = 3
NOOP_SAMPLES = bytes(3_200)  # a tenth of a second: one window
LOOK_EVERY_S = 0.005


def start(bench: Bench) -> list[Row]:
    """From the row that the 202 answers for to the attempt's beginning, one task at a time on an idle server."""
    times = []
    with bench.server(is_noop=True) as server:
        files = short_files(bench.speech)
        _run_one(server, next(files).data)  # loads the model
        with Watch(server) as watch:
            for file in itertools.islice(files, STARTS):
                task = _run_one(server, file.data)
                begun, made = (datetime.fromisoformat(task[name]) for name in ("started_at", "created_at"))
                times.append((begun - made).total_seconds() * 1000)
    spread = Spread.of(times)
    return [
        Row(
            "from enqueued to started, idle server", Target("p99 < 100 ms", "p99 < 20 ms", 100, 20),
            spread.p99 if spread else math.nan, f"{len(times)} tasks", times, 0, watch.usage,
        )
    ]  # fmt: skip


def noop(bench: Bench) -> list[Row]:
    """Tasks of one window that wait when the server starts; counted from the first that ends to the last."""
    server = bench.server(is_noop=True)
    fill(server.data_dir, NOOP_TASKS, device="auto", samples=NOOP_SAMPLES, owners=1)
    with server, Watch(server) as watch:
        server.wait_until(lambda: _counts(server)["completed"] > 0, "the first completed task")
        first, began = _counts(server)["completed"], time.perf_counter()
        done = first
        while done < NOOP_TASKS and time.perf_counter() - began < NOOP_LIMIT_S:
            time.sleep(0.1)
            done = _counts(server)["completed"]
        seconds = time.perf_counter() - began
        failed = _counts(server)["failed"]
    rate = (done - first) / seconds
    return [
        Row(
            "tasks a second through an engine that computes nothing",
            Target("300/s", "1,000/s", 300, 1000, is_rate=True), rate, f"{rate:.0f}/s, {done:,} tasks", (), failed,
            watch.usage,
        )
    ]  # fmt: skip


def cancel(bench: Bench) -> list[Row]:
    """From asking to the moment at which the device has nothing of the task any more."""
    times = []
    with bench.server(is_noop=True) as server, Watch(server) as watch:
        files = short_files(bench.speech)
        for file in itertools.islice(files, CANCELS):
            task_id = server.upload(file.name, file.data, initial_prompt="window_s=0.2 endless")["id"]
            server.wait_until(lambda: _running(server) == 1, "a running task")
            began = time.perf_counter()
            requests.post(f"{server.url}/api/tasks/{task_id}/cancel", timeout=60).raise_for_status()
            while _running(server):
                time.sleep(LOOK_EVERY_S)
            times.append((time.perf_counter() - began) * 1000)
    spread = Spread.of(times)
    return [
        Row(
            "from cancelled to a free device, windows of 200 ms", Target("< 5 s", "< one window", 5000, 200),
            spread.largest if spread else math.nan, f"{len(times)} tasks", times, 0, watch.usage,
        )
    ]  # fmt: skip


def restart(bench: Bench) -> list[Row]:
    """Everything is killed while tasks run and wait, and started again; no task may be missing or charged."""
    server = bench.server(is_noop=True, settings={"MAX_CONCURRENT_TASKS_LIMIT": str(RUNNING)})
    ids = set(fill(server.data_dir, PENDING))
    times, wrong = [], 0
    chance = random.Random(bench.seed)
    with server:
        files = short_files(bench.speech)
        for file in itertools.islice(files, RUNNING):
            ids.add(server.upload(file.name, file.data, initial_prompt="window_s=0.2 endless")["id"])
        for _ in range(RESTARTS):
            server.wait_until(lambda: _counts(server)["processing"] == RUNNING, f"{RUNNING} running tasks")
            time.sleep(chance.uniform(0.5, 1.5))  # windows are saved meanwhile, so no task is interrupted twice at one
            server.kill()
            times.append(server.start() * 1000)
            counts = _counts(server)
            wrong += abs(counts["pending"] + counts["processing"] - len(ids))
    spread = Spread.of(times)
    return [
        Row(
            f"restart after a kill, {PENDING:,} waiting and {RUNNING} running, {RESTARTS} times",
            Target("0 lost, ready < 5 s", "0 lost, ready < 2 s", 5000, 2000),
            math.inf if wrong else (spread.largest if spread else math.nan), f"{wrong} lost", times, wrong,
        )
    ]  # fmt: skip


def _run_one(server: LoadServer, data: bytes) -> Any:
    """The completed task."""
    task_id = server.upload("one.wav", data)["id"]
    server.wait_until(lambda: server.task(task_id)["status"] == "completed", "a completed task")
    return server.task(task_id)


def _counts(server: LoadServer) -> dict[str, int]:
    counts: dict[str, int] = server.get("/api/tasks?limit=1")["counts"]
    return counts


def _running(server: LoadServer) -> int:
    return sum(len(device["tasks"]) for device in server.get("/api/system")["devices"])
