"""OptimizedWhisperSystem: the one object that the web package talks to.

Starts and stops the parts that `wiring` builds, and hands each question to the part that answers it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulid import ULID

from config import MAX_CONCURRENT_TASKS, Settings
from errors import CANNOT_STORE, InvalidOptionError, MediaRemovedError
from optimizer.common.clock import Clock, SystemClock
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import WorkerConfig
from optimizer.intake.task_intake import SubmissionRequest
from optimizer.monitoring.event_log import EventKind, SystemEvent
from optimizer.monitoring.figures import Figures
from optimizer.readiness import reasons_not_ready
from optimizer.start_log import log_recovery, log_start, log_sweep
from optimizer.storage.upload_file import ReceivedFile, Upload
from optimizer.tasks.batches import Batch
from optimizer.tasks.events import Event, Listener, TaskChanged, WindowFinished
from optimizer.tasks.task import Priority, TaskFilter, TaskOptions, TaskStatus
from optimizer.tasks.task_changes import TaskChanges
from optimizer.tasks.timeline import TaskEvent
from optimizer.views.task_view import Submission, TaskView
from optimizer.wiring import build_parts
from whisper_core.text.transcript import Transcript

log = logging.getLogger(__name__)


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
        """worker, devices: instead of what the settings and the machine say, for tests."""
        self.settings = settings
        self._clock = clock or SystemClock()
        self._parts = build_parts(settings, self._clock, on_tick=self._tick, worker=worker, devices=devices)
        self._storage = self._parts.storage
        self._scheduling = self._parts.scheduling
        self._queue = self._parts.scheduling.queue
        self._scheduler = self._parts.scheduler
        self._intake = self._parts.intake.tasks
        self._preparer = self._parts.intake.preparer
        self.admission = self._parts.intake.admission
        self.keys = self._parts.intake.keys
        self.parts = self._parts.intake.parts
        self.waveforms = self._parts.intake.waveforms
        self._monitoring = self._parts.monitors.monitoring
        self._views = self._parts.views
        self.batches = self._views.batches.page
        self.storage = self._views.storage.used
        self.accounts = self._parts.accounts
        self.ownership = self._parts.ownership
        self.editor = self._parts.editor
        self.webhooks = self._parts.automation.webhooks
        self.shares = self._parts.shares
        self._is_started = False
        self._stopping = threading.Event()

    # --- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the data folder, recover what an earlier run left, start the devices. Raises StartError."""
        self._storage.files.acquire_lock()
        try:
            self._start()
        except BaseException:
            self._end_failed_start()
            raise

    def _start(self) -> None:
        self._storage.files.reserve.release()  # what follows must work on a full disk, too
        self._storage.store.open()
        self.accounts.open()
        self._parts.automation.check()
        self._monitoring.open()
        self._scheduling.estimates.open(self._storage.documents)
        self._parts.retention.open()
        self._recover()
        self._storage.files.reserve.fill()
        self._start_scheduler()
        self._monitoring.extra.start(self.figures)
        self._scheduling.monitor.start()
        self._preparer.start()
        self._preparer.prepare_waiting()
        self._parts.automation.start()
        self._parts.retranscriptions.resume()
        self._storage.search_filler.start()
        self._parts.found_speakers.resume()

    def _end_failed_start(self) -> None:
        """Nothing runs on, and the folder is free for whoever starts next: this process, or another one."""
        try:
            if self._is_started:
                self.stop()
        except Exception:
            log.exception("event=stop_failed")
        finally:
            self._storage.store.close()
            self._storage.files.release_lock()

    def stop(self) -> None:
        """No new work, running tasks back to pending at their last window; a few seconds at most."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self.admission.close()
        self._scheduling.storage_retry.stop()
        self._scheduling.models.ask_to_stop()
        self._scheduler.stop()  # first of those that take time: running tasks must be given back
        if self._parts.cluster is not None:
            self._parts.cluster.stop()
        self._preparer.stop()
        self._parts.intake.decode_pool.stop()
        self._parts.automation.stop()
        self._monitoring.extra.stop()
        self._scheduling.monitor.stop()
        self._monitoring.flush()
        self._scheduling.estimates.save(self._storage.documents)
        self._parts.monitors.memory_probe.close()
        self._scheduling.models.stop()
        self._storage.search_filler.stop()
        self.parts.close()  # requests may go on, and who leads next goes on with their uploads
        self._storage.store.close()
        self._storage.files.release_lock()
        log.info("event=stopped")

    def _recover(self) -> None:
        report = self._queue.recover(with_samples := self._storage.files.ids_with_audio())
        for task_id in with_samples - self._storage.store.waiting_ids():  # a kill came between a task's end and this
            self._storage.files.delete_audio(task_id)
        self._parts.attribution.suspect_of_server(report.suspects)
        log_recovery(report)
        known_ids = self._storage.store.ids()
        resumable = self.parts.recover(known_ids)
        sweep = self._storage.files.sweep(known_ids, self._clock.now(), self._storage.store.ids_without_media())
        log_sweep(sweep, resumable=resumable)

    def _start_scheduler(self) -> None:
        devices, path = self._scheduling.devices, self._scheduling.path
        specs, problem = devices.discover()
        if problem is not None:
            path.use_plain(problem)
        devices.open(specs, self._parts.reports, is_optimized=path.is_optimized())
        log_start(specs, self._scheduling.models, path, self.settings.default_model)
        self._is_started = True
        self._scheduling.events.add_listener(self._update_utilization)
        self._scheduler.start()
        if self._parts.cluster is not None:
            self._parts.cluster.start()

    def _update_utilization(self, event: Event) -> None:
        if isinstance(event, TaskChanged):
            self._monitoring.update_utilization()

    def _tick(self) -> None:
        """Every PERFORMANCE_MONITOR_INTERVAL, on the monitor's thread."""
        self._preparer.prepare_waiting()
        self._storage.files.reserve.fill()
        self.parts.sweep()
        self._parts.monitors.memory_poll.tick()
        self._scheduling.estimates.save(self._storage.documents)
        self._monitoring.tick()
        self._parts.retention.sweep()
        counts = self._queue.counts()
        log.info(
            "event=sample %s audio_seconds_per_second=%.1f",
            " ".join(f"{status.value}={count}" for status, count in counts.items()),
            self._scheduling.monitor.throughput(),
        )

    # --- tasks -------------------------------------------------------------------------------------------------

    def begin_upload(self, expected_bytes: int = 0, owner: str = "") -> Upload:
        """Where to write one upload; its `task_id` is the new task's. expected_bytes: what the client announced, or 0.

        Raises what `Admission.admit` raises.
        """
        self.admission.admit(expected_bytes, owner)
        return self._storage.files.begin_upload(
            str(ULID()), expected_bytes=expected_bytes, max_bytes=self.settings.max_upload_bytes
        )

    def submit(
        self,
        upload: ReceivedFile,
        *,
        filename: str,
        options: TaskOptions,
        priority: Priority,
        device: str,
        idempotency_key: str | None,
        owner: str = "",
        callback_url: str | None = None,
        batch: Batch | None = None,
    ) -> Submission:
        """Make a received upload a task. owner: whose it is, and whose share of the devices it takes. callback_url: an
        address that is told of its end, and was checked. batch: the uploads that it belongs to.

        Raises what `TaskIntake.accept` raises, and InvalidOptionError for a device that is not there or not for the
        model.
        """
        placed = self.admission.place(options, device)
        request = SubmissionRequest(
            filename, placed.options, priority, placed.device, idempotency_key, owner, callback_url, batch
        )
        task, is_replay = self._intake.accept(upload, request, placed.refusal)
        self._scheduler.wake()
        same = None
        with suppress(*CANNOT_STORE):  # the task is stored: an error now would have its recording removed
            same = self._queue.find_same_file(task) if task.owner and not is_replay else None
        return Submission(self._views.tasks.task_view(task), is_replay, same)

    def task(self, task_id: str) -> TaskView:
        """Raises TaskNotFoundError."""
        return self._views.tasks.task_view(self._queue.get(task_id))

    def tasks(self, task_filter: TaskFilter) -> tuple[list[TaskView], str | None, dict[TaskStatus, int]]:
        """One page, the cursor of the next, and how many tasks there are in each state. Raises InvalidOptionError."""
        page = self._queue.lists.page(task_filter)
        views = [replace(view, hit=page.hits.get(view.task.id)) for view in self._views.tasks.task_views(page.tasks)]
        return views, page.next_cursor, page.counts

    def cancel_all(self, wanted: TaskFilter) -> int:
        """Cancels those wanted tasks that are not finished; returns how many. Raises InvalidOptionError."""
        return len(self._parts.endings.cancel_all(self._queue.lists.unfinished_ids(wanted)))

    def transcript(self, task_id: str, *, is_original: bool = False) -> tuple[Transcript, bool]:
        """The transcript, and whether it is only what there is so far; as people have changed it, or as it was
        transcribed. Raises TaskNotFoundError, FileMissingError."""
        return self._views.transcripts.transcript(task_id, is_original=is_original)

    def segments_from(self, task_id: str, first: int) -> WindowFinished | None:
        """What somebody who has `first` segments of an unfinished task missed, as one event; None when it is over.

        Raises TaskNotFoundError.
        """
        return self._views.transcripts.segments_from(task_id, first)

    def timeline(self, task_id: str) -> list[TaskEvent]:
        """What happened to the task so far, oldest first. Raises TaskNotFoundError."""
        return self._queue.timeline(task_id)

    def media(self, task_id: str) -> Path:
        """The uploaded file. Raises TaskNotFoundError, FileMissingError."""
        return self._find_media(task_id)

    def _find_media(self, task_id: str) -> Path:
        if self._queue.get(task_id).media_removed_at is not None:
            raise MediaRemovedError()
        return self._storage.files.find_media(task_id)

    def cancel(self, task_id: str) -> TaskView:
        """Raises TaskNotFoundError, AlreadyFinishedError."""
        return self._views.tasks.task_view(self._parts.endings.cancel(task_id))

    def retry(self, task_id: str) -> TaskView:
        """Begin a failed or cancelled task anew. Raises TaskNotFoundError, ConflictError, FileMissingError."""
        with self._parts.retention.deciding:
            self._find_media(task_id)
            task = self._queue.retry(task_id)
        self._preparer.prepare(task_id, task.owner)
        return self._views.tasks.task_view(task)

    def change(self, task_id: str, wanted: TaskChanges) -> TaskView:
        """All of it or nothing. Raises TaskNotFoundError, or ConflictError for a priority when the task no longer
        waits."""
        task = self._queue.change(task_id, wanted)
        self._scheduler.wake()
        return self._views.tasks.task_view(task)

    def move(self, task_id: str, other_id: str, *, is_before: bool) -> TaskView:
        """Puts a waiting task directly ahead of another one, or behind it. Raises TaskNotFoundError, ConflictError."""
        task = self._queue.line.move(task_id, other_id, is_before=is_before)
        self._scheduler.wake()
        return self._views.tasks.task_view(task)

    def delete(self, task_id: str) -> None:
        """The task, its files and its text are gone. Raises TaskNotFoundError."""
        self._parts.endings.delete(task_id, self.ownership.owner_of(task_id))

    # --- the whole ---------------------------------------------------------------------------------------------

    def models(self) -> dict[str, Any]:
        """Every model that can be asked for; the shape of GET /api/models."""
        return self._views.models.models()

    def default_model(self) -> str:
        """The model of a task that names none."""
        return self._views.models.default_model()

    def status(self) -> dict[str, Any]:
        """Devices, counts, throughput, limits and settings in force; the shape of GET /api/system."""
        return self._views.status.system()

    def figures(self) -> Figures:
        """What programs that watch the system are told."""
        return self._views.status.figures()

    def device_names(self) -> list[str]:
        """What a task may ask for as its device, besides `auto`."""
        return self._scheduling.devices.names()

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
        """What was decided and changed, newest first. before: only what is older than the event with that id.

        What people did is apart: the kind `audit`, which has ids of its own.
        """
        if kind == "audit":
            return self.accounts.audit.entries(limit, before)
        return self._storage.event_log.events(kind, limit, before)

    def fetch_model(self, name: str) -> None:
        """Have a model's weights fetched in the background. Raises UnknownModelError."""
        self._scheduling.models.registry.info(name)
        self._scheduling.models.fetch_if_missing(name, now=True)

    def health(self) -> list[str]:
        """Why the process should be restarted; empty when it is fine."""
        if not self._is_started or self._stopping.is_set():
            return []
        obstacle = self._storage.store.database.dialect.obstacle()
        reasons = [] if obstacle is None else [obstacle]
        return reasons if self._scheduler.is_alive() else ["the scheduler's loop has stopped", *reasons]

    def when_given_up(self, act: Callable[[], None]) -> None:
        """Calls it once, from any thread, when nothing can be stored any more until a restart."""
        self._storage.store.database.dialect.when_given_up(act)

    def readiness(self) -> list[str]:
        """Why the server cannot do its work at the moment; empty when it can."""
        reasons = self.health()
        if not self._is_started or self._stopping.is_set():
            return [*reasons, "the server is starting or stopping"]
        return reasons + reasons_not_ready(self._parts)

    def degradations(self) -> list[str]:
        """What is missing of a server that can do its work all the same."""
        problem = self._parts.cluster.problem() if self._parts.cluster is not None else None
        return [problem] if problem else []

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` for every event from now on, in the thread where it happens."""
        self._scheduling.events.add_listener(listener)

    def when_leading(self, act: Callable[[], None]) -> None:
        """At once: a system has its queue."""
        act()


def _require_within(name: str, value: int | None, lowest: int, highest: int) -> None:
    if value is not None and not lowest <= value <= highest:
        raise InvalidOptionError(f"{name} must be from {lowest} to {highest}.", field=name)
