"""How fast each model runs on each device, as measured, and what that says about when tasks will be done.

A speed is one task's own, beside whatever else ran on the device at the time: each of eight tasks that share a device
is slower than one alone would be, and the device gets eight times that done. So each speed is kept with the concurrency
at which it was measured, and estimates for another concurrency follow from what batches were measured to gain.

Sound is counted by what it costs. A window that a recording does not fill costs as much to encode as any other, so
three seconds of sound take far more than a tenth of what thirty do. Counted by its length alone, a short recording
would make its model look many times slower than it is with long ones, and estimates for short ones would be too short.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from threading import Lock

from whisper_core.common.units import WINDOW_SECONDS

_IDENTITY = "#"  # stands before it in a kept name; no model's name has it
_NEWEST_WEIGHT = 0.3  # of a measurement of a full window: about the last three decide, and no single outlier

# What a window with hardly any sound in it takes, as a fraction of a full one: for its encoding, its prompt, and in a
# task's first one the language. On 2 cores of an EPYC (AVX2), which others used too, a recording of 3 s took 0.4 of a
# window's time with tiny.en and 0.8 with base; a half is within a factor of two of both.
_EMPTY_WINDOW_SHARE = 0.5

# n tasks at once get n ** this times as much done as one. On 2 cores 16 tasks got 2.9 (tiny.en) and 1.8 times (base)
# as much done as one, on an H200 64 tasks 12 (turbo) and 15 times (large-v3); docs/scheduling.md, docs/benchmarks.md.
_GAIN_EXPONENT = {"cpu": 0.3, "cuda": 0.6}


def counted_seconds(audio_seconds: float) -> float:
    """The seconds of sound in full windows that would cost as much as the last `audio_seconds` of a recording.

    From one window on they are counted as they are: how full the windows before the last one are is part of the speed.
    """
    if audio_seconds <= 0:
        return 0.0
    return audio_seconds + _EMPTY_WINDOW_SHARE * max(0.0, WINDOW_SECONDS - audio_seconds)


class SpeedTable:
    """Moving averages of the `counted_seconds` of sound that one task gets done per second. Any thread."""

    def __init__(self, identity_of: Callable[[str], str] = lambda model: "") -> None:
        """identity_of: what tells a model's files from others under the same name; empty where they cannot change."""
        self._identity_of = identity_of
        self._lock = Lock()
        self._speeds: dict[tuple[str, str], float] = {}
        self._concurrencies: dict[tuple[str, str], float] = {}  # tasks at once when it was measured; not kept

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
        """One measurement: `audio_seconds` of a task's sound took `seconds`. Ignored unless both are above 0.

        ends_recording: whether the sound reaches the end, so that its last window held nothing else.
        concurrency: tasks that ran on the device, this one included.
        """
        if audio_seconds <= 0 or seconds <= 0:
            return
        if ends_recording:
            audio_seconds = counted_seconds(audio_seconds)
        measured = audio_seconds / seconds
        with self._lock:
            known = self._speeds.get((model, device))
            weight = _NEWEST_WEIGHT * min(1.0, audio_seconds / WINDOW_SECONDS)
            self._speeds[model, device] = measured if known is None else known + weight * (measured - known)
            beside = self._concurrencies.get((model, device), concurrency)
            self._concurrencies[model, device] = beside + weight * (concurrency - beside)

    def forget(self, model: str) -> None:
        """Its files are others than they were."""
        with self._lock:
            for table in (self._speeds, self._concurrencies):
                for key in [key for key in table if key[0] == model]:
                    del table[key]

    def speed(self, model: str, device: str) -> float | None:
        """Seconds of sound per second; None before there is a measurement."""
        with self._lock:
            return self._speeds.get((model, device))

    def dump(self) -> dict[str, dict[str, float]]:
        """The speeds by device and model, with its files' identity, for `load` after a restart."""
        with self._lock:
            known = dict(self._speeds)
        speeds: dict[str, dict[str, float]] = {}
        for (model, device), speed in known.items():
            speeds.setdefault(device, {})[self._kept_name(model)] = round(speed, 4)
        return speeds

    def load(self, speeds: Mapping[str, Mapping[str, float]], /) -> None:
        """Starts from what an earlier run measured. Raises AttributeError, TypeError or ValueError, and loads nothing,
        when it is not what `dump` returned. Speeds of other files than a model has now are left out."""
        known = {
            (name.partition(_IDENTITY)[0], device): float(speed)
            for device, each in speeds.items()
            for name, speed in each.items()
            if name == self._kept_name(name.partition(_IDENTITY)[0])
        }
        if not all(0 < speed < math.inf for speed in known.values()):
            raise ValueError("not a speed")
        with self._lock:
            self._speeds = {**known, **self._speeds}

    def _kept_name(self, model: str) -> str:
        identity = self._identity_of(model)
        return f"{model}{_IDENTITY}{identity}" if identity else model

    def fastest(self) -> dict[str, float]:
        """The speed of every model that was measured, on the device where it is fastest."""
        with self._lock:
            known = dict(self._speeds)
        speeds: dict[str, float] = {}
        for (model, _), speed in known.items():
            speeds[model] = max(speed, speeds.get(model, 0.0))
        return speeds

    def running_eta(self, model: str, device: str, audio_left_seconds: float, concurrency: int) -> float | None:
        """Seconds until a task that runs or starts now, with so much sound left, is done; None before there is a
        measurement. concurrency: tasks on the device meanwhile."""
        with self._lock:
            speed = self._speeds.get((model, device))
            measured_beside = self._concurrencies.get((model, device))
        if speed is None:
            return None
        if measured_beside is not None:  # not of a speed that an earlier run measured
            exponent = _GAIN_EXPONENT["cuda" if device.startswith("cuda") else "cpu"]
            speed *= (measured_beside / max(1, concurrency)) ** (1 - exponent)
        return counted_seconds(audio_left_seconds) / speed
