"""The texts that people work on, read once and kept while they do."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass

from errors import BadRecordError
from optimizer.editing.snapshots import history_from_json, history_of
from optimizer.storage import edit_rows
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event, TaskDeleted
from optimizer.tasks.task import Task
from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.history import EditHistory

log = logging.getLogger(__name__)

MAX_KEPT = 4  # texts; one of a long recording takes some 10 MB
MAX_EARLIER = 8  # states of each, which share the segments that are the same


@dataclass(frozen=True)
class Opened:
    """A text at one moment."""

    original: EditedTranscript
    history: EditHistory
    data_bytes: int  # of all its steps
    earlier: tuple[EditHistory, ...] = ()  # as it was before, oldest first, as far as that is remembered

    def after(self, history: EditHistory, data_bytes: int) -> Opened:
        """One step later."""
        return Opened(self.original, history, data_bytes, (*self.earlier[1 - MAX_EARLIER :], self.history))

    def text_with(self, done: tuple[int, ...]) -> EditedTranscript | None:
        """The text with these steps in force, if it was so lately."""
        return next((each.text for each in reversed(self.earlier) if each.done == done), None)


class EditedTexts:
    """Any thread."""

    def __init__(self, store: TaskStore, files: TaskFiles) -> None:
        self._store = store
        self._files = files
        self._kept: OrderedDict[str, tuple[str | None, Opened]] = OrderedDict()  # each with its file's checksum
        self._lock = threading.Lock()

    def open(self, task: Task) -> Opened:
        """task: a completed one. Raises FileMissingError, BadRecordError, and what TaskStore raises."""
        kept = self._find(task)
        with self._store.database.reading() as connection:
            snapshot = edit_rows.read_snapshot(connection, task.id)
            version = 0 if snapshot is None else snapshot.version
            if kept is not None and kept.history.version == version:
                return kept
            original = kept.original if kept is not None else self._original(task)
            history, data_bytes = EditHistory.of(original), 0
            if snapshot is not None:
                data_bytes = snapshot.data_bytes
                try:
                    history = history_from_json(snapshot.content, version, original)
                except BadRecordError:
                    log.warning("task=%s event=unreadable_snapshot: it is made again from the steps", task.id)
                    history = history_of(original, edit_rows.steps_of(connection, task.id))
        return self.keep(task, Opened(original, history, data_bytes))

    def keep(self, task: Task, opened: Opened) -> Opened:
        """opened: as it is now."""
        with self._lock:
            self._kept[task.id] = task.result_sha256, opened
            self._kept.move_to_end(task.id)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return opened

    def on_event(self, event: Event) -> None:
        """Nothing is kept of a deleted task."""
        if isinstance(event, TaskDeleted):
            with self._lock:
                self._kept.pop(event.task_id, None)

    def _original(self, task: Task) -> EditedTranscript:
        return EditedTranscript.of(self._files.read_transcript(task.id, task.result_sha256), task.audio_seconds)

    def _find(self, task: Task) -> Opened | None:
        with self._lock:
            sha256, opened = self._kept.get(task.id, (None, None))
            return opened if sha256 == task.result_sha256 else None
