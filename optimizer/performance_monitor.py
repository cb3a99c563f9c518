"""Counts what the devices get done, and says so in the log at a steady pace."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from optimizer.clock import Clock
from optimizer.throughput import SpeedBook

log = logging.getLogger(__name__)

THROUGHPUT_WINDOW_S = 60.0


class PerformanceMonitor:
    """Any thread. Its own thread, `monitor`, calls `on_sample` every `interval_s` seconds between start and stop."""

    def __init__(self, clock: Clock, *, interval_s: float, on_sample: Callable[[], None]) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._on_sample = on_sample
        self.speeds = SpeedBook()
        self._done: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def add_audio(self, audio_seconds: float) -> None:
        """This much more sound is done."""
        with self._lock:
            self._done.append((self._clock.monotonic(), audio_seconds))

    def speed(self, model: str, device: str) -> float | None:
        """Seconds of sound that one task gets done in a second, measured; None before the first window."""
        return self.speeds.speed(model, device)

    def throughput(self) -> float:
        """Seconds of sound done per second over the last minute, on all devices."""
        oldest = self._clock.monotonic() - THROUGHPUT_WINDOW_S
        with self._lock:
            while self._done and self._done[0][0] < oldest:
                self._done.popleft()
            return sum(audio_seconds for _, audio_seconds in self._done) / THROUGHPUT_WINDOW_S

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self._on_sample()
            except Exception:
                log.exception("event=sample_failed")
