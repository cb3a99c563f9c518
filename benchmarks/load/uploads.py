"""Rows about uploads: small ones, ten thousand of them, a large one, and how `/healthz` answers during a burst."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator

import requests

from benchmarks.health_session import HealthSession
from benchmarks.load import traffic
from benchmarks.load.bench import Bench, run
from benchmarks.load.figures import Row, Target
from benchmarks.load.http_client import Answer, upload
from benchmarks.load.server import LoadServer, Watch
from benchmarks.load.sounds import SoundFile, large_wav, short_files, small_files
from benchmarks.load.traffic import Traffic, Wanted

CONNECTIONS = 16
ENQUEUED = 10_000
ENQUEUE_LIMIT_S = 180.0
BURST = 40
ACCEPTED = frozenset({202})


def small(bench: Bench) -> list[Row]:
    """100 kB of speech each, WAV and FLAC in turn."""
    with bench.server() as server:
        prepared = _requests(small_files(bench.speech))
        with Watch(server) as watch:
            found, ids = _upload_all(server, prepared, bench.seconds, CONNECTIONS)
        lost = _lost(server, ids)
    return [
        Row(
            f"uploads of 100 kB to their 202, {CONNECTIONS} connections",
            Target("50/s", "150/s", 50, 150, is_rate=True), found.rate, f"{found.rate:.0f}/s", found.times_ms,
            found.errors + lost, watch.usage,
        )
    ]  # fmt: skip


def enqueue(bench: Bench) -> list[Row]:
    """A second of speech each. Every task that was answered for is in the list afterwards."""
    with bench.server() as server:
        prepared = itertools.islice(_requests(short_files(bench.speech)), ENQUEUED)
        with Watch(server) as watch:
            found, ids = _upload_all(server, prepared, ENQUEUE_LIMIT_S, CONNECTIONS)
        lost = _lost(server, ids)
    seconds = found.seconds * ENQUEUED / max(1, len(ids))
    said = f"{found.seconds:.0f} s" if len(ids) == ENQUEUED else f"{len(ids):,} in {found.seconds:.0f} s"
    return [
        Row(
            f"{ENQUEUED:,} tasks through the API", Target("60 s", "20 s", 60, 20), seconds,
            f"{said}, {found.rate:.0f}/s", found.times_ms, found.errors + lost, watch.usage,
        )
    ]  # fmt: skip


def large(bench: Bench) -> list[Row]:
    """One file of silence with a WAV header, made while it is sent."""
    megabytes = str(math.ceil(bench.large_bytes / 1e6) + 1)
    with bench.server(settings={"MAX_UPLOAD_MB": megabytes, "MAX_AUDIO_HOURS": "1000"}) as server:
        server.upload("warm-up.wav", next(short_files(bench.speech)).data)
        with Watch(server) as watch:
            began = time.perf_counter()
            answer = requests.post(
                f"{server.url}/api/tasks", data=_large_form(bench.large_bytes), timeout=600,
                headers={"Content-Type": "multipart/form-data; boundary=large"},
            )  # fmt: skip
            seconds = time.perf_counter() - began
        is_accepted = answer.status_code == 202
        if is_accepted:
            requests.delete(f"{server.url}/api/tasks/{answer.json()['task']['id']}", timeout=60)
    speed = bench.large_bytes / 1e6 / seconds
    grown = watch.usage.grown_bytes / 2**20
    return [
        Row(
            f"one upload of {bench.large_bytes / 1e9:.0f} GB: what the web process grows by",
            Target("< 50 MiB, 200 MB/s as the disk permits", "the same", 50, 50), grown,
            f"{grown:.0f} MiB, {speed:.0f} MB/s", (), 0 if is_accepted else 1, watch.usage,
        )
    ]  # fmt: skip


def burst(bench: Bench) -> list[Row]:
    """`/healthz`, asked by another process every 100 ms, while forty uploads at a time go on and on."""
    with bench.server() as server:
        prepared = _requests(small_files(bench.speech))
        with HealthSession(server.url) as health, Watch(server) as watch:
            _upload_all(server, prepared, bench.seconds, BURST)
    late = sum(math.isinf(ms) for ms in health.times_ms)
    times = [ms for ms in health.times_ms if not math.isinf(ms)]
    return [
        Row(
            f"`/healthz` during uploads of 100 kB over {BURST} connections",
            Target("largest < 50 ms", "largest < 50 ms", 50, 50), max(times, default=math.nan),
            f"{len(times)} answers", times, late, watch.usage,
        )
    ]  # fmt: skip


def _requests(files: Iterator[SoundFile]) -> Iterator[bytes]:
    return (upload(file.name, file.data) for file in files)


def _upload_all(
    server: LoadServer, prepared: Iterator[bytes], seconds: float, connections: int
) -> tuple[Traffic, list[str]]:
    """What was sent, and the ids of the tasks that were answered for."""
    ids: list[str] = []

    def note(answer: Answer) -> None:
        ids.append(json.loads(answer.body)["task"]["id"])

    wanted = Wanted(ACCEPTED, note)
    sent = traffic.closed_loop(server.address, prepared, connections=connections, seconds=seconds, wanted=wanted)
    return run(sent), ids


def _lost(server: LoadServer, ids: list[str]) -> int:
    """How many tasks that were answered for are not in the list."""
    listed: set[str] = set()
    cursor = ""
    while True:
        page = server.get(f"/api/tasks?limit=200{cursor}")
        listed |= {task["id"] for task in page["tasks"]}
        if page["next_cursor"] is None:
            return len(set(ids) - listed)
        cursor = f"&cursor={page['next_cursor']}"


def _large_form(nbytes: int) -> Iterator[bytes]:
    yield b'--large\r\nContent-Disposition: form-data; name="file"; filename="large.wav"\r\n\r\n'
    yield from large_wav(nbytes)
    yield b"\r\n--large--\r\n"
