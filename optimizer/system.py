"""OptimizedWhisperSystem: the one object that the web room talks to.

Builds the parts, starts and stops them, and answers what is going on.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ulid import ULID

from config import MAX_CONCURRENT_TASKS, Settings
from errors import AlreadyFinishedError, InvalidOptionError, QueueFullError, ShuttingDownError
from optimizer.common.clock import Clock, SystemClock
from optimizer.common.kinds import AUTO_DEVICE
from optimizer.devices.device import Device
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.factory import DeviceFactory
from optimizer.devices.memory_poll import MemoryPoll
from optimizer.devices.status import DeviceState, DeviceStatus
from optimizer.devices.worker_process import WorkerConfig
from optimizer.intake.decode_pool import DecodePool
from optimizer.intake.task_intake import SubmissionRequest, TaskIntake
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.probes import MemoryProbe
from optimizer.monitoring.advice import Situation, advise, reasons_by_model
from optimizer.monitoring.event_log import EventKind, EventLog, SystemEvent
from optimizer.monitoring.metrics import PerformanceMonitor
from optimizer.monitoring.samples import SampleStore
from optimizer.monitoring.tick import MonitorHooks, Monitoring
from optimizer.planning.plan import PlanLimits
from optimizer.queue.backoff import RetryDelay
from optimizer.queue.due_times import FIRST_COME, DueTimes
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.device_log import DeviceLog
from optimizer.scheduling.event_messages import DecisionLog
from optimizer.scheduling.loop import BatchTaskScheduler, SchedulerParts
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.result_recorder import TaskRecorder
from optimizer.storage.documents import DocumentStore
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles, Upload
from optimizer.tasks.events import Event, Listener, SystemChanged, TaskChanged, TaskDeleted, WindowFinished
from optimizer.tasks.task import Priority, TaskFilter, TaskOptions, TaskStatus
from optimizer.tasks.timeline import TaskEvent
from optimizer.tasks.wait_reasons import WaitReason
from optimizer.timing.forecast_accuracy import ForecastTracker
from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.views.status import models_report, system_report, wait_bound
from optimizer.views.task_view import Submission, TaskView
from optimizer.views.task_view_builder import TaskViewBuilder
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg
from whisper_core.models.fetch import MODEL_NAMES, model_info
from whisper_core.text.transcript import Transcript
from whisper_core.worker.messages import Report

log = logging.getLogger(__name__)

MIN_DECODE_TIMEOUT_S = 60.0
DECODE_SPEED = 20.0  # seconds of sound that the slowest machine we serve decodes in a second


class OptimizedWhisperSystem:
    """start and stop once; everything else from any thread in between."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        worker: WorkerConfig | None = None,
        devices: Sequence[DeviceSpec] | None = None,
    ) -> None:
        """worker, devices: other ones than the settings and the machine say, for tests."""
        self.settings = settings
        self._clock = clock or SystemClock()
        self._listeners: list[Listener] = []
        self._stopping = threading.Event()

        self._files = TaskFiles(settings.data_dir, settings.min_free_disk_mb * 1_000_000)
        self._store = TaskStore(settings.data_dir, settings.database_url)
        self._document_store = DocumentStore(self._store.database, self._clock)
        self._event_log = EventLog(self._store.database, self._clock)
        self._device_log = DeviceLog(self._event_log)
        self._plain_reason = None if settings.enable_optimization_system else "ENABLE_OPTIMIZATION_SYSTEM is False"
        self._monitor = PerformanceMonitor(
            self._clock, interval_s=settings.performance_monitor_interval, on_sample=self._sample
        )
        self._times = RuntimeEstimates(self._monitor.speeds)
        self._due_times = FIRST_COME if self._plain_reason else DueTimes(self._times.work_seconds)
        self._forecasts = ForecastTracker()
        self._queue = IntelligentQueueManager(
            self._store,
            self._clock,
            boot_id=secrets.token_hex(8),
            max_queued=settings.max_queued_tasks,
            retry_delay=RetryDelay(),
            on_change=lambda task_id: self._publish(TaskChanged(task_id)),
            due_times=self._due_times,
        )
        self._estimates = MemoryEstimationPool(settings.memory_calibration_factor, self._document_store)
        self._models = ModelLibrary(settings.models_dir, settings.model_sources, self._clock, self._models_changed)
        self._recorder = TaskRecorder(
            self._queue,
            self._files,
            self._estimates,
            self._monitor,
            self._clock,
            self._publish,
            may_use_cpu=self._may_move_to_cpu,
        )
        self._decode_pool = DecodePool(self._make_decoder, self._files)
        self._intake = TaskIntake(
            self._queue, self._files, self._decode_pool, self._clock, max_attempts=1 + settings.max_task_retries
        )
        self._task_views = TaskViewBuilder(
            self._queue,
            self._monitor.speeds,
            self._times,
            self._forecasts,
            self._clock,
            statuses=self._statuses,
            limits=lambda: self._running_scheduler.limits,
            reason=self._reason,
        )
        self._setup = DeviceFactory(
            settings, self._clock, self._estimates, self._on_report, self._on_exit, worker=worker, devices=devices
        )
        self._scheduler: BatchTaskScheduler | None = None
        self._devices: list[Device] = []
        self._memory_source = MemoryProbe()
        self._memory_watch = self._make_memory_watch()
        self._monitoring = self._make_monitoring()

    def _make_memory_watch(self) -> MemoryPoll:
        return MemoryPoll(
            self._memory_source,
            self._estimates,
            devices=lambda: tuple(self._devices),
            post=lambda action: self._running_scheduler.post(action),
            tell=lambda device, text: self._event_log.add("device", text, device=device),
        )

    def _make_monitoring(self) -> Monitoring:
        return Monitoring(
            self.settings,
            self._monitor,
            self._event_log,
            SampleStore(self._store.database, self._clock),
            self._document_store,
            self._clock,
            MonitorHooks(
                statuses=self._statuses,
                counts=self._queue.counts,
                entered=self._queue.entered,
                limits=lambda: self._running_scheduler.limits,
                set_limits=self._apply_limits,
                is_optimized=lambda: self._plain_reason is None,
            ),
            {"speeds": self._monitor.speeds, "forecasts": self._forecasts},
        )

    # --- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the data folder, recover what an earlier run left, start the devices. Raises StartError."""
        self._files.acquire_lock()
        try:
            self._store.open()
            self._monitoring.open()
            self._estimates.open()
            self._recover()
            self._start_scheduler()
        except BaseException:
            self._store.close()
            self._files.release_lock()
            raise
        self._monitor.start()
        self._intake.prepare_waiting()

    def stop(self) -> None:
        """No new work, running tasks back to pending at their last window; a few seconds at most."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._recorder.stop()
        self._models.begin_stop()
        if self._scheduler is not None:
            self._scheduler.stop()  # first of those that take time: running tasks must be given back
        self._decode_pool.stop()
        self._monitor.stop()
        self._monitoring.close()
        self._estimates.save()
        self._memory_source.close()
        self._models.stop()
        self._store.close()
        self._files.release_lock()
        log.info("event=stopped")

    def _recover(self) -> None:
        report = self._queue.recover()
        for task_id in report.poisoned:
            self._files.delete_audio(task_id)
        sweep = self._files.sweep(self._store.ids(), self._clock.now())
        if sweep.media_without_row or sweep.rows_without_media:
            log.warning(
                "event=swept uploads_without_task=%d tasks_without_upload=%d; nothing was removed",
                len(sweep.media_without_row), len(sweep.rows_without_media),
            )  # fmt: skip

    def _start_scheduler(self) -> None:
        specs, problem = self._setup.find()
        self._plain_reason = self._plain_reason or problem
        is_optimized = self._plain_reason is None
        devices = self._devices = [self._setup.make(spec, is_optimized=is_optimized) for spec in specs]
        self._scheduler = BatchTaskScheduler(
            SchedulerParts(
                queue=self._queue,
                devices=devices,
                files=self._files,
                estimates=self._estimates,
                models=self._models,
                recorder=self._recorder,
                clock=self._clock,
                publish=self._publish,
                make_fallback=lambda: self._setup.make_cpu(is_optimized=is_optimized),
                is_optimized=is_optimized,
                prepare=self._intake.prepare,
                times=self._times,
                due_times=self._due_times,
                forecasts=self._forecasts,
                decisions=DecisionLog(self._event_log),
                model_idle_s=self.settings.model_idle_timeout or math.inf,
            ),
            PlanLimits(
                min_concurrent=self.settings.min_concurrent_tasks,
                max_concurrent=self.settings.max_concurrent,
                min_batch=self.settings.min_batch_size,
                max_batch=self.settings.max_batch_size,
            ),
            interval_s=self.settings.batch_schedule_interval,
        )
        self._log_start(specs)
        self._scheduler.start()

    def _on_report(self, device: Device, report: Report) -> None:
        self._device_log.heard(device.spec.name, report)
        self._running_scheduler.on_report(device, report)

    def _on_exit(self, device: Device) -> None:
        self._device_log.exited(device)
        self._running_scheduler.on_exit(device)

    @property
    def _running_scheduler(self) -> BatchTaskScheduler:
        if self._scheduler is None:
            raise ShuttingDownError("The server is still starting.")
        return self._scheduler

    def _make_decoder(self) -> AudioDecoder:
        limit_s = self.settings.max_audio_seconds
        limits = DecodeLimits(max_seconds=limit_s, timeout_s=max(MIN_DECODE_TIMEOUT_S, limit_s / DECODE_SPEED))
        return AudioDecoder(find_ffmpeg(self.settings.ffmpeg_binary), limits)

    def _log_start(self, specs: Sequence[DeviceSpec]) -> None:
        for spec in specs:
            log.info("device=%s title=%r memory_gb=%.1f", spec.name, spec.title, spec.total_bytes / 1e9)
        here = [name for name in MODEL_NAMES if self._models.is_available(name)]
        log.info("models_here=%s default_model=%s", ",".join(here) or "none", self.settings.default_model)
        if self._plain_reason is None:
            log.info("path=optimized: tasks are planned by model, priority and memory")
        else:
            log.warning("path=plain: one task at a time in order of arrival, because %s", self._plain_reason)

    # --- tasks -------------------------------------------------------------------------------------------------

    def begin_upload(self, expected_bytes: int = 0) -> Upload:
        """Where to write one upload; its `task_id` is the new task's. expected_bytes: what the client announced, or 0.

        Raises ShuttingDownError, QueueFullError, FileTooLargeError or DiskFullError.
        """
        if self._stopping.is_set():
            raise ShuttingDownError()
        counts = self._queue.counts()
        if counts[TaskStatus.PENDING] + counts[TaskStatus.RETRYING] >= self.settings.max_queued_tasks:
            raise QueueFullError()
        return self._files.begin_upload(
            str(ULID()), expected_bytes=expected_bytes, max_bytes=self.settings.max_upload_bytes
        )

    def submit(
        self,
        upload: Upload,
        *,
        filename: str,
        options: TaskOptions,
        priority: Priority,
        device: str,
        idempotency_key: str | None,
        owner: str = "",
    ) -> Submission:
        """Make a received upload a task. owner: whose share of the devices it takes.

        Raises what `TaskIntake.accept` raises, and InvalidOptionError for a device that is not there.
        """
        if device != AUTO_DEVICE and device not in self._device_names():
            upload.discard()
            raise InvalidOptionError(f"This server has no device {device}.", field="device")
        options = replace(options, model=model_info(options.model).name)  # `large` is another name for one of them
        task, is_replay = self._intake.accept(
            upload, SubmissionRequest(filename, options, priority, device, idempotency_key, owner)
        )
        self._wake()
        return Submission(self._task_views.view(task), is_replay)

    def task(self, task_id: str) -> TaskView:
        """Raises TaskNotFoundError."""
        return self._task_views.view(self._queue.get(task_id))

    def tasks(self, task_filter: TaskFilter) -> tuple[list[TaskView], str | None, dict[TaskStatus, int]]:
        """One page, the cursor of the next, and how many tasks there are in each state. Raises InvalidOptionError."""
        page = self._queue.page(task_filter)
        return [self._task_views.view(task) for task in page.tasks], page.next_cursor, page.counts

    def transcript(self, task_id: str) -> tuple[Transcript, bool]:
        """The transcript, and whether it is only what there is so far. Raises TaskNotFoundError, FileMissingError."""
        task = self._queue.get(task_id)
        if task.status is TaskStatus.COMPLETED:
            return self._files.read_transcript(task_id, task.result_sha256), False
        segments = tuple(segment for window in self._queue.windows(task_id) for segment in window.segments)
        text = "".join(segment.text for segment in segments)
        return Transcript(text, task.language or task.options.language or "", segments), True

    def segments_from(self, task_id: str, first: int) -> WindowFinished | None:
        """What somebody who has `first` segments of a running task missed, as one event; None for any other task."""
        task = self._queue.get(task_id)
        if task.status.is_final:
            return None
        segments = [segment for window in self._queue.windows(task_id) for segment in window.segments]
        speed = self._monitor.speed(task.options.model, task.device or "")
        return WindowFinished(
            task_id=task_id,
            seq=task.windows_done,
            progress=task.progress,
            audio_done_seconds=task.progress * (task.audio_seconds or 0.0),
            speed=speed,
            eta_seconds=self._task_views.remaining_seconds(task),
            first_segment=first,
            segments=tuple(segments[first:]),
        )

    def timeline(self, task_id: str) -> list[TaskEvent]:
        """What happened to the task so far, oldest first. Raises TaskNotFoundError."""
        return self._queue.timeline(task_id)

    def media(self, task_id: str) -> Path:
        """The uploaded file. Raises TaskNotFoundError, FileMissingError."""
        self._queue.get(task_id)
        return self._files.find_media(task_id)

    def cancel(self, task_id: str) -> TaskView:
        """Raises TaskNotFoundError, AlreadyFinishedError."""
        task = self._queue.cancel(task_id)
        self._forecasts.forget(task_id)
        self._end_on_device(task_id)
        self._files.delete_audio(task_id)
        return self._task_views.view(task)

    def retry(self, task_id: str) -> TaskView:
        """Begin a failed or cancelled task anew. Raises TaskNotFoundError, ConflictError, FileMissingError."""
        self._queue.get(task_id)
        self._files.find_media(task_id)
        task = self._queue.retry(task_id)
        self._intake.prepare(task_id)
        return self._task_views.view(task)

    def set_priority(self, task_id: str, priority: Priority) -> TaskView:
        """Raises TaskNotFoundError, or ConflictError when the task no longer waits."""
        task = self._queue.set_priority(task_id, priority)
        self._wake()
        return self._task_views.view(task)

    def delete(self, task_id: str) -> None:
        """The task, its files and its text are gone. Raises TaskNotFoundError."""
        with suppress(AlreadyFinishedError):
            self._queue.cancel(task_id)
        self._forecasts.forget(task_id)
        self._end_on_device(task_id)
        # The row goes last: after a crash in between, the task is there to be deleted again.
        self._files.delete(task_id)
        self._queue.delete(task_id)
        self._publish(TaskDeleted(task_id))

    # --- the whole ---------------------------------------------------------------------------------------------

    def models(self) -> dict[str, Any]:
        """Every model that can be asked for; the shape of GET /api/models."""
        return models_report(self.settings, self._models, self._estimates, self._statuses())

    def status(self) -> dict[str, Any]:
        """Devices, counts, throughput, limits and settings in force; the shape of GET /api/system."""
        return system_report(
            self.settings,
            statuses=self._statuses(),
            counts=self._queue.counts(),
            throughput=self._monitor.throughput(),
            limits=self._running_scheduler.limits,
            fetching=self._models.fetching(),
            plain_reason=self._plain_reason,
            advice=advise(self._situation()),
            eta_seconds=self._monitor.speeds.running_eta,
            more={
                **self._monitoring.report(),
                "memory_estimates": self._estimates.accuracy(),
                "forecasts": asdict(self._forecasts.accuracy()),
                "wait_bound": wait_bound(self._due_times, self._running_scheduler.limits),
            },
        )

    def set_limits(self, max_concurrent_tasks: int | None = None, max_batch_size: int | None = None) -> dict[str, Any]:
        """Change the limits until the restart. Raises InvalidOptionError outside the settings' bounds."""
        _require_within(
            "max_concurrent_tasks", max_concurrent_tasks,
            self.settings.min_concurrent_tasks, self.settings.max_concurrent or MAX_CONCURRENT_TASKS,
        )  # fmt: skip
        _require_within("max_batch_size", max_batch_size, self.settings.min_batch_size, self.settings.max_batch_size)
        self._monitoring.set_by_hand(max_concurrent_tasks, max_batch_size)
        return self.status()

    def history(self, hours: float) -> dict[str, Any]:
        """The monitor's samples and the changes of the last so many hours; the shape of GET /api/system/history."""
        return self._monitoring.history(hours)

    def events(self, kind: EventKind | None = None, limit: int = 100, before: int | None = None) -> list[SystemEvent]:
        """What was decided and changed, newest first. before: only what is older than the event with that id."""
        return self._event_log.events(kind, limit, before)

    def fetch_model(self, name: str) -> None:
        """Have a model's weights fetched in the background. Raises UnknownModelError."""
        model_info(name)
        self._models.ensure(name, now=True)

    def health(self) -> list[str]:
        """Why the process should be restarted; empty when it is fine."""
        if self._scheduler is None or self._stopping.is_set() or self._scheduler.is_alive():
            return []
        return ["the scheduler does not turn"]

    def readiness(self) -> list[str]:
        """Why the server cannot do its work at the moment; empty when it can."""
        reasons = self.health()
        if self._scheduler is None or self._stopping.is_set():
            return [*reasons, "the server is starting or stopping"]
        statuses = self._statuses()
        if not any(status.is_ready for status in statuses):
            reasons.append("no device is ready")
        reasons += [f"{status.spec.name} keeps failing" for status in statuses if status.is_unstable]
        if self._files.free_bytes() < self.settings.min_free_disk_mb * 1_000_000:
            reasons.append("the disk is nearly full")
        problems = (self._store.problem(), self._recorder.problem(), self._decode_pool.problem())
        return reasons + [problem for problem in problems if problem]

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` for every event from now on, in the thread where it happens."""
        self._listeners.append(listener)

    # --- inside ------------------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        if isinstance(event, TaskChanged):
            self._wake()  # whatever changed may let something run
            if self._scheduler is not None:
                self._monitoring.look()
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("event=listener_failed")  # must not harm the task that it was told about

    def _wake(self) -> None:
        if self._scheduler is not None:
            self._scheduler.wake()

    def _models_changed(self) -> None:
        self._publish(SystemChanged())
        self._wake()

    def _sample(self) -> None:
        self._intake.prepare_waiting()
        self._memory_watch.tick()
        self._estimates.save()
        self._monitoring.tick()
        counts = self._queue.counts()
        log.info(
            "event=sample %s audio_seconds_per_second=%.1f",
            " ".join(f"{status.value}={count}" for status, count in counts.items()), self._monitor.throughput(),
        )  # fmt: skip

    def _situation(self) -> Situation:
        counts, level = self._queue.counts(), self._monitoring.level()
        return Situation(
            settings=self.settings,
            limits=self._running_scheduler.limits,
            statuses=self._statuses(),
            waiting=counts[TaskStatus.PENDING] + counts[TaskStatus.RETRYING],
            reasons=reasons_by_model(self._queue.waiting(), self._reason),
            is_bound=level.is_bound,
            occupancy=self._monitoring.last_occupancy,
            free_disk_bytes=self._files.free_bytes(),
            is_plain=self._plain_reason is not None,
        )

    def _apply_limits(self, max_concurrent: int | None, max_batch: int | None) -> None:
        self._running_scheduler.set_limits(max_concurrent=max_concurrent, max_batch=max_batch)
        self._publish(SystemChanged())

    def _end_on_device(self, task_id: str) -> None:
        if self._scheduler is not None:
            self._scheduler.stop_task(task_id)

    def _statuses(self) -> list[DeviceStatus]:
        return self._scheduler.statuses() if self._scheduler is not None else []

    def _reason(self, task_id: str) -> WaitReason | None:
        return self._scheduler.reason(task_id) if self._scheduler is not None else None

    def _may_move_to_cpu(self) -> bool:
        """Whether a task that a GPU has no memory for may go on on the CPU, which is started for it if need be."""
        return self.settings.out_of_memory_on_cpu and not any(
            status.spec.kind == "cpu" and status.state is DeviceState.UNAVAILABLE for status in self._statuses()
        )

    def _device_names(self) -> set[str]:
        return {status.spec.name for status in self._statuses()}


def _require_within(name: str, value: int | None, lowest: int, highest: int) -> None:
    if value is not None and not lowest <= value <= highest:
        raise InvalidOptionError(f"{name} must be from {lowest} to {highest}.", field=name)
