"""Requests over several connections: each as soon as the one before is answered, or so many a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from benchmarks.load.http_client import Address, Answer, Connection

OK = frozenset({200})


@dataclass
class Traffic:
    """times_ms: of the answers that were wanted; `errors` counts the others."""

    times_ms: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Wanted answers a second."""
        return len(self.times_ms) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Wanted:
    statuses: Collection[int] = OK
    note: Callable[[Answer], None] | None = None  # gets every wanted answer


async def closed_loop(
    address: Address, requests: Iterator[bytes], *, connections: int, seconds: float, wanted: Wanted | None = None
) -> Traffic:
    """As many requests as are answered in that time, or all that there are."""
    traffic, until = Traffic(), time.perf_counter() + seconds

    async def lane() -> None:
        connection = Connection(address)
        while time.perf_counter() < until and (request := next(requests, None)) is not None:
            await _ask(connection, request, time.perf_counter(), traffic, wanted or Wanted())
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(connections)))
    traffic.seconds = time.perf_counter() - began
    return traffic


async def at_rate(
    address: Address,
    requests: Iterator[bytes],
    *,
    per_second: float,
    connections: int,
    seconds: float,
    wanted: Wanted | None = None,
) -> Traffic:
    """Each request has its moment, and its time counts from then, also when no connection was free for it: a server
    that stalls is charged for everybody whom it kept waiting."""
    traffic = Traffic()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    lanes = [Connection(address) for _ in range(connections)]
    for lane in lanes:
        free.put_nowait(lane)

    async def one(request: bytes, due: float) -> None:
        connection = await free.get()
        await _ask(connection, request, due, traffic, wanted or Wanted())
        free.put_nowait(connection)

    began = time.perf_counter()
    asked = []
    for number in range(round(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.append(asyncio.create_task(one(next(requests), due)))
    await asyncio.gather(*asked)
    traffic.seconds = time.perf_counter() - began
    for lane in lanes:
        lane.close()
    return traffic


async def _ask(connection: Connection, request: bytes, since: float, traffic: Traffic, wanted: Wanted) -> None:
    try:
        answer = await connection.ask(request)
    except OSError:
        traffic.errors += 1
        return
    if answer.status not in wanted.statuses:
        traffic.errors += 1
        return
    traffic.times_ms.append((time.perf_counter() - since) * 1000)
    if wanted.note is not None:
        wanted.note(answer)
