"""How fast a task gets on with each model on each device, as measured, and what that says about when tasks are done.

A speed is one task's own, beside whatever else ran on the device at the time: each of eight tasks that share a device
is slower than one alone would be, and the device gets eight times that done. A forecast therefore takes as many tasks
to go on side by side as run now. It is right while the company stays as it is; when that changes, the speed follows
within about three windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

_NEWEST_WEIGHT = 0.3  # of one measurement of average length: the last three or so decide, one odd one does not
_FULL_WEIGHT_SECONDS = 30.0  # a measurement over less sound than one window counts in proportion


class SpeedBook:
    """Moving averages of the seconds of audio that one task gets done in a second. Any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._speeds: dict[tuple[str, str], float] = {}

    def record(self, model: str, device: str, audio_seconds: float, seconds: float) -> None:
        """One measurement: `audio_seconds` of a task's sound took `seconds`. Lengths not above 0 are ignored."""
        if audio_seconds <= 0 or seconds <= 0:
            return
        measured = audio_seconds / seconds
        with self._lock:
            known = self._speeds.get((model, device))
            weight = _NEWEST_WEIGHT * min(1.0, audio_seconds / _FULL_WEIGHT_SECONDS)
            self._speeds[model, device] = measured if known is None else known + weight * (measured - known)

    def speed(self, model: str, device: str) -> float | None:
        """Seconds of audio per second; None before there is a measurement."""
        with self._lock:
            return self._speeds.get((model, device))

    def best_speed(self, model: str, devices: Iterable[str]) -> float | None:
        """The fastest measured among `devices`; None when none was measured."""
        known = [speed for device in devices if (speed := self.speed(model, device)) is not None]
        return max(known, default=None)

    def running_eta(self, model: str, device: str, audio_left_seconds: float) -> float | None:
        """Seconds until a running task with so much sound left is done; None before there is a measurement."""
        speed = self.speed(model, device)
        return None if speed is None else max(0.0, audio_left_seconds) / speed

    def waiting_eta(
        self,
        model: str,
        audio_seconds: float,
        ahead: Iterable[tuple[str, float]],
        devices: Iterable[str],
        side_by_side: int = 1,
    ) -> float | None:
        """Seconds until a waiting task is done, if nothing passes it; None when a needed speed was never measured.

        ahead: model and seconds of audio left of all that runs or waits before it. side_by_side: tasks that run at the
        same time, over all `devices`, each at the measured speed.
        Loading times are left out: they are seconds beside the minutes of a queue.
        """
        names = tuple(devices)
        own = self._work(model, audio_seconds, names)
        before = [self._work(other, left, names) for other, left in ahead]
        if own is None or any(work is None for work in before):
            return None
        return own + sum(work for work in before if work is not None) / max(1, side_by_side)

    def _work(self, model: str, audio_seconds: float, devices: tuple[str, ...]) -> float | None:
        speed = self.best_speed(model, devices)
        return None if speed is None else max(0.0, audio_seconds) / speed
