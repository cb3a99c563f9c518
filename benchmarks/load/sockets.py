"""Rows about the live feed: how many pages it serves, how it refuses more, and what it sends to many that watch."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.load import traffic
from benchmarks.load.bench import Bench, run
from benchmarks.load.figures import Row, Spread, Target, milliseconds
from benchmarks.load.http_client import Address, Connection, get, send
from benchmarks.load.live_client import LiveClient, OnEvent, Outcome
from benchmarks.load.server import LoadServer, Watch
from benchmarks.load.sounds import short_files
from benchmarks.load.traffic import Traffic

CONNECT_AT_ONCE = 20
CHANGES_PER_SECOND = 2
READS_PER_SECOND = 20
WINDOW_S = 0.5
SETTLE_S = 3.0
PROBES = 320
DELIVERY = Target("500 clients", "1,000 clients, events within 250 ms p99", 500, 1000, is_rate=True)
REFUSAL = Target("p99 < 50 ms", "p99 < 50 ms", 50, 50)
FAN_OUT = Target("100 watchers, no gap", "1,000 watchers, no gap", 0, 0)


@dataclass
class Crowd:
    """Pages that are open at the same time."""

    clients: list[LiveClient] = field(default_factory=list)
    refused: int = 0
    errors: int = 0

    @property
    def num_open(self) -> int:
        return sum(client.is_open for client in self.clients)

    async def connect(self, address: Address, count: int, on_event: OnEvent) -> None:
        """So many, a few at a time."""
        gate = asyncio.Semaphore(CONNECT_AT_ONCE)

        async def one() -> None:
            async with gate:
                try:
                    client, outcome = await LiveClient.connect(address, on_event)
                except OSError:
                    self.errors += 1
                    return
            if outcome is Outcome.CONNECTED:
                self.clients.append(client)
            else:
                self.refused += 1

        await asyncio.gather(*(one() for _ in range(count)))

    def close(self) -> None:
        for client in self.clients:
            client.close()


def clients(bench: Bench) -> list[Row]:
    """Pages that hear of a task's progress twice a second, and of a change of another task's priority twice a second.
    The time is from sending the change to the page's hearing of it; the server thins events out to ten a second."""
    return [_measure_clients(bench, count) for count in bench.socket_clients]


def cap(bench: Bench) -> list[Row]:
    """Pages are opened until one is refused, and then many more are tried while tasks are read."""
    with bench.server(is_noop=True) as server:
        task_id = _waiting_task(server, bench)
        with Watch(server) as watch:
            found = run(_beyond_the_cap(server.address, task_id, PROBES))
    title = f"connecting to the live feed over the cap of {found.cap}, {PROBES} times"
    reads = Spread.of(found.reads.times_ms)
    said = f"{found.refused} refused; reads meanwhile p99 {milliseconds(reads.p99) if reads else 'unknown'} ms"
    errors = found.errors + found.reads.errors
    spread = Spread.of(found.times_ms)
    figure = spread.p99 if spread else math.nan
    return [Row(title, REFUSAL, figure, said, found.times_ms, errors, watch.usage)]


def fan_out(bench: Bench) -> list[Row]:
    """Pages that watch one task, whose text grows twice a second."""
    return [_measure_fan_out(bench, count) for count in (100, 1000) if count <= max(bench.socket_clients)]


def _measure_clients(bench: Bench, count: int) -> Row:
    with bench.server(is_noop=True) as server:
        _endless_task(server, bench)
        task_id = _waiting_task(server, bench)
        with Watch(server) as watch:
            found = run(_deliver(server.address, task_id, count, bench.seconds))
    http, events = Spread.of(found.reads.times_ms), Spread.of(found.times_ms)
    is_quick = events is not None and events.p99 < 250 and http is not None and http.p99 < 100
    said = f"{found.num_open} connected; reads meanwhile p99 {milliseconds(http.p99) if http else 'unknown'} ms"
    said += f"; {watch.usage.threads} threads"
    enough = found.num_open if is_quick else min(found.num_open, 999)
    errors = found.missing + found.reads.errors + found.missed
    title = f"{count:,} pages open, each told of changes"
    return Row(title, DELIVERY, enough, said, found.times_ms, errors, watch.usage)


@dataclass(frozen=True)
class Delivery:
    """times_ms: from a change to a page's hearing of it. missing: pages that were refused, failed or were closed.
    missed: events that did not arrive."""

    times_ms: list[float]
    reads: Traffic
    num_open: int
    missing: int
    missed: int


