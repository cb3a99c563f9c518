"""Reads the metrics that other packages bring, on a thread of their own: one that hangs or fails holds up nothing."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.common.clock import Clock
from optimizer.monitoring.figures import ExtraFigure, Figures
from optimizer.monitoring.metric import Metric
from whisper_core.common.extensions import in_one_line

log = logging.getLogger(__name__)

STALE_AFTER = 3.0  # intervals; an older value says nothing of now
STOP_GRACE_S = 1.0


@dataclass(frozen=True)
class _Reading:
    value: float
    at: float  # monotonic seconds


class ExtraMetrics:
    """start and stop once; `values` on any thread. Does nothing, and has no thread, when there are no metrics."""

    def __init__(self, metrics: Sequence[Metric], clock: Clock, interval_s: float) -> None:
        self.metrics = tuple(metrics)
        self._clock = clock
        self._interval_s = interval_s
        self._readings: dict[str, _Reading] = {}
        self._failing: dict[str, str] = {}  # what each was last said to do wrong
        self._began: tuple[str, float] | None = None  # the one that is being read, and since when
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, figures: Callable[[], Figures]) -> None:
        if self.metrics:
            # A daemon, because a function that hangs must not keep the process from ending.
            thread = threading.Thread(target=self._run, args=(figures,), name="extra-metrics", daemon=True)
            self._thread = thread
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_GRACE_S)

    def values(self) -> list[ExtraFigure]:
        """Those that have a value now."""
        self._tell_if_one_hangs()
        oldest = self._clock.monotonic() - STALE_AFTER * self._interval_s
        readings = ((metric, self._readings.get(metric.name)) for metric in self.metrics)
        return [
            ExtraFigure(metric.name, metric.title, reading.value)
            for metric, reading in readings
            if reading is not None and reading.at >= oldest
        ]

    def read_all(self, figures: Figures) -> None:
        """Each metric once."""
        for metric in self.metrics:
            self._began = metric.name, self._clock.monotonic()
            try:
                value = _number(metric.read(figures))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody else's code does, others are read
                self._readings.pop(metric.name, None)
                self._tell(metric.name, in_one_line(error), error)
            else:
                self._failing.pop(metric.name, None)
                self._note(metric.name, value)
            self._began = None

    def _note(self, name: str, value: float | None) -> None:
        if value is None:
            self._readings.pop(name, None)
        else:
            self._readings[name] = _Reading(value, self._clock.monotonic())

    def _run(self, figures: Callable[[], Figures]) -> None:
        while not self._stopping.is_set():
            try:
                self.read_all(figures())
            except Exception:
                log.exception("event=extra_metrics_not_read")
            self._stopping.wait(self._interval_s)

    def _tell_if_one_hangs(self) -> None:
        began = self._began
        if began is not None and self._clock.monotonic() - began[1] >= self._interval_s:
            self._tell(began[0], "it has not returned; the metrics behind it are not read", None)

    def _tell(self, name: str, reason: str, error: BaseException | None) -> None:
        """Once, until it works again or does something else wrong."""
        if self._failing.get(name) != reason:
            self._failing[name] = reason
            log.error("event=metric_failed metric=%s reason=%r", name, reason, exc_info=error)


def _number(value: object) -> float | None:
    """Raises TypeError or ValueError for what cannot be drawn."""
    if value is None:
        return None
    if isinstance(value, str | bytes):
        raise TypeError(f"it returned {value[:40]!r} where a number is wanted")
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"it returned {number}")
    return number
