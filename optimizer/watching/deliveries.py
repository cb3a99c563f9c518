"""What is done when the task of a watched recording has ended: its transcripts are written, or why there are none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from errors import DiskFullError, FileMissingError
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import Task, TaskStatus
from optimizer.views.rendering import file_extension, render_transcript_of
from optimizer.watching.originals import Originals
from optimizer.watching.result_writer import ERROR_NOTE, ResultWriter
from optimizer.watching.watch_store import WatchedFile, WatchState, WatchStore, all_written
from whisper_core.text.speaker_words import with_found_speakers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tasks:
    """delete: a task of an owner, with all that is kept of it."""

    queue: IntelligentQueueManager
    files: TaskFiles
    cancel: Callable[[str], object]
    delete: Callable[[str, str], None]


class Deliveries:
    """One thread. Everything is harmless when repeated, so that what a crash broke off is done again from its
    beginning. Methods raise OSError, DiskFullError and what the store raises."""

    def __init__(
        self,
        tasks: Tasks,
        writer: ResultWriter,
        originals: Originals,
        store: WatchStore,
        *,
        formats: Sequence[str],
        keeps_tasks: bool,
    ) -> None:
        self._tasks = tasks
        self._writer = writer
        self._originals = originals
        self._store = store
        self._formats = formats
        self._keeps_tasks = keeps_tasks

    def settle(self, watched: WatchedFile, task: Task) -> WatchedFile | None:
        """What is still to be done for it; None when that is nothing."""
        if not task.status.is_final:
            return watched
        if task.status is TaskStatus.COMPLETED:
            try:
                self._deliver(watched, task)
            except FileMissingError as error:
                return self.note(watched, error.message)
            return None
        if task.status is TaskStatus.FAILED:
            return self.note(watched, task.error.message if task.error else "The task failed.")
        return self._end(watched)  # cancelled: whoever did that knows

    def note(self, watched: WatchedFile, why: str) -> WatchedFile:
        """Says beside the transcripts why there are none. The recording stays, and somebody may begin its task anew."""
        text = f"{watched.found.name}: no transcript could be made.\n{why}\n"
        return self._end(self._writer.write(watched, {ERROR_NOTE: text.encode(errors="surrogateescape")}))

    def refuse(self, watched: WatchedFile, why: str) -> None:
        """For one that becomes no task: `note`, where that can be written."""
        written = watched.written
        try:
            written = all_written(self.note(watched, why))
        except (OSError, DiskFullError) as error:
            log.warning("event=note_not_written reason=%s", type(error).__name__)
        self._store.save_done(watched.found, watched.content_key, written)

    def _end(self, watched: WatchedFile) -> WatchedFile:
        ended = replace(watched, state=WatchState.ENDED)
        self._store.save(ended)
        return ended

    def _deliver(self, watched: WatchedFile, task: Task) -> None:
        transcript = with_found_speakers(self._tasks.files.read_transcript(task.id, task.result_sha256))
        texts = {
            file_extension(each, task.options.mode): render_transcript_of(task, transcript, each)
            for each in self._formats
        }
        watched = self._writer.write(watched, texts)
        self._writer.remove_note(watched)
        stays = self._keeps_original(watched)
        if not self._keeps_tasks:
            self._tasks.delete(task.id, task.owner)
        if stays:
            self._store.save_done(watched.found, watched.content_key, all_written(watched))
        else:
            self._store.remove(watched.found.path)
        log.info("task=%s event=watched_file_done files=%d", task.id, len(texts))

    def _keeps_original(self, watched: WatchedFile) -> bool:
        try:
            return self._originals.settle(watched.found)
        except OSError as error:  # it may be a folder that only others can write: the text is there all the same
            log.warning("task=%s event=watched_file_stays reason=%r", watched.task_id, error.strerror)
            return True