async def _deliver(address: Address, task_id: str, count: int, seconds: float) -> Delivery:
    sent: dict[bytes, float] = {}  # when each change was sent, by the priority that it set
    times: list[float] = []
    marker = task_id.encode()

    def on_event(_: LiveClient, event: bytes, at: float) -> None:
        if event.startswith(b'["task"') and marker in event:
            priority = json.loads(event)[1]["priority"].encode()
            if priority in sent:
                times.append((at - sent[priority]) * 1000)

    crowd = Crowd()
    await crowd.connect(address, count, on_event)
    await asyncio.sleep(SETTLE_S)
    reading = asyncio.create_task(
        traffic.at_rate(
            address, itertools.repeat(get(f"/api/tasks/{task_id}")), per_second=READS_PER_SECOND, connections=4,
            seconds=seconds,
        )
    )  # fmt: skip
    changer, changes = Connection(address), 0
    until = time.perf_counter() + seconds
    for word in itertools.cycle(("high", "low", "normal")):
        if time.perf_counter() >= until:
            break
        sent[word.encode()] = time.perf_counter()
        answer = await changer.ask(_priority_change(task_id, word))
        changes += answer.status == 200
        await asyncio.sleep(1 / CHANGES_PER_SECOND)
    reads = await reading
    await asyncio.sleep(1.0)
    num_open = crowd.num_open
    changer.close()
    crowd.close()
    return Delivery(times, reads, num_open, count - num_open, max(0, changes * num_open - len(times)))


def _priority_change(task_id: str, word: str) -> bytes:
    return send("PATCH", f"/api/tasks/{task_id}", json.dumps({"priority": word}).encode(), "application/json")


@dataclass
class Beyond:
    cap: int
    refused: int = 0
    errors: int = 0
    times_ms: list[float] = field(default_factory=list)
    reads: Traffic = field(default_factory=Traffic)


async def _beyond_the_cap(address: Address, task_id: str, probes: int) -> Beyond:
    crowd = Crowd()
    while not crowd.refused and len(crowd.clients) < 4096:
        await crowd.connect(address, CONNECT_AT_ONCE, _ignore)
    found = Beyond(cap=len(crowd.clients))

    async def probe() -> None:
        began = time.perf_counter()
        try:
            client, outcome = await LiveClient.connect(address, _ignore)
        except OSError:
            found.errors += 1
            return
        found.times_ms.append((time.perf_counter() - began) * 1000)
        found.refused += outcome is Outcome.REFUSED
        client.close()

    reading = asyncio.create_task(
        traffic.at_rate(
            address, itertools.repeat(get(f"/api/tasks/{task_id}")), per_second=READS_PER_SECOND, connections=4,
            seconds=probes / 32,
        )
    )  # fmt: skip
    for _ in range(probes // 4):  # 32 a second
        await asyncio.gather(*(probe() for _ in range(4)))
        await asyncio.sleep(0.125)
    found.reads = await reading
    crowd.close()
    return found


def _measure_fan_out(bench: Bench, count: int) -> Row:
    with bench.server(is_noop=True) as server:
        task_id = _endless_task(server, bench)
        with Watch(server) as watch:
            seen, gaps, crowd_size = run(_watch_task(server.address, task_id, count, bench.seconds))
    per_client = seen / max(1, crowd_size) / bench.seconds
    said = f"{crowd_size} watching, {per_client:.1f} messages a second to each, {gaps} gaps"
    missing = count - crowd_size
    title = f"{count:,} pages watch a task whose text grows {1 / WINDOW_S:.0f} times a second"
    return Row(title, FAN_OUT, float(gaps + missing), said, (), gaps + missing, watch.usage)


async def _watch_task(address: Address, task_id: str, count: int, seconds: float) -> tuple[int, int, int]:
    """Messages, gaps between the windows that a page was told of, and how many pages watched to the end."""
    numbers: dict[int, list[int]] = defaultdict(list)
    messages = 0
    is_counting = False

    def on_event(client: LiveClient, event: bytes, _: float) -> None:
        nonlocal messages
        messages += is_counting
        if event.startswith(b'["segments"'):
            numbers[id(client)].append(int(json.loads(event)[1]["seq"]))

    crowd = Crowd()
    await crowd.connect(address, count, on_event)
    for client in crowd.clients:
        client.emit("watch", {"id": task_id, "from": 0})
        await asyncio.sleep(0.002)  # the server refuses commands that come faster than it executes them
    await asyncio.sleep(SETTLE_S)
    is_counting = True
    await asyncio.sleep(seconds)
    is_counting = False
    size = crowd.num_open
    crowd.close()
    silent = size - len(numbers)
    return messages, silent + sum(count_gaps(seen) for seen in numbers.values()), size


def count_gaps(numbers: list[int]) -> int:
    """How many of the consecutive numbers are missing; the first may be any."""
    return sum(max(0, after - before - 1) for before, after in itertools.pairwise(numbers))


def _endless_task(server: LoadServer, bench: Bench) -> str:
    """A task that gets further every WINDOW_S."""
    prompt = f"window_s={WINDOW_S} endless"
    task = server.upload("endless.wav", next(short_files(bench.speech)).data, initial_prompt=prompt)
    server.wait_until(lambda: server.task(task["id"])["windows_done"] >= 1, "the endless task's first window")
    return str(task["id"])


def _waiting_task(server: LoadServer, bench: Bench) -> str:
    """One that is held before its first window would not wait, so it asks for a model that is not here."""
    return str(server.upload("waiting.wav", next(short_files(bench.speech)).data, model="base")["id"])


def _ignore(*_: object) -> None:
    """No event matters."""
