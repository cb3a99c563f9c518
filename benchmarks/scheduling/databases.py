"""SQLite beside PostgreSQL while many tasks wait: a server's start, a page of the list, a search, memory.

    python -m benchmarks.scheduling.databases --database-url URL [--waiting N] [--starts N] [--seconds N]

URL: of an empty PostgreSQL database on this machine. Each figure is taken of both in turn, so that other work on the
machine counts for both. Writes its table into docs/scheduling.md and what it found into docs/scheduling/databases.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import text

from benchmarks.document import replace_between_markers, table
from benchmarks.load import traffic
from benchmarks.load.bench import run
from benchmarks.load.figures import Spread
from benchmarks.load.filling import fill
from benchmarks.load.http_client import get
from benchmarks.load.server import LoadServer
from benchmarks.machine import describe_machine
from benchmarks.scheduling.startup import wait_for_list
from optimizer.storage.store import TaskStore

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "scheduling.md"
RESULTS = ROOT / "docs" / "scheduling" / "databases.json"
LIST_CONNECTIONS = 4  # as in benchmarks/load/reads.py
ABSENT, ONE = "/api/tasks?q=absent%20words", "/api/tasks?q=recording-4711"


@dataclass
class Found:
    """Of one database. starts: seconds until the list counts every task."""

    database: str
    fill_s: float = 0.0
    empty_starts: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    empty_rss: int = 0  # bytes of the web process
    rss: int = 0
    page_ms: list[float] = field(default_factory=list)
    search_ms: list[float] = field(default_factory=list)
    errors: int = 0


class Measured:
    """One database, with its server's folder."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self.found = Found(name)
        self._url = url
        self._folder = folder
        self._settings = {"MAX_QUEUED_TASKS": "1000000", "DATABASE_URL": url}

    def fill(self, waiting: int) -> None:
        data_dir = self._folder / "data"
        began = time.perf_counter()
        fill(data_dir, waiting, url=self._url)
        self.found.fill_s = time.perf_counter() - began
        with closing(TaskStore(data_dir, self._url)) as store:
            store.open()
            with store.database.writing() as connection:  # PostgreSQL does it by itself, after a while
                connection.execute(text("ANALYZE"))

    def start(self, waiting: int) -> None:
        with self._started(waiting) as (server, seconds):
            (self.found.starts if waiting else self.found.empty_starts).append(seconds)
            rss = int(server.web.memory_info().rss)
        if waiting:
            self.found.rss = rss
        else:
            self.found.empty_rss = rss

    def read(self, waiting: int, seconds: float) -> None:
        """The newest tasks, some far down, and those of one state; a word that no task has, and one that one has."""
        with self._started(waiting) as (server, _):
            cursor = server.get("/api/tasks?limit=200")["next_cursor"]
            pages = [
                "/api/tasks?limit=50",
                f"/api/tasks?limit=50&cursor={cursor}",
                "/api/tasks?limit=50&status=pending",
            ]
            self._ask(server, pages, 1.0, LIST_CONNECTIONS)
            self.found.page_ms += self._ask(server, pages, seconds, LIST_CONNECTIONS)
            self.found.search_ms += self._ask(server, [ABSENT, ONE], seconds, 1)

    def _ask(self, server: LoadServer, paths: list[str], seconds: float, connections: int) -> list[float]:
        requests = itertools.cycle([get(path) for path in paths])
        done = run(traffic.closed_loop(server.address, requests, connections=connections, seconds=seconds))
        self.found.errors += done.errors
        return done.times_ms

    @contextmanager
    def _started(self, waiting: int) -> Iterator[tuple[LoadServer, float]]:
        server = LoadServer(self._folder, settings=self._settings)
        began = time.perf_counter()
        try:
            server.start()
            yield server, wait_for_list(server.url, waiting) - began
        finally:
            server.stop()


def measure(url: str, waiting: int, starts: int, seconds: float) -> list[Found]:
    with tempfile.TemporaryDirectory() as folder:
        both = [Measured("SQLite", Path(folder) / "sqlite", ""), Measured("PostgreSQL", Path(folder) / "other", url)]
        for _ in range(starts):
            for each in both:
                each.start(0)
        for each in both:
            each.fill(waiting)
        for _ in range(starts):
            for each in both:
                each.start(waiting)
        for _ in range(starts):
            for each in both:
                each.read(waiting, seconds / starts)
        return [each.found for each in both]


def database_table(document: Mapping[str, Any]) -> str:
    """With PostgreSQL's share of SQLite's figure."""
    sqlite, other = document["found"]
    waiting = f"{document['waiting']:,}"
    rows = [
        [f"start with {waiting} waiting until the list counts them, median, s", *_medians("starts", sqlite, other)],
        ["start with none, median, s", *_medians("empty_starts", sqlite, other)],
        ["memory of the web process beside that with none, MB", *_pair("{:.0f}", _grown(sqlite), _grown(other))],
        [f"a page of 50, {LIST_CONNECTIONS} connections, median, ms", *_times("page_ms", "p50", sqlite, other)],
        ["99th percentile, ms", *_times("page_ms", "p99", sqlite, other)],
        ["a search, one connection, median, ms", *_times("search_ms", "p50", sqlite, other)],
        ["99th percentile, ms", *_times("search_ms", "p99", sqlite, other)],
    ]
    about = f"{document['machine']}. {document['date']}. `{document['command']}`"
    heads = ["", sqlite["database"], f"{other['database']} {document['version']}", "PostgreSQL beside SQLite"]
    return about + "\n\n" + table(heads, rows)


def _medians(name: str, sqlite: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return _pair("{:.2f}", median(sqlite[name]), median(other[name]))


def _times(name: str, share: str, sqlite: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    spreads = [Spread.of(found[name]) for found in (sqlite, other)]
    first, second = (0.0 if spread is None else getattr(spread, share) for spread in spreads)
    return _pair("{:.1f}", first, second)


def _grown(found: Mapping[str, Any]) -> float:
    return (int(found["rss"]) - int(found["empty_rss"])) / 1e6


def _pair(form: str, first: float, second: float) -> list[str]:
    return [form.format(first), form.format(second), f"{second / first:.2f} ×"]


def version_of(url: str) -> str:
    with tempfile.TemporaryDirectory() as folder, closing(TaskStore(Path(folder), url)) as store:
        store.open()
        with store.database.reading() as connection:
            return str(connection.execute(text("SHOW server_version")).scalar_one()).split()[0]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database-url", required=True, help="of an empty PostgreSQL database")
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--starts", type=int, default=5, help="of each database, with tasks and without")
    parser.add_argument("--seconds", type=float, default=20.0, help="of pages, and of searches, for each database")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    found = measure(options.database_url, options.waiting, options.starts, options.seconds)
    document = {
        "command": f"python -m benchmarks.scheduling.databases --database-url URL --waiting {options.waiting}",
        "machine": describe_machine(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "version": version_of(options.database_url),
        "waiting": options.waiting,
        "found": [asdict(each) for each in found],
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    text_ = database_table(document)
    replace_between_markers(DOCUMENT, "databases", text_)
    print(text_)


if __name__ == "__main__":
    main()
