"""The real editor of transcripts for tasks that are in no database: it gets one, with a row of each task that it is
asked about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from errors import TaskNotFoundError
from optimizer.common.clock import Clock
from optimizer.editing.texts import EditedTexts, Opened
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event
from optimizer.tasks.task import NewTask, Task


class FakeEditor(TranscriptEditor):
    def __init__(
        self,
        folder: Path,
        files: TaskFiles,
        clock: Clock,
        publish: Callable[[Event], None],
        task_of: Callable[[str], Task],
    ) -> None:
        """folder: for the database. task_of: raises TaskNotFoundError."""
        self.store = TaskStore(folder)
        self.store.open()
        self._now = clock.now
        self._task_of = task_of
        super().__init__(self.store, EditedTexts(self.store, files), clock, publish)

    def _open(self, task_id: str) -> Opened:
        self._copy(self._task_of(task_id))
        return super()._open(task_id)

    def _copy(self, task: Task) -> None:
        with self.store.writing() as rows:
            try:
                before = rows.lock(task.id)
            except TaskNotFoundError:
                new = NewTask(
                    id=task.id,
                    filename=task.filename,
                    options=task.options,
                    priority=task.priority,
                    requested_device=task.requested_device,
                    size_bytes=task.size_bytes,
                    sha256=task.sha256,
                    max_attempts=task.max_attempts,
                    audio_seconds=task.audio_seconds,
                    owner=task.owner,
                )
                before = rows.insert(new, self._now())
            if before.status is not task.status:
                rows.save(before, before.with_(status=task.status))
