"""Has recordings decoded: each one once, to learn its length and its faults, and again when its turn comes and the
samples were not kept.

Samples are kept within the budget, for the tasks that run next. When a task comes to the front and there is no room for
its samples, those of the last tasks in the queue are removed, which can be made again.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import CancelledError, Future
from functools import partial

from errors import (
    CANNOT_STORE,
    DiskFullError,
    FfmpegMissingError,
    FileMissingError,
    ShuttingDownError,
    TaskNotFoundError,
    TranscriptionServerError,
)
from optimizer.common.clock import Clock
from optimizer.intake.decode_line import DecodeRequest
from optimizer.intake.decode_pool import DecodePool
from optimizer.intake.sample_budget import SampleBudget
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.queue.ready_queue import WaitingTask
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event, TaskChanged
from optimizer.tasks.task import ErrorInfo, Task
from whisper_core.audio.decode import DecodedAudio
from whisper_core.audio.sample_writer import keep_none

log = logging.getLogger(__name__)

MOST_AHEAD = 64  # tasks at the front of the queue whose samples are made again
DISK_PROBLEM = "the disk is nearly full"


class Preparer:
    """Any thread. `start` and `stop` once; without them `refill` is for the caller to call."""

    def __init__(
        self,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        decode_pool: DecodePool,
        budget: SampleBudget,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._files = files
        self._pool = decode_pool
        self._budget = budget
        self._clock = clock
        self._lock = threading.Lock()
        self._preparing: set[str] = set()  # ids
        self._refilling = threading.Lock()
        self._is_short_of_disk = False
        self._is_stopped = False
        self._something_changed = threading.Event()
        self._thread = threading.Thread(target=self._refill_on_changes, name="preparer")

    # --- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Harmless when it was not started."""
        self._is_stopped = True
        self._something_changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def on_event(self, event: Event) -> None:
        """A listener: whatever changed may have moved a task to the front, or made room."""
        if isinstance(event, TaskChanged):
            self._something_changed.set()

    def problem(self) -> str | None:
        """Why the next task's samples cannot be made, or None."""
        return DISK_PROBLEM if self._is_short_of_disk else None

    def is_preparing(self, task_id: str) -> bool:
        with self._lock:
            return task_id in self._preparing

    # --- decoding for the first time ---------------------------------------------------------------------------

    def measure_upload(
        self, task_id: str, owner: str, file_bytes: int, track: str | None = None
    ) -> Future[DecodedAudio]:
        """Decodes an upload that is no task yet. Afterwards the caller calls `record_when_decoded` or `end`."""
        self._begin(task_id)
        return self._start_measuring(task_id, owner, file_bytes, track)

    def num_waiting(self) -> int:
        """Recordings in line for a first, short decode."""
        return self._pool.num_waiting()

    def record_when_decoded(self, task_id: str, future: Future[DecodedAudio]) -> None:
        """For an upload that became a task while it was being decoded."""
        future.add_done_callback(partial(self._record, task_id))

    def end(self, task_id: str) -> None:
        with self._lock:
            self._preparing.discard(task_id)
        self._budget.release(task_id)

    def prepare_waiting(self) -> None:
        """Decodes what still needs it: after a restart, after a retry, once ffmpeg was found, once there is room."""
        for task in self._queue.samples.unmeasured():
            self.prepare(task.id, task.owner)
        self.refill()

    def prepare(self, task_id: str, owner: str) -> None:
        """Decodes the recording of one waiting task of unknown length, unless that is under way."""
        if self._begin(task_id):
            started = self._start_measuring(task_id, owner, self._size_of(task_id), self._track_of(task_id))
            self.record_when_decoded(task_id, started)

    def measure_again(self, task: Task) -> None:
        """Decodes the recording of a finished task for its waveform alone, unless that is under way."""
        if not self._begin(task.id):
            return
        size, track = self._size_of(task.id), task.options.track
        request = DecodeRequest(task.id, task.owner, size, task.audio_seconds, track=track, may_keep=keep_none)
        self._start(request).add_done_callback(lambda _: self._end_measuring(task.id))

    def make_again(self, task_id: str) -> None:
        """A waiting task's samples were removed under it; it waits until they are made again."""
        self._queue.samples.mark_missing(task_id)
        self._something_changed.set()

    # --- decoding again ----------------------------------------------------------------------------------------

    def refill(self) -> None:
        """Makes the samples of the next tasks that have none, as far as budget and disk allow."""
        if not self._queue.samples.any_missing():
            self._is_short_of_disk = False
            return
        with self._refilling:
            self._is_short_of_disk = not self._refill()

    def _refill(self) -> bool:
        """False when the disk has no room for what comes next."""
        plan = _Plan(self._budget)
        for task, has_samples in self._queue.samples.upcoming(MOST_AHEAD):
            if not plan.try_add(task) or has_samples or not self._begin(task.id):
                continue
            if not self._make_room(task.sample_bytes, plan):
                self.end(task.id)
                with self._lock:
                    return bool(self._preparing)  # what is being decoded may be about to leave room
            self._make(task)
        return True

    def _make(self, task: WaitingTask) -> None:
        may_keep = self._budget.fixed_claim(task.id, task.owner, task.sample_bytes)
        request = DecodeRequest(
            task.id,
            task.owner,
            self._size_of(task.id),
            task.audio_seconds,
            track=self._track_of(task.id),
            may_keep=may_keep,
            is_urgent=True,
        )
        self.record_when_decoded(task.id, self._start(request))

    def _make_room(self, nbytes: int, plan: _Plan) -> bool:
        """Whether the disk has room for so many bytes, after what can be done without was removed."""
        missing = max(self._budget.excess_bytes() + nbytes, self._budget.missing_on_disk(nbytes))
        if missing > 0:
            for task in self._queue.samples.last_ones(but=plan.ids):
                if missing <= 0:
                    break
                if not self.is_preparing(task.id) and self._drop(task):
                    missing -= task.sample_bytes
        return self._budget.missing_on_disk(nbytes) <= 0

    def _drop(self, task: WaitingTask) -> bool:
        try:
            is_dropped = self._queue.samples.try_drop(task.id, partial(self._files.delete_audio, task.id))
        except CANNOT_STORE as error:
            log.error("task=%s event=samples_not_dropped code=%s", task.id, error.code)
            return False
        if is_dropped:
            log.info("task=%s event=samples_dropped bytes=%d", task.id, task.sample_bytes)
        return is_dropped

    def _refill_on_changes(self) -> None:
        if problem := self._pool.problem():
            log.warning("event=nothing_can_be_decoded reason=%s", problem)
        while True:
            self._something_changed.wait()
            self._something_changed.clear()
            if self._is_stopped:
                return
            try:
                self.refill()
            except Exception:
                log.exception("event=refill_failed")

    # --- both --------------------------------------------------------------------------------------------------

    def _start_measuring(self, task_id: str, owner: str, file_bytes: int, track: str | None) -> Future[DecodedAudio]:
        may_keep = self._budget.growing_claim(task_id, owner)
        return self._start(DecodeRequest(task_id, owner, file_bytes, track=track, may_keep=may_keep))

    def _start(self, request: DecodeRequest) -> Future[DecodedAudio]:
        try:
            return self._pool.start_decode(request)
        except ShuttingDownError:
            self.end(request.task_id)
            raise

    def _track_of(self, task_id: str) -> str | None:
        """Of the queue's tasks only the kinds are in memory, so this reads the row."""
        try:
            return self._queue.get(task_id).options.track
        except TaskNotFoundError:
            return None  # recording what was decoded finds that, too

    def _end_measuring(self, task_id: str) -> None:
        """Runs on a decode thread. A recording that was removed meanwhile, alone or with its task, leaves no waveform:
        it goes before the waveform does, so one of the two finds the other's."""
        try:
            self._files.find_media(task_id)
        except FileMissingError:
            self._files.delete_waveform(task_id)
        finally:
            self.end(task_id)

    def _size_of(self, task_id: str) -> int:
        try:
            return self._files.media_path(task_id).stat().st_size
        except FileNotFoundError:
            return 0  # decoding it says so

    def _record(self, task_id: str, future: Future[DecodedAudio]) -> None:
        """Runs on a decode thread, where nobody would see an exception: each one becomes the task's own error.

        Except those that are not the file's fault; after these, `prepare_waiting` tries again.
        """
        try:
            self._record_decoded(task_id, future.result())
            self._something_changed.set()
        except (FfmpegMissingError, ShuttingDownError, CancelledError):
            log.warning("task=%s event=preparation_postponed", task_id)
        except TaskNotFoundError:
            log.info("task=%s event=prepared_after_delete", task_id)
            self._files.delete(task_id)
        except DiskFullError:
            self._is_short_of_disk = True
            log.warning("task=%s event=preparation_postponed code=%s", task_id, DiskFullError.code)
        except CANNOT_STORE as error:
            log.error("task=%s event=preparation_postponed code=%s", task_id, error.code)
        except TranscriptionServerError as error:
            self._queue.fail_preparation(task_id, ErrorInfo(error.code, error.message, at=self._clock.now()))
        except OSError:
            log.exception("task=%s event=preparation_postponed", task_id)
        except Exception:
            log.exception("task=%s event=preparation_failed", task_id)
            error_class = TranscriptionServerError
            self._queue.fail_preparation(task_id, ErrorInfo(error_class.code, error_class.default_message))
        finally:
            self.end(task_id)

    def _record_decoded(self, task_id: str, decoded: DecodedAudio) -> None:
        task = self._queue.get(task_id)
        if task.audio_seconds == decoded.seconds and task.status.is_waiting:
            self._queue.samples.mark_made(task_id)  # it was measured before
            return
        prepared = self._queue.mark_prepared(
            task_id,
            decoded.seconds,
            is_truncated=decoded.is_truncated,
            declared_seconds=decoded.declared_s,
            tracks=decoded.tracks,
            late_seconds=decoded.late_s or None,
            has_samples=decoded.is_kept,
        )
        if prepared is None and self._queue.get(task_id).status.is_final:
            self._files.delete_audio(task_id)  # cancelled meanwhile

    def _begin(self, task_id: str) -> bool:
        """False when the task is being prepared already."""
        with self._lock:
            if task_id in self._preparing:
                return False
            self._preparing.add(task_id)
            return True


class _Plan:
    """The tasks at the front of the queue whose samples there is budget for."""

    def __init__(self, budget: SampleBudget) -> None:
        self._budget = budget
        self._total = 0
        self._by_owner: dict[str, int] = {}
        self.ids: set[str] = set()

    def try_add(self, task: WaitingTask) -> bool:
        """The first task always gets its samples: otherwise one that is larger than the budget would never run."""
        total = self._total + task.sample_bytes
        of_owner = self._by_owner.get(task.owner, 0) + task.sample_bytes
        if self.ids and (total > self._budget.max_bytes or of_owner > self._budget.owner_max_bytes):
            return False
        self._total, self._by_owner[task.owner] = total, of_owner
        self.ids.add(task.id)
        return True
