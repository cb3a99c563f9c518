"""How fast a task gets on with each model on each device, as measured, and what that says about when tasks are done.

A speed is one task's own, beside whatever else ran on the device at the time: each of eight tasks that share a device
is slower than one alone would be, and the device gets eight times that done. So it is known in how much company it was
measured, and a forecast for more or less company follows from what batches were measured to gain.

Sound is counted by what it costs. A window that a recording does not fill is encoded as whole as any other, so three
seconds of sound take far more than a tenth of what thirty do: taken at its length, a short recording would make its
model look many times slower than it is with long ones, and a long one's speed would promise a short one too early.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import Lock

from whisper_core.text.transcript import WINDOW_SECONDS

_NEWEST_WEIGHT = 0.3  # of one measurement of average length: the last three or so decide, one odd one does not
_FULL_WEIGHT_SECONDS = WINDOW_SECONDS  # a measurement over less sound than one window counts in proportion

# The part of a full window's time that a window takes with hardly any sound in it: for its encoding, its prompt, and in
# a task's first one for the language. On 2 cores of an EPYC (AVX2), which others used too, a recording of 3 s took 0.4
# of a window's time with tiny.en and 0.8 with base; a half is within a factor of two of both.
_EMPTY_WINDOW_SHARE = 0.5

# n tasks at once get n ** this times the work of one done. On 2 cores 16 tasks got 2.9 (tiny.en) and 1.8 times (base)
# as much done as one, on an H200 64 tasks 12 (turbo) and 15 times (large-v3); docs/scheduling.md, docs/benchmarks.md.
_GAIN_EXPONENT = {"cpu": 0.3, "cuda": 0.6}


def counted_seconds(audio_seconds: float) -> float:
    """The seconds of sound, in windows that are full, that cost as much as a recording's last `audio_seconds`.

    Of a window or more they are what they are: what windows before the last one cost for their sound is in the speed.
    """
    if audio_seconds <= 0:
        return 0.0
    return audio_seconds + _EMPTY_WINDOW_SHARE * max(0.0, WINDOW_SECONDS - audio_seconds)


class SpeedTable:
    """Moving averages of the seconds of sound, counted as by `counted_seconds`, that one task gets done in a second.
    Any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._speeds: dict[tuple[str, str], float] = {}
        self._concurrencies: dict[tuple[str, str], float] = {}  # tasks at once while they were measured; not kept

    def record(
        self,
        model: str,
        device: str,
        audio_seconds: float,
        seconds: float,
        *,
        ends_recording: bool = False,
        concurrency: int = 1,
    ) -> None:
        """One measurement: `audio_seconds` of a task's sound took `seconds`. Lengths not above 0 are ignored.

        ends_recording: whether nothing comes after that sound, so that it is all that its last window held. company:
        tasks that the device had then, this one among them.
        """
        if audio_seconds <= 0 or seconds <= 0:
            return
        if ends_recording:
            audio_seconds = counted_seconds(audio_seconds)
        measured = audio_seconds / seconds
        with self._lock:
            known = self._speeds.get((model, device))
            weight = _NEWEST_WEIGHT * min(1.0, audio_seconds / _FULL_WEIGHT_SECONDS)
            self._speeds[model, device] = measured if known is None else known + weight * (measured - known)
            beside = self._concurrencies.get((model, device), concurrency)
            self._concurrencies[model, device] = beside + weight * (concurrency - beside)

    def speed(self, model: str, device: str) -> float | None:
        """Seconds of audio per second; None before there is a measurement."""
        with self._lock:
            return self._speeds.get((model, device))

    def dump(self) -> dict[str, dict[str, float]]:
        """By device and model, for `load` after a restart."""
        with self._lock:
            known = dict(self._speeds)
        speeds: dict[str, dict[str, float]] = {}
        for (model, device), speed in known.items():
            speeds.setdefault(device, {})[model] = round(speed, 4)
        return speeds

    def load(self, speeds: Mapping[str, Mapping[str, float]], /) -> None:
        """Start from what an earlier run measured. Raises AttributeError, TypeError or ValueError when it is something
        else; nothing is loaded then."""
        known = {(model, device): float(speed) for device, each in speeds.items() for model, speed in each.items()}
        if not all(0 < speed < math.inf for speed in known.values()):
            raise ValueError("a speed is none")
        with self._lock:
            self._speeds = {**known, **self._speeds}

    def fastest(self) -> dict[str, float]:
        """Of every model that was measured, on the device where it is fastest."""
        with self._lock:
            known = dict(self._speeds)
        speeds: dict[str, float] = {}
        for (model, _), speed in known.items():
            speeds[model] = max(speed, speeds.get(model, 0.0))
        return speeds

    def running_eta(
        self, model: str, device: str, audio_left_seconds: float, concurrency: int | None = None
    ) -> float | None:
        """Seconds until a task that runs, or begins now, with so much sound left is done; None before there is a
        measurement. company: tasks that the device has meanwhile; None for as many as when it was measured."""
        with self._lock:
            speed = self._speeds.get((model, device))
            measured_beside = self._concurrencies.get((model, device))
        if speed is None:
            return None
        if concurrency is not None and measured_beside is not None:
            exponent = _GAIN_EXPONENT["cuda" if device.startswith("cuda") else "cpu"]
            speed *= (measured_beside / max(1, concurrency)) ** (1 - exponent)
        return counted_seconds(audio_left_seconds) / speed
