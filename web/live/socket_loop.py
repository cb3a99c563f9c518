"""The one thread that waits for all WebSockets, and for the moments at which something is due."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

log = logging.getLogger(__name__)

IDLE_S = 60.0
STOP_TIMEOUT_S = 5.0

OnReady = Callable[[int], None]  # gets the selector's events


class Loop(Protocol):
    """What a WebSocket needs of the loop."""

    def call_soon(self, call: Callable[[], None]) -> None:
        """On the loop's thread. Any thread."""

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """On the loop's thread. Any thread."""

    def watch(self, watched: socket.socket, events: int, on_ready: OnReady) -> None:
        """From here on, instead of what was watched before; events 0: nothing. On the loop's thread."""


class SocketLoop:
    """A call that fails is logged and ends nothing. Started and stopped once; calls before the start wait for it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._selector: selectors.BaseSelector  # set by `start`
        self._lock = threading.Lock()
        self._wake_pipe: tuple[int, int] | None = None  # while it runs
        self._is_woken = False
        self._is_stopping = False
        self._soon: deque[Callable[[], None]] = deque()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()  # of calls that are due at the same moment
        self._thread = threading.Thread(target=self._run, name="live-sockets", daemon=True)

    def start(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_pipe = os.pipe()
        self._selector.register(self._wake_pipe[0], selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        self.call_soon(self._end)
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def call_soon(self, call: Callable[[], None]) -> None:
        with self._lock:
            self._soon.append(call)
            self._wake()

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        with self._lock:
            heapq.heappush(self._later, (self._monotonic() + seconds, next(self._order), call))
            if self._later[0][2] is call:
                self._wake()

    def watch(self, watched: socket.socket, events: int, on_ready: OnReady) -> None:
        is_known = watched in self._selector.get_map()
        if is_known and events:
            self._selector.modify(watched, events, on_ready)
        elif is_known:
            self._selector.unregister(watched)
        elif events:
            self._selector.register(watched, events, on_ready)

    def _wake(self) -> None:
        """Under the lock."""
        if self._wake_pipe is not None and not self._is_woken:
            self._is_woken = True
            os.write(self._wake_pipe[1], b"\0")

    def _end(self) -> None:
        self._is_stopping = True

    def _run(self) -> None:
        while not self._is_stopping:
            for key, events in self._selector.select(self._seconds_to_next()):
                if key.data is not None:
                    self._call(partial(key.data, events))
            for call in self._due_calls():
                self._call(call)
        self._selector.close()
        with self._lock:
            for descriptor in self._wake_pipe or ():
                os.close(descriptor)
            self._wake_pipe = None

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            log.exception("event=live_socket_failed")  # a fault with one client must not end the feed

    def _seconds_to_next(self) -> float:
        with self._lock:
            if self._soon:
                return 0.0
            return max(0.0, self._later[0][0] - self._monotonic()) if self._later else IDLE_S

    def _due_calls(self) -> list[Callable[[], None]]:
        with self._lock:
            if self._is_woken and self._wake_pipe is not None:
                self._is_woken = False
                os.read(self._wake_pipe[0], 1)
            due = list(self._soon)
            self._soon.clear()
            now = self._monotonic()
            while self._later and self._later[0][0] <= now:
                due.append(heapq.heappop(self._later)[2])
            return due
