"""Rows about reading: one task, a page of the list, the search."""

from __future__ import annotations

import itertools
import math

from benchmarks.load import traffic
from benchmarks.load.bench import Bench, run
from benchmarks.load.figures import Row, Spread, Target
from benchmarks.load.filling import fill, fill_completed
from benchmarks.load.http_client import get
from benchmarks.load.server import LoadServer, Watch
from benchmarks.load.sounds import short_files
from benchmarks.load.traffic import Traffic

CONNECTIONS = 32
LIST_CONNECTIONS = 4
MUST_READS = 500.0
WAITING = 100_000
SEARCHED = 10_000

ONE_TASK_RATE = Target("500/s", "1,000/s", 500, 1000, is_rate=True)
ONE_TASK_P99 = Target("p99 < 50 ms at 500/s", "p99 < 50 ms at 500/s", 50, 50)
LIST_P99 = Target("p99 < 100 ms", "p99 < 30 ms", 100, 30)


def one_task(bench: Bench) -> list[Row]:
    """GET /api/tasks/<id> of eight waiting tasks."""
    with bench.server() as server:
        files = itertools.islice(short_files(bench.speech), 8)
        ids = [server.upload(file.name, file.data)["id"] for file in files]
        requests = [get(f"/api/tasks/{task_id}") for task_id in ids]
        _closed(server, requests, seconds=1.0)
        with Watch(server) as at_once:
            most = _closed(server, requests, bench.seconds)
        with Watch(server) as steady:
            held = run(
                traffic.at_rate(
                    server.address,
                    itertools.cycle(requests),
                    per_second=MUST_READS,
                    connections=CONNECTIONS,
                    seconds=bench.seconds,
                )
            )
    return [
        Row(
            f"GET of one task, {CONNECTIONS} connections, as many as are answered", ONE_TASK_RATE, most.rate,
            f"{most.rate:.0f}/s", most.times_ms, most.errors, at_once.usage,
        ),
        Row(
            f"GET of one task, {MUST_READS:.0f} a second, each from its moment", ONE_TASK_P99, p99(held),
            f"{held.rate:.0f}/s", held.times_ms, held.errors, steady.usage,
        ),
    ]  # fmt: skip


def pages(bench: Bench) -> list[Row]:
    """Pages of fifty, while 100,000 tasks wait: the newest, and one far down."""
    server = bench.server(settings={"MAX_QUEUED_TASKS": "1000000"})
    fill(server.data_dir, WAITING)
    with server:
        cursor = server.get("/api/tasks?limit=200")["next_cursor"]
        requests = [get("/api/tasks?limit=50"), get(f"/api/tasks?limit=50&cursor={cursor}"),
                    get("/api/tasks?limit=50&status=pending")]  # fmt: skip
        _closed(server, requests, seconds=1.0, connections=LIST_CONNECTIONS)
        with Watch(server) as watch:
            found = _closed(server, requests, bench.seconds, LIST_CONNECTIONS)
    return [
        Row(
            f"GET of a page of 50 with {WAITING:,} waiting, {LIST_CONNECTIONS} connections", LIST_P99, p99(found),
            f"{found.rate:.0f}/s", found.times_ms, found.errors, watch.usage,
        )
    ]  # fmt: skip


def search(bench: Bench) -> list[Row]:
    """A word that no text has, and one that a single text has: both look through all of them."""
    server = bench.server()
    fill_completed(server.data_dir, SEARCHED)
    with server:
        requests = [get("/api/tasks?q=absent%20words"), get("/api/tasks?q=number%204711")]
        with Watch(server) as watch:
            found = _closed(server, requests, bench.seconds / 2, 1)
    target = Target("p99 < 100 ms", "p99 < 30 ms", 100, 30)
    return [
        Row(
            f"search through {SEARCHED:,} texts of 150 words, one connection", target, p99(found),
            f"{found.rate:.0f}/s", found.times_ms, found.errors, watch.usage,
        )
    ]  # fmt: skip


def p99(traffic: Traffic) -> float:
    """NaN without an answer."""
    spread = Spread.of(traffic.times_ms)
    return math.nan if spread is None else spread.p99


def _closed(server: LoadServer, requests: list[bytes], seconds: float, connections: int = CONNECTIONS) -> Traffic:
    return run(traffic.closed_loop(server.address, itertools.cycle(requests), connections=connections, seconds=seconds))
