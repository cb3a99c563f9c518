"""Rows about 100,000 waiting tasks: the start with them, and the scheduler's decisions about them."""

from __future__ import annotations

import math

from benchmarks.load.bench import Bench
from benchmarks.load.figures import Row, Spread, Target
from benchmarks.load.filling import fill
from benchmarks.load.server import LoadServer
from benchmarks.scheduling.decision_times import decision_seconds
from benchmarks.scheduling.scenarios import read_service

WAITING = 100_000
SIZES = (1_000, 10_000, WAITING)
DECISIONS = 500


def pending(bench: Bench) -> list[Row]:
    """From the process to its first answer, and the web process's memory beside that of an empty server."""
    seconds, rss = _start(bench, WAITING)
    _, empty_rss = _start(bench, 0)
    grown_mb = (rss - empty_rss) / 1e6
    title = f"start with {WAITING:,} waiting"
    return [
        Row(
            f"{title}: until it answers", Target("< 5 s", "< 2 s", 5, 2), seconds, f"{seconds:.1f} s",
        ),
        Row(
            f"{title}: memory beside an empty server's", Target("< 150 MB", "< 50 MB", 150, 50), grown_mb,
            f"{grown_mb:.0f} MB",
        ),
    ]  # fmt: skip


def decision(bench: Bench) -> list[Row]:
    """Each decision's wall-clock time, including the copy of what changed in the queue; no server is involved."""
    service, _ = read_service()
    times = {size: [1000 * s for s in decision_seconds(service, size, DECISIONS, bench.seed)] for size in SIZES}
    medians = ", ".join(f"{size:,}: {_median(ms):.2f} ms" for size, ms in times.items())
    spread = Spread.of(times[WAITING])
    return [
        Row(
            f"one decision with {WAITING:,} waiting",
            Target("p99 < 10 ms", "p99 < 2 ms", 10, 2), spread.p99 if spread else math.nan, f"medians {medians}",
            times[WAITING],
        )
    ]  # fmt: skip


def _median(times_ms: list[float]) -> float:
    spread = Spread.of(times_ms)
    return math.nan if spread is None else spread.p50


def _start(bench: Bench, waiting: int) -> tuple[float, int]:
    """Seconds until it answers, and the web process's resident bytes then."""
    server: LoadServer = bench.server(settings={"MAX_QUEUED_TASKS": "1000000"})
    if waiting:
        fill(server.data_dir, waiting)
    try:
        seconds = server.start()
        return seconds, int(server.web.memory_info().rss)
    finally:
        server.stop()
