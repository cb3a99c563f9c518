"""Learns from what workers report: how fast models are, and how much memory they and their tasks take.

Runs on the threads `device-<name>`, after the recorder.
"""

from __future__ import annotations

from errors import OutOfMemoryError
from optimizer.common.clock import Clock
from optimizer.common.kinds import CPU_DEVICE, DeviceKind
from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.scheduling.attempts import RunningAttempt, RunningAttempts
from optimizer.tasks.task import Task
from optimizer.tasks.timeline import MEMORY
from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.timing.speeds import SpeedTable
from whisper_core.worker import messages as protocol

SHORTEST_MEASUREMENT_S = 0.02


class MeasurementLearner:
    """Any thread."""

    def __init__(
        self,
        *,
        attempts: RunningAttempts,
        monitor: PerformanceMonitor,
        speeds: SpeedTable,
        times: RuntimeEstimates,
        estimates: MemoryEstimationPool,
        clock: Clock,
    ) -> None:
        self._attempts = attempts
        self._monitor = monitor
        self._speeds = speeds
        self._times = times
        self._estimates = estimates
        self._clock = clock

    def learn_from(
        self,
        device: DeviceSpec,
        report: protocol.Report,
        task: Task | None,
        attempt: RunningAttempt | None,
        concurrency: int,
    ) -> None:
        """task: as the report left it; None when it changed none, and then it says nothing about one either.
        concurrency: how many tasks the device had when the report came."""
        if task is not None and device.kind != "cpu" and task.requested_device == CPU_DEVICE:
            self._monitor.task_moved_to_cpu()  # it would not have run there had it been asked for before
        match report:
            case protocol.ModelLoaded():
                self._learn_from_load(device, report)
            case protocol.WindowDone() if task is not None and attempt is not None:
                self._learn_from_window(attempt, report, task, concurrency)
            case protocol.TaskDone() if task is not None and attempt is not None:
                self._learn_from_peak(device, report, task, attempt)
            case protocol.TaskNote() if task is not None and report.code == MEMORY:
                # Memory that was reserved for several windows or rows says nothing about one.
                if task.options.is_plain:
                    self._learn_from_shortage(device.name, device.kind, task)
            case protocol.TaskFailed() if task is not None and report.code == OutOfMemoryError.code:
                # With another code it was its model that found no memory: nothing to learn about the task's own.
                self._learn_from_shortage(device.name, device.kind, task)

    # --- speed -------------------------------------------------------------------------------------------------

    def _learn_from_load(self, device: DeviceSpec, report: protocol.ModelLoaded) -> None:
        self._monitor.model_loaded()
        self._times.record_load(report.model, report.seconds)
        self._estimates.record_weights(report.model, device.kind, report.weights_bytes)
        # Loading is not transcribing: counted in, it would make the first window look slow and forecasts long.
        now = self._clock.monotonic()
        for attempt in self._attempts.on_device(device.name):
            if attempt.model == report.model:
                attempt.measured_at = now

    def _learn_from_window(
        self, attempt: RunningAttempt, report: protocol.WindowDone, task: Task, concurrency: int
    ) -> None:
        checkpoint = report.window.checkpoint
        audio_done = checkpoint.audio_done_seconds
        self._monitor.add_audio(audio_done - attempt.audio_done_seconds, attempt.model, attempt.device)
        attempt.audio_done_seconds, attempt.audio_left_seconds = audio_done, checkpoint.audio_left_seconds
        decoded = checkpoint.audio_decoded_seconds  # what was left out took no time
        now = self._clock.monotonic()
        seconds = now - attempt.measured_at
        if seconds < SHORTEST_MEASUREMENT_S:
            return  # several chunks may be reported at once; they are measured with the next that takes time
        self._speeds.record(
            attempt.model,
            attempt.device,
            decoded - attempt.measured_audio_seconds,
            seconds,
            ends_recording=checkpoint.is_at_end,
            concurrency=concurrency,
        )
        # Chunks are reported in order, so minutes of them come at once when an early one is done: a task in fast mode
        # is measured from its start.
        if task.options.mode == "exact":
            attempt.measured_at, attempt.measured_audio_seconds = now, decoded

    # --- memory ------------------------------------------------------------------------------------------------

    def _learn_from_peak(
        self, device: DeviceSpec, report: protocol.TaskDone, task: Task, attempt: RunningAttempt
    ) -> None:
        # A chunked task spreads one recording over many slots, and one with beams a window over many rows; whoever
        # looks for speech first takes 33 MB once in a process. So their growth does not measure a plain task.
        if attempt.ran_together is None or not task.options.is_plain:
            return
        self._estimates.record(
            task.options.model,
            device.kind,
            attempt.ran_together,
            word_timestamps=task.options.word_timestamps,
            reserved_bytes=attempt.ran_together.reserved_each or task.estimated_bytes or 0,
            peak_bytes=report.peak_bytes,
            device=device.name,
        )

    def _learn_from_shortage(self, device: str, kind: DeviceKind, task: Task) -> None:
        seconds = task.audio_seconds or 0.0
        speakers = self._estimates.speakers_bytes(kind, seconds) if task.options.speakers else 0
        self._estimates.record_out_of_memory(
            task.options.model,
            kind,
            seconds,
            word_timestamps=task.options.word_timestamps,
            reserved_bytes=max(0, (task.estimated_bytes or 0) - speakers),
            device=device,
        )
