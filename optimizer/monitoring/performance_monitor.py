"""Counts what the devices get done, and makes a sample of it at a steady pace."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import fmean

from optimizer.common.clock import Clock
from optimizer.memory.ledger import PoolSnapshot
from optimizer.monitoring.samples import DeviceSample, Sample
from optimizer.monitoring.totals import WAIT_BOUNDS_S, Distribution, Totals
from optimizer.monitoring.utilization import MeanUtilization, Utilization, UtilizationMeter
from optimizer.timing.speeds import SpeedTable

log = logging.getLogger(__name__)

THROUGHPUT_WINDOW_S = 60.0
MAX_WAITS = 10_000  # of one interval; of more, the latest ones represent all


@dataclass(frozen=True)
class Measured:
    """One interval: the sample that is kept, and what else the tuner needs to know of it."""

    sample: Sample
    audio: Mapping[str, float]  # seconds of sound transcribed, by model
    bound_fraction: float  # share of the time in which the limit kept a task waiting
    models_loaded: int  # loads, which take time from transcribing


@dataclass
class _Counters:
    """What happened since the last sample."""

    audio: dict[tuple[str, str], float] = field(default_factory=dict)  # seconds of sound, by device and model
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_WAITS))  # seconds, of tasks that started
    started: int = 0
    models_loaded: int = 0


class PerformanceMonitor:
    """Any thread. Its own thread, `monitor`, calls `on_sample` every `interval_s` seconds between start and stop."""

    def __init__(self, clock: Clock, speeds: SpeedTable, *, interval_s: float, on_sample: Callable[[], None]) -> None:
        self._speed_table = speeds
        self._clock = clock
        self._interval_s = interval_s
        self._on_sample = on_sample
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, float]] = deque()  # when, and how many seconds of sound were done
        self._counters = _Counters()
        self._audio_ever: dict[tuple[str, str], float] = {}  # seconds of sound since the start, by device and model
        self._waits_ever = Distribution(WAIT_BOUNDS_S)
        self._moved_to_cpu = 0
        self._utilization = UtilizationMeter(clock.monotonic())
        self._ended_before = (0, 0)  # completed and failed tasks when the last sample was made
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    # --- what happens ------------------------------------------------------------------------------------------

    def add_audio(self, audio_seconds: float, model: str, device: str) -> None:
        """So many more seconds of sound are transcribed."""
        with self._lock:
            self._recent.append((self._clock.monotonic(), audio_seconds))
            for audio in (self._counters.audio, self._audio_ever):
                audio[device, model] = audio.get((device, model), 0.0) + audio_seconds

    def task_started(self, wait_seconds: float) -> None:
        """A task began its first attempt, after waiting for so long."""
        with self._lock:
            self._counters.started += 1
            self._counters.waits.append(max(0.0, wait_seconds))
            self._waits_ever.add(max(0.0, wait_seconds))

    def task_moved_to_cpu(self) -> None:
        """A GPU's memory did not hold it."""
        with self._lock:
            self._moved_to_cpu += 1

    def model_loaded(self) -> None:
        with self._lock:
            self._counters.models_loaded += 1

    def set_utilization(self, current: Utilization) -> None:
        """So many tasks run and wait from now on."""
        with self._lock:
            self._utilization.set(current, self._clock.monotonic())

    # --- what it comes to --------------------------------------------------------------------------------------

    def throughput(self) -> float:
        """Seconds of sound transcribed per second over the last minute, on all devices."""
        oldest = self._clock.monotonic() - THROUGHPUT_WINDOW_S
        with self._lock:
            while self._recent and self._recent[0][0] < oldest:
                self._recent.popleft()
            return sum(audio_seconds for _, audio_seconds in self._recent) / THROUGHPUT_WINDOW_S

    def totals(self) -> Totals:
        """Since the start."""
        with self._lock:
            waits = self._waits_ever
            return Totals(dict(self._audio_ever), tuple(waits.up_to()), waits.total, self._moved_to_cpu)

    def finish_interval(self, current: Utilization, memory: Sequence[PoolSnapshot], ended: tuple[int, int]) -> Measured:
        """What happened since the last call. memory: of every device, now.

        ended: how many tasks were completed and how many failed since the server started.
        """
        now = self._clock.monotonic()
        with self._lock:
            self._utilization.set(current, now)
            mean = self._utilization.restart(now)
            counters, self._counters = self._counters, _Counters()
            ended_before, self._ended_before = self._ended_before, ended
        sample = self._sample(counters, mean, memory, (ended[0] - ended_before[0], ended[1] - ended_before[1]))
        by_model: dict[str, float] = {}
        for (_, model), audio_seconds in counters.audio.items():
            by_model[model] = by_model.get(model, 0.0) + audio_seconds
        return Measured(sample, by_model, mean.bound_fraction, counters.models_loaded)

    def _sample(
        self, counters: _Counters, mean: MeanUtilization, memory: Sequence[PoolSnapshot], ended: tuple[int, int]
    ) -> Sample:
        waits = sorted(counters.waits)
        audio_seconds = sum(counters.audio.values())
        return Sample(
            at=self._clock.now().timestamp(),
            span_seconds=mean.span_seconds,
            throughput=audio_seconds / mean.span_seconds if mean.span_seconds > 0 else 0.0,
            running=mean.running,
            waiting=mean.waiting,
            retrying=mean.retrying,
            started=counters.started,
            completed=ended[0],
            failed=ended[1],
            mean_wait_seconds=fmean(waits) if waits else None,
            p95_wait_seconds=waits[ceil(0.95 * len(waits)) - 1] if waits else None,
            occupancy=mean.occupancy,
            devices={snapshot.device: _device(snapshot) for snapshot in memory},
            speeds=self._speeds(counters.audio),
        )

    def _speeds(self, ran: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
        """By device and model, of those that ran in the interval."""
        speeds: dict[str, dict[str, float]] = {}
        for device, model in ran:
            if (speed := self._speed_table.speed(model, device)) is not None:
                speeds.setdefault(device, {})[model] = speed
        return speeds

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
