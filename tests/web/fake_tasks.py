"""Tasks without scheduler and database: a dictionary, and files in the real TaskFiles.

Tests play the scheduler with `finish_window`, `complete` and `fail`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ulid import ULID

from config import Settings
from errors import (
    ConflictError,
    EmptyFileError,
    IdempotencyMismatchError,
    InvalidOptionError,
    MediaRemovedError,
    TaskNotFoundError,
    UnsupportedMediaError,
)
from optimizer.common.clock import SystemClock
from optimizer.intake.admission import Admission
from optimizer.intake.idempotency import IdempotencyKeys
from optimizer.storage import search_hits, search_index
from optimizer.storage.part_store import PartStore
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from optimizer.tasks import timeline
from optimizer.tasks import wait_reasons as waiting_reasons
from optimizer.tasks.batches import Batch, BatchPage, BatchSummary
from optimizer.tasks.events import Event, Listener, TaskChanged, TaskDeleted, WindowFinished
from optimizer.tasks.search_hit import SearchHit
from optimizer.tasks.task import ErrorInfo, Priority, Task, TaskFilter, TaskOptions, TaskSort, TaskStatus
from optimizer.tasks.task_changes import TaskChanges
from optimizer.tasks.timeline import TaskEvent
from optimizer.views.task_view import Submission, TaskView
from whisper_core.audio.waveform import Waveform
from whisper_core.models.registry import ModelRegistry
from whisper_core.text.options import Mode, TaskKind
from whisper_core.text.transcript import Segment, Transcript

EPOCH = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BAD_MEDIA = b"not a recording"


class FakeOwnership:
    """Reads the tasks of a FakeTasks."""

    def __init__(self, tasks: dict[str, Task]) -> None:
        self._tasks = tasks

    def owner_of(self, task_id: str) -> str:
        if task_id not in self._tasks:
            raise TaskNotFoundError()
        return self._tasks[task_id].owner

    def ids_of(self, owner: str, among: Collection[str]) -> set[str]:
        return {task_id for task_id in among if task_id in self._tasks and self._tasks[task_id].owner == owner}

    def counts(self, owner: str) -> dict[TaskStatus, int]:
        states = [task.status for task in list(self._tasks.values()) if task.owner == owner]
        return {status: states.count(status) for status in TaskStatus}


class FakeWaveforms:
    """That of a recording of four peaks, for every task that is there."""

    def __init__(self, tasks: dict[str, Task]) -> None:
        self._tasks = tasks

    def of(self, task_id: str) -> Waveform:
        if task_id not in self._tasks:
            raise TaskNotFoundError()
        return Waveform(320, bytes([0, 12, 255, 90]))


class FakeTasks:
    """What FakeSystem does with tasks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files = TaskFiles(settings.data_dir)
        self.files.make_folders()
        self.before_answer: Callable[[], None] = lambda: None
        self.when_pending: Callable[[str], object] = lambda _: None  # gets a task's id; not called by `add`
        self._lock = threading.RLock()
        self._tasks: dict[str, Task] = {}
        self.callback_urls: dict[str, str | None] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self.ownership = FakeOwnership(self._tasks)
        self.waveforms = FakeWaveforms(self._tasks)
        self._segments: dict[str, list[Segment]] = {}
        self._listeners: list[Listener] = []
        self.parts = PartStore(self.files, SystemClock())
        self.keys = IdempotencyKeys(self._find_by_key)
        self.admission = Admission(
            settings,
            self.files,
            self._counts,
            check_quota=lambda *_: None,
            known_devices=lambda: ["cpu"],
            may_use_cpu=lambda: True,
            no_int8_reason=lambda: None,
            models=ModelRegistry(),
        )

    # --- the border ------------------------------------------------------------------------------------------------

    def begin_upload(self, expected_bytes: int = 0, owner: str = "") -> Upload:
        return self.files.begin_upload(
            str(ULID()), expected_bytes=expected_bytes, max_bytes=self.settings.max_upload_bytes
        )

    def submit(self, upload: Any, **told: Any) -> Submission:
        submission = self._submit(upload, **told)
        if not submission.is_replay:
            self.when_pending(submission.task.task.id)
        return submission

    def _submit(
        self,
        upload: Any,
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
        self.before_answer()
        if upload.size == 0:
            raise EmptyFileError()
        with self._lock:
            known = self._keys.get((owner, idempotency_key or ""))
            if known is not None:
                return self._replay(upload, self._tasks[known], options)
            upload.seek(0)
            if upload.read(len(BAD_MEDIA)) == BAD_MEDIA:
                raise UnsupportedMediaError()
            upload.commit()
            same = [task.id for task in self._tasks.values() if (task.sha256, task.owner) == (upload.sha256, owner)]
            task = self._new_task(upload, filename, options, priority, device, idempotency_key, owner)
            if batch is not None:
                task = self._tasks[task.id] = task.with_(batch_id=batch.id, batch_name=batch.name)
            self.callback_urls[task.id] = callback_url
        self.tell(TaskChanged(task.id))
        return Submission(self._view(task), is_replay=False, duplicate_of=same[-1] if same and owner else None)

    def task(self, task_id: str) -> TaskView:
        return self._view(self._get(task_id))

    def tasks(self, task_filter: TaskFilter) -> tuple[list[TaskView], str | None, dict[TaskStatus, int]]:
        with self._lock:
            newest_first = sorted(self._tasks.values(), key=lambda task: -task.seq)
        query = task_filter.query
        in_any_state = [task for task in newest_first if _matches(task, replace(task_filter, status=None))]
        in_any_state = [task for task in in_any_state if not query or self._is_found(task, query)]
        counts = {status: sum(task.status is status for task in in_any_state) for status in TaskStatus}
        found = [task for task in in_any_state if task_filter.status in (None, task.status)]
        if task_filter.sort is TaskSort.LINE:
            found = [task for task in reversed(found) if task.status.is_waiting]
        start = self._start_of(task_filter.cursor)
        page = found[start : start + task_filter.limit]
        end = start + len(page)
        views = [replace(self._view(task), hit=self._hit(task, task_filter.query)) for task in page]
        return views, str(end) if end < len(found) else None, counts

    def _is_found(self, task: Task, query: str) -> bool:
        return query.lower() in task.name.lower() or self._hit(task, query) is not None

    def _hit(self, task: Task, query: str | None) -> SearchHit | None:
        if not query:
            return None
        is_done = task.status is TaskStatus.COMPLETED
        segments = self.files.read_transcript(task.id).segments if is_done else ()
        return search_hits.hit_in(task, search_index.pack(search_index.sentences_of(segments)), query)

    def batches(self, owner: str | None, *, limit: int, cursor: str | None) -> BatchPage:
        """On one page."""
        self._start_of(cursor)
        found: dict[tuple[str, str], list[Task]] = {}
        for task in list(self._tasks.values()):
            if task.batch_id is not None and owner in (None, task.owner):
                found.setdefault((task.batch_id, task.owner), []).append(task)
        summaries = [_summary(tasks) for tasks in found.values()]
        return BatchPage(tuple(sorted(summaries, key=lambda each: -each.last_seq)[:limit]), None)

    def cancel_all(self, wanted: TaskFilter) -> int:
        found = [task for task in list(self._tasks.values()) if _matches(task, wanted) and not task.status.is_final]
        if wanted.query:
            found = [task for task in found if self._is_found(task, wanted.query)]
        for task in found:
            self._change(task.id, status=TaskStatus.CANCELLED)
        return len(found)

    def transcript(self, task_id: str, *, is_original: bool = False) -> tuple[Transcript, bool]:
        task = self._get(task_id)
        if task.status is TaskStatus.COMPLETED:
            editor = None if is_original else vars(self).get("editor")  # nobody has used it before it is there
            return (editor and editor.edited(task)) or self.files.read_transcript(task_id), False
        segments = tuple(self._segments[task_id])
        return Transcript("".join(s.text for s in segments), task.language or "", segments), True

    def segments_from(self, task_id: str, first: int) -> WindowFinished | None:
        task = self._get(task_id)
        return None if task.status.is_final else self._window(task, self._segments[task_id][first:], first)

    def media(self, task_id: str) -> Path:
        if self._get(task_id).media_removed_at is not None:
            raise MediaRemovedError()
        return self.files.find_media(task_id)

    def cancel(self, task_id: str) -> TaskView:
        if self._get(task_id).status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
            raise ConflictError("The task is already finished.")
        return self._change(task_id, status=TaskStatus.CANCELLED)

    def retry(self, task_id: str) -> TaskView:
        if self._get(task_id).status not in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            raise ConflictError()
        view = self._change(task_id, status=TaskStatus.PENDING)
        self.when_pending(task_id)
        return view

    def change(self, task_id: str, wanted: TaskChanges) -> TaskView:
        task = self._get(task_id)
        if wanted.priority is not None and not task.status.is_waiting:
            raise ConflictError()
        given = {name: value for name, value in vars(wanted).items() if value is not None}
        return self._change(task_id, **given | ({"title": wanted.title or None} if "title" in given else {}))

    def move(self, task_id: str, other_id: str, *, is_before: bool) -> TaskView:
        task, other = self._get(task_id), self._get(other_id)
        if not (task.status.is_waiting and other.status.is_waiting and task.owner == other.owner):
            raise ConflictError()
        return self._change(task_id, arranged=1.0 if is_before else 2.0)

    def remove_media(self, task_id: str) -> None:
        """As KEEP_MEDIA_DAYS has it done."""
        self.files.delete_media(task_id)
        self._change(task_id, media_removed_at=EPOCH)

    def delete(self, task_id: str) -> None:
        owner = self._get(task_id).owner
        with self._lock:
            del self._tasks[task_id]
            self._keys = {key: known for key, known in self._keys.items() if known != task_id}
        self.files.delete(task_id)
        self.tell(TaskDeleted(task_id, owner))

    def timeline(self, task_id: str) -> list[TaskEvent]:
        task = self._get(task_id)
        events = [TaskEvent(task.created_at, timeline.UPLOADED, {"size_bytes": task.size_bytes})]
        if task.status is TaskStatus.COMPLETED:
            events.append(TaskEvent(EPOCH + timedelta(hours=1), timeline.COMPLETED, {"seconds": 4.0, "speed": 13.8}))
        return events

    def add_listener(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def when_leading(self, act: Callable[[], None]) -> None:
        act()

    # --- what a test plays -----------------------------------------------------------------------------------------

    def add(
        self,
        filename: str = "interview.mp3",
        data: bytes = b"fLaC sound",
        model: str = "base",
        mode: Mode = "exact",
        kind: TaskKind = "transcribe",
        owner: str = "",
    ) -> Task:
        """A pending task, as after an upload."""
        upload = self.begin_upload()
        upload.write(data)
        submission = self._submit(
            upload,
            filename=filename,
            options=TaskOptions(model=model, task=kind, mode=mode),
            priority=Priority.NORMAL,
            device="auto",
            idempotency_key=None,
            owner=owner,
        )
        return submission.task.task

    def finish_window(self, task_id: str, *texts: str) -> WindowFinished:
        with self._lock:
            segments = self._segments[task_id]
            new = [segment(len(segments) + index, text) for index, text in enumerate(texts)]
            first = len(segments)
            segments.extend(new)
            task = self._get(task_id)
            task = task.with_(status=TaskStatus.PROCESSING, windows_done=task.windows_done + 1, progress=0.5)
            self._tasks[task_id] = task
        window = self._window(task, new, first)
        self.tell(window)
        return window

    def complete(self, task_id: str, *texts: str) -> TaskView:
        segments = [*self._segments[task_id]]
        segments += [segment(len(segments) + index, text) for index, text in enumerate(texts)]
        text = "".join(segment.text for segment in segments)
        self.files.write_transcript(task_id, Transcript(text, "en", tuple(segments), "fp32"))
        return self._change(
            task_id, status=TaskStatus.COMPLETED, progress=1.0, finished_at=EPOCH + timedelta(hours=1), language="en"
        )

    def fail(self, task_id: str, code: str, message: str) -> TaskView:
        return self._change(task_id, status=TaskStatus.FAILED, errors=(ErrorInfo(code, message, EPOCH, 1),))

    def tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _new_task(
        self,
        upload: Any,
        filename: str,
        options: TaskOptions,
        priority: Priority,
        device: str,
        key: str | None,
        owner: str,
    ) -> Task:
        seq = len(self._keys) + len(self._tasks) + 1
        task = Task(
            id=upload.task_id,
            seq=seq,
            filename=filename,
            status=TaskStatus.PENDING,
            options=options,
            priority=priority,
            requested_device=device,
            size_bytes=upload.size,
            sha256=upload.sha256,
            created_at=EPOCH + timedelta(seconds=seq),
            max_attempts=4,
            audio_seconds=55.2,
            idempotency_key=key,
            owner=owner,
        )
        self._tasks[task.id] = task
        self._segments[task.id] = []
        if key is not None:
            self._keys[owner, key] = task.id
        return task

    def _find_by_key(self, owner: str, key: str) -> Task | None:
        with self._lock:
            return self._tasks.get(self._keys.get((owner, key), ""))

    def _counts(self) -> dict[TaskStatus, int]:
        return self.tasks(TaskFilter())[2]

    def _replay(self, upload: Any, task: Task, options: TaskOptions) -> Submission:
        is_same = upload.sha256 == task.sha256 and options == task.options
        upload.discard()
        if not is_same:
            raise IdempotencyMismatchError()
        return Submission(self._view(task), is_replay=True)

    def _get(self, task_id: str) -> Task:
        with self._lock:
            task = self._tasks.get(task_id)
        if task is None:
            raise TaskNotFoundError()
        return task

    def _change(self, task_id: str, **changes: Any) -> TaskView:
        with self._lock:
            task = self._tasks[task_id] = replace(self._get(task_id), **changes)
        self.tell(TaskChanged(task_id))
        return self._view(task)

    def _view(self, task: Task) -> TaskView:
        if not task.status.is_waiting:
            return TaskView(task)
        return TaskView(task, position=1, waiting_reason=waiting_reasons.tasks_ahead(3))

    def _window(self, task: Task, segments: list[Segment], first: int) -> WindowFinished:
        return WindowFinished(task.id, task.windows_done, task.progress, 30.0, 12.5, 3.1, first, tuple(segments))

    def _start_of(self, cursor: str | None) -> int:
        if cursor is None:
            return 0
        if not cursor.isascii() or not cursor.isdigit():
            raise InvalidOptionError("This is no cursor of ours.", field="cursor")
        return int(cursor)


def segment(index: int, text: str) -> Segment:
    return Segment(
        id=index,
        seek=0,
        start=2.0 * index,
        end=2.0 * index + 2,
        text=text,
        tokens=(50364, 400, 50464),
        temperature=0.0,
        avg_logprob=-0.2,
        compression_ratio=1.1,
        no_speech_prob=0.01,
    )


def _summary(tasks: list[Task]) -> BatchSummary:
    states = [task.status for task in tasks]
    return BatchSummary(
        batch=Batch(tasks[0].batch_id or "", tasks[0].batch_name),
        owner=tasks[0].owner,
        counts={status: states.count(status) for status in TaskStatus},
        progress=sum(task.progress for task in tasks) / len(tasks),
        audio_seconds=sum(task.audio_seconds or 0.0 for task in tasks),
        created_at=min(task.created_at for task in tasks),
        last_seq=max(task.seq for task in tasks),
    )


def _matches(task: Task, task_filter: TaskFilter) -> bool:
    return (
        task_filter.status in (None, task.status)
        and task_filter.model in (None, task.options.model)
        and task_filter.sha256 in (None, task.sha256)
        and task_filter.owner in (None, task.owner)
        and task_filter.batch in (None, task.batch_id)
        and (task_filter.tag is None or task_filter.tag in task.tags)
    )
