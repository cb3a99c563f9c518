"""Counts what the devices get done, and makes a sample of it at a steady pace."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean

from optimizer.common.clock import Clock
from optimizer.memory.ledger import PoolSnapshot
from optimizer.monitoring.samples import DeviceSample, Sample
from optimizer.monitoring.utilization import Level, LevelMeter
from optimizer.timing.speeds import SpeedTable

log = logging.getLogger(__name__)

THROUGHPUT_WINDOW_S = 60.0
MAX_WAITS = 10_000  # of one interval; beyond that the latest tell enough


@dataclass(frozen=True)
class Measured:
    """One interval. audio: seconds of sound done, by model. bound_fraction: of the time in which the limit kept a task
    waiting. models_loaded: how often one was, which takes time from transcribing."""

    sample: Sample
    audio: Mapping[str, float]
    bound_fraction: float
    models_loaded: int


class PerformanceMonitor:
    """Any thread. Its own thread, `monitor`, calls `on_sample` every `interval_s` seconds between start and stop."""

    def __init__(self, clock: Clock, *, interval_s: float, on_sample: Callable[[], None]) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._on_sample = on_sample
        self.speeds = SpeedTable()
        self._lock = threading.Lock()
        self._done: deque[tuple[float, float]] = deque()
        self._audio: dict[tuple[str, str], float] = {}  # of this interval, by device and model
        self._waits: deque[float] = deque(maxlen=MAX_WAITS)
        self._started = 0
        self._models_loaded = 0
        self._levels = LevelMeter(clock.monotonic())
        self._ended_before = (0, 0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    # --- what happened -----------------------------------------------------------------------------------------

    def add_audio(self, audio_seconds: float, model: str, device: str) -> None:
        """This much more sound is done."""
        with self._lock:
            self._done.append((self._clock.monotonic(), audio_seconds))
            self._audio[device, model] = self._audio.get((device, model), 0.0) + audio_seconds

    def task_started(self, wait_seconds: float) -> None:
        """A task began its first attempt, after so long a wait."""
        with self._lock:
            self._started += 1
            self._waits.append(max(0.0, wait_seconds))

    def model_loaded(self) -> None:
        with self._lock:
            self._models_loaded += 1

    def set_level(self, level: Level) -> None:
        """So many tasks run and wait from now on."""
        with self._lock:
            self._levels.set(level, self._clock.monotonic())

    # --- what that comes to ------------------------------------------------------------------------------------

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

    def take(self, level: Level, memory: Sequence[PoolSnapshot], ended: tuple[int, int]) -> Measured:
        """What happened since the last `take`. memory: every device's, now. ended: how many tasks were completed and
        how many failed, ever."""
        now = self._clock.monotonic()
        with self._lock:
            self._levels.set(level, now)
            mean = self._levels.take(now)
            audio, self._audio = self._audio, {}
            waits, self._waits = sorted(self._waits), deque(maxlen=MAX_WAITS)
            started, self._started = self._started, 0
            models_loaded, self._models_loaded = self._models_loaded, 0
            ended_before, self._ended_before = self._ended_before, ended
        speeds: dict[str, dict[str, float]] = {}
        for device, model in audio:
            if (speed := self.speeds.speed(model, device)) is not None:
                speeds.setdefault(device, {})[model] = speed
        sample = Sample(
            at=self._clock.now().timestamp(),
            span_seconds=mean.span_seconds,
            throughput=sum(audio.values()) / mean.span_seconds if mean.span_seconds > 0 else 0.0,
            running=mean.running,
            waiting=mean.waiting,
            retrying=mean.retrying,
            started=started,
            completed=ended[0] - ended_before[0],
            failed=ended[1] - ended_before[1],
            mean_wait_seconds=fmean(waits) if waits else None,
            p95_wait_seconds=waits[ceil(0.95 * len(waits)) - 1] if waits else None,
            occupancy=mean.occupancy,
            devices={snapshot.device: _device(snapshot) for snapshot in memory},
            speeds=speeds,
        )
        by_model: dict[str, float] = {}
        for (_, model), audio_seconds in audio.items():
            by_model[model] = by_model.get(model, 0.0) + audio_seconds
        return Measured(sample, by_model, mean.bound_fraction, models_loaded)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self._on_sample()
            except Exception:
                log.exception("event=sample_failed")


def _device(snapshot: PoolSnapshot) -> DeviceSample:
    return DeviceSample(
        total=snapshot.total,
        headroom=snapshot.headroom,
        reserved=snapshot.reserved,
        used=snapshot.used,
        others=snapshot.others,
        models=snapshot.models,
    )
