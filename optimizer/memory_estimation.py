"""How many bytes a task will need: the formula first, corrected by what was measured."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from threading import Lock

from optimizer.memory_formula import CONTEXT_BYTES, task_formula, weights_formula, workspace_formula
from optimizer.placement import DeviceKind

log = logging.getLogger(__name__)

_KEPT_MEASUREMENTS = 32  # per model, kind of device and word timestamps
_MARGIN = 1.15  # above the largest recent measurement
# A measurement says what one recording needed, and on the CPU only what it needed beyond memory that earlier tasks left
# with the allocator; the next recording may meet a harder window. So measurements lower an estimate only so far.
_LEAST_FACTOR = 0.7


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device. context: of its worker process, once. weights: of the model, once, with the workspace that
    its tasks share. task: of each task.

    is_measured: whether `task` follows measurements of this model on this kind of device.
    """

    context: int
    weights: int
    task: int
    is_measured: bool

    @property
    def total(self) -> int:
        return self.context + self.weights + self.task


class MemoryEstimationPool:
    """Estimates per model and kind of device: `cpu` (fp32) or `cuda` (fp16). Any thread.

    Without a measurement an estimate is the formula times `calibration_factor`. With measurements it is the formula
    times the largest ratio of measured to formula among the recent ones, with a margin. The ratio does not depend on
    the recording's length, so estimates never shrink as audio_seconds grow. Measurements are forgotten when the server
    stops.
    """

    def __init__(self, calibration_factor: float) -> None:
        if calibration_factor < 1:
            raise ValueError(f"calibration_factor must be at least 1, not {calibration_factor}")
        self._calibration_factor = calibration_factor
        self._lock = Lock()
        self._weights: dict[tuple[str, DeviceKind], int] = {}
        self._ratios: dict[tuple[str, DeviceKind, bool], deque[float]] = {}

    def context_bytes(self, kind: DeviceKind) -> int:
        """What a device's worker takes before any model is loaded."""
        return CONTEXT_BYTES[kind]

    def weights_bytes(self, model: str, kind: DeviceKind) -> int:
        """What `model` takes while it is resident: its weights, and the workspace that its tasks share, so that the
        first of them finds it promised. Raises UnknownModelError."""
        with self._lock:
            measured = self._weights.get((model, kind))
        weights = int(weights_formula(model, kind) * self._calibration_factor) if measured is None else measured
        return weights + int(workspace_formula(model, kind) * self._calibration_factor)

    def task_bytes(self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False) -> int:
        """What one task takes while it runs, beyond its model. Raises UnknownModelError."""
        formula = task_formula(model, kind, audio_seconds, word_timestamps=word_timestamps)
        return int(formula * self._factor(model, kind, word_timestamps))

    def estimate(
        self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False
    ) -> MemoryEstimate:
        """Everything that one task needs on an empty device, in parts. Raises UnknownModelError."""
        with self._lock:
            is_measured = (model, kind, word_timestamps) in self._ratios
        return MemoryEstimate(
            context=self.context_bytes(kind),
            weights=self.weights_bytes(model, kind),
            task=self.task_bytes(model, kind, audio_seconds, word_timestamps),
            is_measured=is_measured,
        )

    def record(
        self,
        model: str,
        kind: DeviceKind,
        audio_seconds: float,
        *,
        peak_bytes: int,
        estimated_bytes: int = 0,
        word_timestamps: bool = False,
        side_by_side: int = 1,
    ) -> None:
        """What a finished task really took beyond the weights. Peaks that are not positive were not measured: ignored.

        peak_bytes: with its share of the workspace, which is promised with the model. side_by_side: the most tasks of
        its kind that ran with it, itself included. estimated_bytes: what had been reserved for it, for the log.
        """
        if peak_bytes <= 0:
            return
        own_bytes = max(0, peak_bytes - workspace_formula(model, kind) // side_by_side)
        ratio = own_bytes / task_formula(model, kind, audio_seconds, word_timestamps=word_timestamps)
        with self._lock:
            key = (model, kind, word_timestamps)
            self._ratios.setdefault(key, deque(maxlen=_KEPT_MEASUREMENTS)).append(ratio)
        log.debug(
            "event=memory_measured model=%s kind=%s peak_mb=%.0f estimated_mb=%.0f",
            model, kind, peak_bytes / 1e6, estimated_bytes / 1e6,
        )  # fmt: skip

    def record_weights(self, model: str, kind: DeviceKind, nbytes: int) -> None:
        """What the tensors of a loaded model hold, without workspace. Figures that are not positive are ignored.

        Never taken for less than half of the formula: such a figure is not of the model's weights.
        """
        if nbytes <= 0:
            return
        formula = weights_formula(model, kind)
        # Allocators hold up to a twentieth more than the tensors (tiny: 154 for 142 MiB).
        measured = max(nbytes + formula // 20, formula // 2)
        with self._lock:
            self._weights[model, kind] = measured

    def _factor(self, model: str, kind: DeviceKind, word_timestamps: bool) -> float:
        with self._lock:
            ratios = self._ratios.get((model, kind, word_timestamps))
            if not ratios:
                return self._calibration_factor
            return max(_LEAST_FACTOR, max(ratios) * _MARGIN)
