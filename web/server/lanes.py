"""The threads that answer requests, apart by what the requests are: slow uploads never take the threads of reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from web.adapters.waiting import waiting_places
from web.server.request_head import Lane

Result = TypeVar("Result")
PROBE_THREADS = 4
MAX_WAITING = 1000  # requests that are here completely
SHARE = 2  # one address gets at most one part in so many of a lane that is held by the client's pace
SPARE_WAITERS = 16  # threads of Lane.WAIT beyond those that may wait; they tell the others that there is no room
_PACED = frozenset({Lane.UPLOAD, Lane.DOWNLOAD, Lane.WAIT})


@dataclass(frozen=True)
class LaneSize:
    threads: int
    max_requests: int  # running and waiting


def lane_sizes(web_threads: int) -> dict[Lane, LaneSize]:
    """Threads that wait, for the disk or for a client, cost little, so there are more of them.

    Reads compute, and only one thread of Python does so at a time: with 64 of them 500 reads a second took 62 ms each
    (median, two cores), with 16 they took 2 ms (`python -m benchmarks.load --rows task`).
    """
    changes = 2 * web_threads
    paced = LaneSize(8 * web_threads, 16 * web_threads)
    waiting = waiting_places(web_threads) + SPARE_WAITERS
    return {
        Lane.PROBE: LaneSize(PROBE_THREADS, MAX_WAITING),
        Lane.READ: LaneSize(web_threads, web_threads + MAX_WAITING),
        Lane.CHANGE: LaneSize(changes, changes + MAX_WAITING),
        Lane.UPLOAD: paced,
        Lane.DOWNLOAD: paced,
        Lane.WAIT: LaneSize(waiting, waiting),
    }


class Lanes:
    """The front's thread submits and is told of the end, so that what is counted needs no lock."""

    def __init__(self, sizes: dict[Lane, LaneSize]) -> None:
        self._sizes = sizes
        self._threads = {
            lane: ThreadPoolExecutor(size.threads, thread_name_prefix=f"web-{lane.value}")
            for lane, size in sizes.items()
        }
        self._requests: Counter[Lane] = Counter()
        self._by_client: Counter[tuple[Lane, str]] = Counter()

    @property
    def count(self) -> int:
        return self._requests.total()

    def try_submit(self, lane: Lane, client: str | None, work: Callable[[], Result]) -> Future[Result] | None:
        """None when there is no room. client: whose share is counted. `forget` has to follow."""
        if self._requests[lane] >= self._sizes[lane].max_requests or not self._has_share(lane, client):
            return None
        self._requests[lane] += 1
        if client is not None:
            self._by_client[lane, client] += 1
        return self._threads[lane].submit(work)

    def forget(self, lane: Lane, client: str | None) -> None:
        self._requests[lane] -= 1
        if client is not None:
            self._by_client[lane, client] -= 1
            if not self._by_client[lane, client]:
                del self._by_client[lane, client]

    def shut_down(self) -> None:
        """Waits for nothing."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    def _has_share(self, lane: Lane, client: str | None) -> bool:
        if client is None or lane not in _PACED:
            return True
        return self._by_client[lane, client] < self._sizes[lane].max_requests // SHARE
